"""Death between any two writes: the next worker finishes the job without being told."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.audit import Auditor, judge
from tests.chaos.fleet import Fleet
from tests.chaos.mazes import start_of
from tests.support.waiting import until
from ucop.engine import Engine, JobStatus

AT_WORK = [
    "before claim",
    "after claim",
    "inside ledger write:2",
    "before flush",
    "after flush",
    "before put",
    "after put:2",
    "before writes",
    "after writes",
    "inside saver write:4",
    "before finish",
    "inside ledger write:3",
    "after finish",
]
AT_TAKEOVER = ["before mark lost", "after mark lost", "before takeover", "after takeover"]
AT_SUBMIT = ["before submit", "inside ledger write", "after submit"]


def assert_finishes(fleet: Fleet, auditor: Auditor, job: str) -> None:
    """A new worker comes, and everything is as if nothing had happened."""
    fleet.worker(ready=False)
    until(auditor.settled, "the job to end", fleet.logs)
    until(lambda: not judge(auditor, [], []).queue, "an empty queue", fleet.logs)
    findings = judge(auditor, fleet.records(), [job])
    assert findings.count == 0, findings
    assert auditor.rows("select status from jobs") == [{"status": "completed"}]


def assert_dies(fleet: Fleet, fault: str) -> None:
    worker = fleet.worker(fault=fault, ready=False)
    until(lambda: worker.wait(0) is not None, f"the worker to die {fault}", fleet.logs)
    assert worker.status == -signal.SIGKILL, worker.log


@pytest.mark.parametrize("point", AT_WORK)
def test_a_worker_that_dies_at_work_is_replaced(
    point: str, fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    job = engine.submit("maze", start_of("maze", "j"))
    quick = fleet.nap
    if point.endswith("flush"):  # longer than what begins waits for a checkpoint to ride with
        fleet.nap = 0.5
    assert_dies(fleet, point)
    fleet.nap = quick
    assert_finishes(fleet, auditor, job.id)


def test_a_write_that_fails_lets_no_checkpoint_follow_that_contains_it(
    fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    job = engine.submit("maze", start_of("maze", "j"))
    worker = fleet.worker(fault="before writes=ERROR", ready=False)
    until(auditor.settled, "the job to end", fleet.logs)
    findings = judge(auditor, fleet.records(), [job.id])
    assert findings.count == 0, findings
    assert "broke off: a fault at 'before writes'" in worker.log
    assert job.get().attempt == 2


@pytest.mark.parametrize("point", AT_TAKEOVER)
def test_a_worker_that_dies_while_it_takes_over_is_replaced(
    point: str, fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    job = engine.submit("quarry", start_of("quarry", "j"))
    assert_dies(fleet, "after put:2")
    assert_dies(fleet, point)
    assert_finishes(fleet, auditor, job.id)


@pytest.mark.parametrize(
    "url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_a_worker_that_dies_with_a_ticket_or_while_it_clears_one_away_is_replaced(
    fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    job = engine.submit("quarry", start_of("quarry", "j"))
    assert_dies(fleet, "after delivery")
    assert_dies(fleet, "after cancel row")
    assert_finishes(fleet, auditor, job.id)


def test_a_process_that_dies_while_it_takes_a_busy_thread_leaves_it_to_the_job_that_has_it(
    fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    job = engine.submit("maze", start_of("maze", "j"), thread_id="t")
    taker = {"workflow": "twig", "input": start_of("twig", "k"), "thread_id": "t"}
    script = fleet.start(
        "submit", jobs=[{**taker, "on_busy": "rollback"}], fault="inside ledger write"
    )
    assert script.wait(60) == -signal.SIGKILL, script.log
    assert_finishes(fleet, auditor, job.id)


@pytest.mark.parametrize("point", AT_SUBMIT)
def test_a_process_that_dies_while_it_submits_leaves_one_job_or_none(
    point: str, fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    given = {"workflow": "twig", "input": start_of("twig", "j"), "key": "once"}
    script = fleet.start("submit", jobs=[given], fault=point)
    assert script.wait(60) == -signal.SIGKILL, script.log
    there = auditor.rows("select id from jobs")
    assert len(there) == (point == "after submit")

    job = engine.submit("twig", start_of("twig", "j"), key="once")

    assert [row["id"] for row in there] in ([], [job.id])
    assert_finishes(fleet, auditor, job.id)


def test_a_process_that_dies_while_it_resumes_a_job_leaves_it_as_it_was(
    fleet: Fleet, engine: Engine, auditor: Auditor
) -> None:
    broken = {**start_of("maze", "j"), "round": "none"}  # `round + 1` raises in a node
    job = engine.submit("maze", broken)
    fleet.worker()
    assert job.wait(60) is JobStatus.FAILED
    script = fleet.start("resume", job=job.id, fault="inside ledger write")
    assert script.wait(60) == -signal.SIGKILL, script.log
    assert (job.status, job.get().attempt) == (JobStatus.FAILED, 1)

    job.resume()

    assert job.wait(60) is JobStatus.FAILED
    assert job.get().attempt == 2
