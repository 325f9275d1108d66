"""Deliveries under kill -9: each event is told, and told again under the same id."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet, wait_for
from tests.chaos.mazes import start_of
from tests.support.receiver import SECRET, Receiver
from ucop.engine import Engine


def worker(fleet: Fleet, receiver: Receiver, **options: Any) -> Any:
    hook = {"url": receiver.url, "secret_env": "TOLD", "retries": ["100ms"] * 50}
    environment = {"TOLD": SECRET}
    return fleet.worker(webhooks={"told": hook}, environment=environment, lease=2.0, **options)


@pytest.mark.parametrize("point", ["after sending", "after sending:3"])
def test_what_was_sent_but_not_noted_is_sent_again_under_its_id(
    point: str, fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    def arrived() -> bool:
        rows = auditor.rows("select status from deliveries")
        return bool(rows) and all(row["status"] == "delivered" for row in rows)

    with Receiver() as receiver:
        first = worker(fleet, receiver, fault=point)
        begun = "select 1 from listeners where name = 'webhook:told'"
        wait_for(lambda: bool(auditor.rows(begun)), "the webhook to be served", fleet.logs)
        jobs = [engine.submit("twig", start_of("twig", f"j{n}")).id for n in range(3)]
        wait_for(lambda: first.wait(0) is not None, f"the worker to die {point}", fleet.logs)
        assert first.status == -signal.SIGKILL, first.log
        before = receiver.ids()
        worker(fleet, receiver)
        wait_for(auditor.settled, "the jobs to end", fleet.logs)
        told = auditor.rows("select job_id, seq from events where substr(type, 1, 4) = 'job.'")
        wait_for(
            lambda: len(auditor.rows("select 1 from deliveries")) == len(told) and arrived(),
            "all to be told",
            fleet.logs,
        )
    expected = {f"evt_{row['job_id']}_{row['seq']}" for row in told}
    assert set(receiver.ids()) == expected
    assert {row["job_id"] for row in told} == set(jobs)
    again = [id for id in before if receiver.ids().count(id) > 1]
    assert again, "the one that was not noted came once only"
    for each in receiver.received:
        each.verified()
