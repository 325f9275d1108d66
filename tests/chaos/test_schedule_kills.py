"""Schedules under kill -9: no due time is lost, and none submits two jobs."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest

from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet, wait_for
from tests.chaos.mazes import start_of
from ucop.engine import Engine
from ucop.engine.schedules.schedules import key_of

MISSED = 5
"""Seconds, and so due times, that have gone by when the first worker comes."""


@pytest.fixture
def since(engine: Engine, auditor: Auditor) -> float:
    """A schedule of every second, and the first of its times that has no job."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=MISSED)
    given = start_of("twig", "tick")
    engine.schedules.add("tick", "twig", "every 1s", given, start=start, catch_up="all")
    auditor.execute(f"update schedules set next_at = {start.timestamp()}")
    return start.timestamp()


def submitted(auditor: Auditor) -> list[str]:
    return [row["key"] for row in auditor.rows("select key from jobs order by key")]


def assert_whole(engine: Engine, auditor: Auditor, since: float, atleast: int) -> None:
    """From the first due time on, each has one job, and each job has one."""
    wait_for(lambda: len(submitted(auditor)) >= atleast, "the schedule to go on")
    engine.schedules.pause("tick")
    wait_for(auditor.settled, "the jobs to end")
    found = submitted(auditor)
    assert found == sorted(key_of("tick", since + n) for n in range(len(found)))
    assert auditor.rows("select distinct status from jobs") == [{"status": "completed"}]


@pytest.mark.parametrize("point", ["before schedule:2", "inside ledger write:3", "after schedule"])
def test_a_worker_that_dies_while_it_submits_is_replaced(
    point: str, fleet: Fleet, engine: Engine, auditor: Auditor, since: float
) -> None:
    worker = fleet.worker(fault=point, ready=False)
    wait_for(lambda: worker.wait(0) is not None, f"the worker to die {point}", fleet.logs)
    assert worker.status == -signal.SIGKILL, worker.log
    fleet.worker()
    assert_whole(engine, auditor, since, MISSED + 1)


def test_two_workers_that_are_killed_again_and_again_lose_and_double_nothing(
    fleet: Fleet, engine: Engine, auditor: Auditor, since: float, seed: int
) -> None:
    def goes_on(kill: int) -> bool:
        return len(submitted(auditor)) > kill

    chance, workers = Random(seed), [fleet.worker(), fleet.worker()]
    for kill in range(3):
        wait_for(partial(goes_on, kill), "the schedule to go on", fleet.logs)
        workers.pop(chance.randrange(2)).kill()
        workers.append(fleet.worker())
    assert_whole(engine, auditor, since, MISSED + 3)
