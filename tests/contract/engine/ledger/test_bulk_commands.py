"""Jobs found by filters, and changed many at once, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.support.graphs import chain, failing
from tests.support.waiting import DEADLINE
from ucop.engine import Engine, Filter, InvalidInput, JobHandle
from ucop.engine.database.database import Database
from ucop.engine.database.drivers import on_postgres
from ucop.engine.declared.queue_limits import QueueLimits
from ucop.engine.errors import RefusedChange
from ucop.engine.jobs.job import JobId, ThreadId, WorkerId
from ucop.engine.jobs.status import JobStatus
from ucop.engine.ledger import commands, lifecycle, workers
from ucop.engine.ledger.operation import Operation, run
from ucop.engine.ledger.records import NewJob
from ucop.engine.reading.reader import open_reader

Open = Callable[..., Engine]


@pytest.fixture
def idle(open_engine: Open) -> Engine:
    """An engine without a worker: what is submitted stays pending."""
    engine = open_engine(worker=False)
    engine.add("flow", chain("a"))
    engine.add("other", chain("b"))
    return engine


def found(engine: Engine, **filters: object) -> set[str]:
    return {job.id for job in engine.jobs(**filters)}  # type: ignore[arg-type]


def test_jobs_are_found_by_tenant_labels_and_age(idle: Engine) -> None:
    first = idle.submit("flow", tenant="acme", labels={"team": "docs", "kind": "a'b"})
    second = idle.submit("flow", tenant="acme", labels={"team": "sales"})
    between = datetime.now(UTC)
    third = idle.submit("other", labels={"team": "docs"})
    assert found(idle, tenant="acme") == {first.id, second.id}
    assert found(idle, labels={"team": "docs"}) == {first.id, third.id}
    assert found(idle, labels={"team": "docs", "kind": "a'b"}) == {first.id}
    assert found(idle, labels={"team": "docs"}, workflow="other") == {third.id}
    assert found(idle, labels={"team": "nobody"}) == set()
    assert found(idle, before=between) == {first.id, second.id}
    assert found(idle, before=between - timedelta(hours=1)) == set()


def test_jobs_are_found_by_several_statuses_queue_and_the_time_since(
    open_engine: Open,
) -> None:
    queues = {"bulk": QueueLimits()}
    idle = open_engine(settings={"queues": queues}, worker=False)
    idle.add("flow", chain("a"))
    paused, cancelled, pending = (idle.submit("flow") for _ in range(3))
    between = datetime.now(UTC)
    bulk = idle.submit("flow", queue="bulk")
    paused.pause()
    cancelled.cancel()
    assert found(idle, status="paused") == {paused.id}
    assert found(idle, status=["paused", JobStatus.CANCELLED]) == {paused.id, cancelled.id}
    assert found(idle, status=iter(["pending"])) == {pending.id, bulk.id}
    assert found(idle, status=["pending", "paused"], queue="default") == {paused.id, pending.id}
    assert found(idle, queue="bulk") == {bulk.id}
    assert found(idle, after=between) == {bulk.id}
    assert found(idle, after=between, before=between) == set()
    resting = Filter(status=("paused", "pending"), queue="default")
    assert [one.id for one in idle.change("cancel", resting)] == [paused.id, pending.id]
    assert bulk.status == "pending"


async def test_a_status_or_a_queue_that_does_not_exist_is_told(
    open_engine: Open,
) -> None:
    idle = open_engine(worker=False)
    idle.add("flow", chain("a"))
    job = idle.submit("flow")
    with pytest.raises(InvalidInput, match="'fialed' is not a valid JobStatus; there is pending,"):
        idle.jobs(status=["paused", "fialed"])
    with pytest.raises(InvalidInput, match="name one at least"):
        Filter(status=[])
    with pytest.raises(InvalidInput, match="with a time zone"):
        Filter(after=datetime(2026, 11, 28))
    for ask in (lambda: idle.jobs(queue="blk"), lambda: idle.change("cancel", Filter(queue="blk"))):
        with pytest.raises(InvalidInput, match="no queue 'blk'; there is default"):
            ask()
    with pytest.raises(InvalidInput, match="no queue 'blk'"):
        await idle.ajobs(queue="blk")
    assert job.status == "pending"


def test_jobs_of_a_queue_that_is_declared_no_more_are_found(
    open_engine: Open,
) -> None:
    queues = {"old": QueueLimits()}
    before = open_engine(settings={"queues": queues}, worker=False)
    before.add("flow", chain("a"))
    job = before.submit("flow", queue="old")
    after = open_engine(worker=False)
    assert found(after, queue="old") == {job.id}
    assert [one.id for one in after.change("cancel", Filter(queue="old"))] == [job.id]


async def test_a_text_is_no_list_of_jobs(idle: Engine) -> None:
    job = idle.submit("flow")
    with pytest.raises(InvalidInput, match=f"not the text '{job.id}'"):
        idle.change("pause", job.id)
    with pytest.raises(InvalidInput, match="a list of ids or a Filter"):
        await idle.achange("pause", job.id)
    assert job.status == "pending"


def test_a_filter_changes_the_jobs_that_take_the_action_and_no_other(idle: Engine) -> None:
    mine = [idle.submit("flow", tenant="acme") for _ in range(3)]
    other = idle.submit("flow", tenant="else")
    mine[0].cancel()
    changed = idle.change("pause", Filter(tenant="acme"))
    assert [(one.id, one.status, one.refused) for one in changed] == [
        (job.id, "paused", None) for job in mine[1:]
    ]
    assert (mine[0].status, other.status) == ("cancelled", "pending")
    assert [event.type for event in mine[1].events(follow=False)] == ["job.submitted", "job.paused"]
    assert len(idle.change("resume", Filter(tenant="acme"))) == 2
    assert [job.status for job in mine] == ["cancelled", "pending", "pending"]


def test_more_jobs_than_are_changed_together_are_all_changed(idle: Engine) -> None:
    jobs = [idle.submit("flow") for _ in range(120)]
    changed = idle.change("cancel", Filter(workflow="flow"))
    assert {one.id for one in changed} == {job.id for job in jobs}
    assert {job.status for job in idle.jobs(limit=200)} == {"cancelled"}
    assert idle.change("cancel", Filter(workflow="flow")) == []


def test_one_job_that_refuses_keeps_no_other_back(idle: Engine) -> None:
    done, open_one = idle.submit("flow"), idle.submit("flow")
    done.cancel()
    first, second, unknown = idle.change("pause", [done.id, open_one.id, "nonesuch"])
    assert (first.status, second.status, unknown.status) == ("cancelled", "paused", None)
    assert first.refused
    assert "cancelled" in first.refused
    assert second.refused is None
    assert unknown.refused


def test_a_budget_that_is_none_is_refused_before_anything_changes(idle: Engine) -> None:
    job = idle.submit("flow")
    job.pause()
    with pytest.raises(InvalidInput, match="token"):
        idle.change("resume", [job.id], budget={"token": 3})
    assert job.status == "paused"


def test_failed_jobs_are_retried_and_others_are_not(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(1, ran)))
    assert job.wait(DEADLINE) == "failed"
    (changed,) = engine.change("retry", Filter(workflow="breaking"))
    assert changed.refused is None
    assert job.result(DEADLINE) == {"log": ["before", "breaks", "after"]}
    refuses_retry(job)


def test_a_paused_job_is_resumed_and_not_retried(idle: Engine) -> None:
    job = idle.submit("flow")
    job.pause()
    refuses_retry(job)
    assert job.status == "paused"


async def test_the_twins_do_the_same(idle: Engine) -> None:
    job = await idle.asubmit("flow", labels={"a": "b"})
    (changed,) = await idle.achange("pause", Filter(labels={"a": "b"}))
    assert (changed.id, changed.status) == (job.id, "paused")
    assert [one.id for one in await idle.ajobs(labels={"a": "b"})] == [job.id]
    with pytest.raises(RefusedChange):
        await job.aretry()


def refuses_retry(job: JobHandle) -> None:
    with pytest.raises(RefusedChange, match="only a failed job can be retried"):
        job.retry()


@pytest.mark.parametrize(
    "url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
@pytest.mark.parametrize("action", [commands.cancel, commands.pause])
async def test_what_is_asked_while_a_worker_claims_is_asked_of_the_running_job(
    database: Database, url: str, action: Callable[[str], Operation[JobStatus]]
) -> None:
    """PostgreSQL alone: SQLite has one writer at a time."""
    worker = WorkerId("w-1")
    await database.write(lambda: workers.join(worker, "here", 1, "[]"))
    job = NewJob(
        id=JobId("a"),
        workflow="flow",
        fingerprint="f",
        definition="{}",
        needs="[]",
        input="{}",
        thread_id=ThreadId("a"),
    )
    await database.write(lambda: lifecycle.submit(job))
    asking = action("a")
    with psycopg.connect(
        url, row_factory=dict_row, options="-c search_path=ucop,public"
    ) as connection:

        def rows(statement: Any) -> Any:
            return on_postgres(connection.cursor(), statement)

        looked = rows(next(asking))
        assert looked[0]["status"] == "pending"
        assert await database.write(lambda: lifecycle.claim("a", 1, worker))
        status = run(_sent(asking, looked), rows)
    assert status == ("cancelled" if action is commands.cancel else "running")
    with open_reader(url) as reader:
        told = [event.type for event in reader.events("a")]
    last = "job.cancelled" if action is commands.cancel else "job.pausing"
    assert told == ["job.submitted", "job.running", last]


def _sent(operation: Operation[JobStatus], rows: Any) -> Operation[JobStatus]:
    """An operation that goes on with rows which it has asked for."""
    try:
        statement = operation.send(rows)
        while True:
            statement = operation.send((yield statement))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
