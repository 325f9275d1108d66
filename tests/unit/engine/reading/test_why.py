"""Why a job stands where it stands: the root cause comes first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ucop.engine.job_error import JobError, StepError
from ucop.engine.jobs.job import Job, Question, Step
from ucop.engine.jobs.status import JobStatus, StepStatus
from ucop.engine.queue.limits import QueueState, TenantBacklog
from ucop.engine.reading.why import Dispatch, WorkerSeen, causes, is_stuck

NOW = 1_000_000.0
THEN = datetime.fromtimestamp(NOW - 90, UTC)


def job(status: str, **more: Any) -> Job:
    given = {"id": "j", "workflow": "flow", "input": {}, "thread_id": "t", "attempt": 1}
    return Job(status=JobStatus(status), created_at=THEN, **{**given, **more})


def worker(id: str = "w", *knows: str, silent: float = 0.0) -> WorkerSeen:
    return WorkerSeen(
        id=id,
        host="here",
        pid=1,
        beat_at=NOW - silent,
        knows=frozenset(knows),
        serves=frozenset({"default"}),
    )


def dispatch(**more: Any) -> Dispatch:
    given: dict[str, Any] = {
        "needs": frozenset(),
        "queue": QueueState(name="default"),
        "not_before": 0.0,
        "worker": None,
        "want": None,
        "busy_with": None,
        "ahead": 0,
        "workers": (worker(),),
    }
    return Dispatch(**{**given, **more})


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"workers": ()}, "no worker is running"),
        ({"workers": (worker(silent=999),)}, "no worker is running"),
        ({"needs": frozenset({"graph:x"})}, "knows graph:x"),
        ({"needs": frozenset({"process:1"})}, "its graph has no name"),
        ({"busy_with": "other", "ahead": 3}, "job other comes first on its thread 't'"),
        ({"not_before": NOW + 30}, "in 30 s at the earliest: it was delayed"),
        ({"queue": QueueState(name="bulk")}, "serves queue 'bulk'"),
        ({"queue": QueueState(name="default", paused=True), "ahead": 3}, "'default' is paused"),
        (
            {"queue": QueueState(name="default", concurrency=2, running=2), "ahead": 3},
            "runs 2 jobs, its limit",
        ),
        (
            {"workflow_limit": 2, "of_workflow": 2, "ahead": 3},
            "its workflow 'flow' runs 2 jobs, its limit",
        ),
        (
            {"queue": QueueState(name="default", rate="5/1h"), "rate_in": 600.0, "ahead": 3},
            "reached its rate limit 5/1h; the next job starts in 10 min",
        ),
        (
            {
                "queue": QueueState(name="default", worker_concurrency=1),
                "running_of_queue": {"w": 1},
            },
            "its worker runs 1 job of queue 'default', its limit",
        ),
        ({"ahead": 3}, "3 jobs ahead of it"),
        ({"ahead": 1, "running": {"w": 9}}, "1 job ahead of it in its queue (the worker"),
        ({"waited": 9.0, "running": {"w": 9, "x": 5}}, "busy with 9 jobs; it starts when one"),
        ({"waited": 0.1, "running": {"w": 9}}, "about to start"),
        ({}, "about to start"),
    ],
)
def test_a_queued_job_waits_for_the_first_thing_in_its_way(more: Any, said: str) -> None:
    first, *_ = causes(job("pending"), dispatch(**more), (), NOW)
    assert said in first


def test_a_queued_job_tells_of_all_that_a_person_has_to_mend() -> None:
    queue = QueueState(name="default", paused=True)
    barred = dispatch(workers=(), queue=queue, not_before=NOW + 60, ahead=3)
    assert list(causes(job("pending"), barred, (), NOW)) == [
        "no worker is running",
        "its queue 'default' is paused",
        "it starts in 60 s at the earliest: it was delayed",
    ]


def test_a_queued_job_beside_other_tenants_tells_of_shares() -> None:
    tenants = (TenantBacklog(tenant="b", pending=4), TenantBacklog(tenant="a", pending=1))
    shared = QueueState(name="default", pending=5, tenants=tenants)
    busy = dispatch(queue=shared, waited=9.0, running={"w": 9})
    full, shares = causes(job("pending", tenant="a"), busy, (), NOW)
    assert (
        full == "the worker that could run it is busy with 9 jobs; it starts when one of them ends"
    )
    assert shares.startswith("4 jobs of other tenants in line too: the tenant whose")


def test_a_delay_that_outlived_a_pause_is_no_lost_worker() -> None:
    later = dispatch(not_before=NOW + 9000)
    resumed = job("pending", attempt=2, reason="resumed")
    assert (
        causes(resumed, later, (), NOW)[0] == "it starts in 2.5 h at the earliest: it was delayed"
    )
    lost = job("pending", attempt=2, reason="worker w was lost")
    assert "lost their worker" in causes(lost, later, (), NOW)[0]


def test_a_job_is_stuck_where_no_worker_that_lives_can_run_it() -> None:
    waits = job("pending")
    assert is_stuck(waits, dispatch(workers=()), NOW)
    assert is_stuck(waits, dispatch(needs=frozenset({"graph:x"})), NOW)
    assert not is_stuck(waits, dispatch(ahead=100), NOW)
    assert not is_stuck(job("failed"), dispatch(workers=()), NOW)


def test_a_running_job_names_its_node_and_a_worker_that_is_gone() -> None:
    step = Step(node="slow", task_id="1", status=StepStatus.RUNNING, attempt=1, started_at=THEN)
    runs = job("running", steps=(step,))
    assert causes(runs, dispatch(worker="w"), (), NOW) == ("node slow has been running for 90 s",)
    gone, *_ = causes(runs, dispatch(worker="x", workers=()), (), NOW)
    assert "worker x does not respond, and no other worker can" in gone
    asked, *_ = causes(runs, dispatch(worker="w", want="pause"), (), NOW)
    assert "asked to pause" in asked


def test_a_failed_job_tells_its_error_and_how_often_it_was_met() -> None:
    error = StepError(type="ValueError", message="no", node="a")
    steps = tuple(
        Step(node="a", task_id="1", status=StepStatus.FAILED, attempt=n, error=error, tries=n)
        for n in (1, 2)
    )
    failed = job("failed", error=JobError(type="ValueError", message="no", node="a"), steps=steps)
    assert causes(failed, dispatch(), (), NOW) == (
        "ValueError in node a: no",
        "its last attempt tried that node 2 times",
        "that node broke in 2 attempts, 2 times with this error",
    )


def test_a_waiting_job_names_the_nodes_that_ask() -> None:
    asks = Question(id="q", node="approve", question="?", asked_at=THEN)
    assert causes(job("waiting"), dispatch(), (asks,), NOW) == (
        "it waits for a person's answer in approve",
    )
    breakpoint = causes(job("waiting", reason="stopped at a breakpoint"), dispatch(), (), NOW)
    assert breakpoint == ("stopped at a breakpoint",)


def test_a_paused_or_cancelled_job_gives_its_reason() -> None:
    assert causes(job("paused", reason="asked to pause"), dispatch(), (), NOW) == (
        "asked to pause",
    )
    assert "completed" in causes(job("completed"), dispatch(), (), NOW)[0]
