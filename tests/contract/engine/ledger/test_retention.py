"""Jobs are archived and deleted, by hand and by their age, on both databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.graphs import chain, failing
from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, Filter, JobHandle, JobNotFound
from ucop.engine.declared.retention import Retention
from ucop.engine.dialect import SQLITE, dialect_of
from ucop.engine.errors import RefusedChange
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.ledger.retention import OWNED, Rule

Open = Callable[..., Engine]

_SQLITE_TABLES = """
select m.name as name from sqlite_master m join pragma_table_info(m.name) c
where m.type = 'table' and c.name = 'job_id'"""

_POSTGRES_TABLES = """
select table_name as name from information_schema.columns
where table_schema = 'ucop' and column_name = 'job_id'"""


def rows(engine: Engine, sql: str, **params: Any) -> list[Any]:
    def read() -> Operation[list[Any]]:
        return list((yield One(sql, params)))

    return engine._loop.call(engine._database.read(read))


def is_lite(engine: Engine) -> bool:
    return dialect_of(engine._database.url) is SQLITE


def left_of(engine: Engine, job: str) -> dict[str, int]:
    """How many rows of each table have to do with a job, where there are any."""
    tables = dialect_of(engine._database.url).tables
    owned = {
        row["name"] for row in rows(engine, _SQLITE_TABLES if is_lite(engine) else _POSTGRES_TABLES)
    }
    where = {**dict.fromkeys(owned, "job_id = :job"), "jobs": "id = :job"}
    for table in ("checkpoints", tables.writes, *(["checkpoint_blobs"] if tables.apart else [])):
        where[table] = "thread_id = :job"
    if tables.apart:
        where["dbos.workflow_status"] = "workflow_uuid like :job || '%%'"
    found = {
        table: rows(engine, f"select count(*) as n from {table} where {which}", job=job)[0]["n"]
        for table, which in where.items()
    }
    return {table: number for table, number in found.items() if number}


@pytest.fixture
def flow(engine: Engine) -> Any:
    return engine.add("flow", chain("a", "b"))


def finished(engine: Engine, flow: Any, **terms: Any) -> JobHandle:
    job = engine.submit(flow, {"log": []}, **terms)
    job.result(DEADLINE)
    return job


def failed(engine: Engine, times: int = 1) -> JobHandle:
    job = engine.submit(engine.add("breaking", failing(times, [])))
    assert job.wait(DEADLINE) == "failed"
    return job


def listed(engine: Engine, **filters: Any) -> set[str]:
    return {job.id for job in engine.jobs(**filters)}


# ---------------------------------------------------------------- delete


def test_a_deleted_job_leaves_nothing_behind(engine: Engine, flow: Any) -> None:
    other, job = finished(engine, flow), finished(engine, flow)
    before = left_of(engine, other.id)
    assert {"jobs", "steps", "events", "attempts", "checkpoints"} <= left_of(engine, job.id).keys()
    job.delete()
    assert left_of(engine, job.id) == {}
    assert left_of(engine, other.id) == before
    with pytest.raises(JobNotFound):
        engine.job(job.id)
    with pytest.raises(JobNotFound):
        job.delete()


def test_every_table_that_names_a_job_is_seen_to(engine: Engine) -> None:
    sql = _SQLITE_TABLES if is_lite(engine) else _POSTGRES_TABLES
    # What a rate counts, and calls in a mesh, go by themselves when their time is over.
    assert {row["name"] for row in rows(engine, sql)} - {"queue_starts", "mesh_calls"} == set(OWNED)


def test_a_job_that_has_not_ended_is_not_deleted(open_engine: Open) -> None:
    idle = open_engine(worker=False)
    idle.add("flow", chain("a"))
    job = idle.submit("flow")
    for _ in range(2):
        with pytest.raises(RefusedChange, match="ended is deleted: `ucop jobs cancel"):
            job.delete()
        job.pause() if job.status == "pending" else None
    (refused,) = idle.change("delete", [job.id])
    assert (refused.status, bool(refused.refused)) == ("paused", True)
    job.cancel()
    (gone,) = idle.change("delete", Filter(workflow="flow"))
    assert (gone.id, gone.status, gone.refused) == (job.id, None, None)
    assert left_of(idle, job.id) == {}


def test_a_thread_stays_while_another_job_uses_it(engine: Engine, flow: Any) -> None:
    first = finished(engine, flow)
    second = finished(engine, flow, thread_id=first.id)
    first.delete()
    assert left_of(engine, first.id).keys() >= {"checkpoints"}
    third = finished(engine, flow, thread_id=first.id)
    assert third.get().output == {"log": list("ababab")}
    second.delete()
    third.delete()
    assert left_of(engine, first.id) == {}


def test_a_fork_goes_on_without_its_parent(engine: Engine) -> None:
    parent = failed(engine)
    fork = parent.fork(replace={"log": ["edited"]})
    fork.wait(DEADLINE)
    parent.delete()
    assert left_of(engine, parent.id) == {}
    again = fork.fork()
    assert again.result(DEADLINE) == {"log": ["edited", "breaks", "after"]}


def test_the_key_of_a_deleted_job_is_free(engine: Engine, flow: Any) -> None:
    job = finished(engine, flow, key="once")
    assert engine.submit(flow, {"log": []}, key="once").id == job.id
    job.archive()
    assert engine.submit(flow, {"log": []}, key="once").id == job.id
    job.delete()
    assert engine.submit(flow, {"log": []}, key="once").id != job.id


# ---------------------------------------------------------------- archive


def test_an_archived_job_is_out_of_the_lists_and_can_be_read(engine: Engine, flow: Any) -> None:
    job, other = finished(engine, flow), finished(engine, flow)
    job.archive()
    assert listed(engine) == {other.id}
    assert listed(engine, archived=True) == {job.id}
    assert listed(engine, archived=None) == {job.id, other.id}
    assert job.get().archived_at is not None
    assert job.result(DEADLINE) == {"log": ["a", "b"]}
    assert [event.type for event in job.events(follow=False)][-1] == "job.archived"
    before = job.get()
    job.archive()
    assert job.get() == before, "once is enough"
    (changed,) = engine.change("delete", Filter(workflow="flow"))
    assert changed.id == other.id, "a filter means no archived jobs unless it says so"
    job.unarchive()
    assert listed(engine) == {job.id}


def test_a_job_that_goes_on_is_in_the_lists_again(engine: Engine) -> None:
    job = failed(engine)
    job.archive()
    job.retry()
    job.result(DEADLINE)
    assert listed(engine) == {job.id}


def test_a_job_that_has_not_ended_is_not_archived(open_engine: Open) -> None:
    idle = open_engine(worker=False)
    idle.add("flow", chain("a"))
    job = idle.submit("flow")
    with pytest.raises(RefusedChange, match="only one that has ended"):
        job.archive()


# ---------------------------------------------------------------- as a setting


def with_retention(open_engine: Open, *, worker: bool = True, **ages: Any) -> Engine:
    settings = {"retention": Retention(**ages), "sweep": 0.05}
    engine = open_engine(worker=worker, settings=settings)
    engine.add("flow", chain("a", "b"))
    return engine


def test_a_worker_deletes_what_is_old_and_nothing_else(open_engine: Open) -> None:
    engine = with_retention(open_engine, completed=0.01)
    bad = failed(engine)
    jobs = [engine.submit("flow", {"log": []}) for _ in range(30)]
    until(lambda: not listed(engine, workflow="flow"))
    assert [left_of(engine, job.id) for job in jobs[:3]] == [{}, {}, {}]
    assert listed(engine) == {bad.id}
    bad.retry()
    until(lambda: not listed(engine))


def test_what_is_to_be_done_is_counted_and_done_at_once(open_engine: Open) -> None:
    worker = open_engine()
    flow = worker.add("flow", chain("a", "b"))
    for _ in range(3):
        finished(worker, flow)
    bad = failed(worker)
    idle = with_retention(open_engine, worker=False, failed="1ms", archive="1ms", completed="1d")
    assert idle.tidy(dry_run=True) == {Rule.DELETE: 1, Rule.ARCHIVE: 4}
    assert len(listed(idle)) == 4
    assert idle.tidy() == {Rule.DELETE: 1, Rule.ARCHIVE: 3}
    assert (listed(idle), len(listed(idle, archived=True))) == (set(), 3)
    assert left_of(idle, bad.id) == {}
    assert idle.tidy() == {}


def test_old_states_are_deleted_once_and_again_after_a_retry(open_engine: Open) -> None:
    worker = open_engine()
    job = failed(worker)
    idle = with_retention(open_engine, worker=False, checkpoints="1ms")
    before = len(job.checkpoints())
    time.sleep(0.05)  # older than the millisecond that states are kept
    assert idle.tidy() == {Rule.PRUNE: 1}
    assert len(job.checkpoints()) < before
    assert idle.tidy() == {}
    job.retry()
    assert job.result(DEADLINE) == {"log": ["before", "breaks", "after"]}
    time.sleep(0.05)  # older than the millisecond that states are kept
    assert idle.tidy() == {Rule.PRUNE: 1}
    assert len(job.checkpoints()) == 2


def test_several_who_tidy_delete_each_job_once(open_engine: Open) -> None:
    worker = open_engine()
    flow = worker.add("flow", chain("a"))
    jobs = [finished(worker, flow) for _ in range(5)]
    both = [with_retention(open_engine, worker=False, completed="1ms") for _ in range(2)]
    running = [
        engine._loop._submit(engine._commands.tidy(engine.settings.retention, False))
        for engine in both
    ]
    done = [future.result(DEADLINE) for future in running]
    assert sum(each.get(Rule.DELETE, 0) for each in done) == len(jobs)
