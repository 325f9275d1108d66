"""Whose turn it is: one contract for the embedded queue and for DBOS on PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from tests.support.graphs import Log
from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, Filter, InvalidInput, JobHandle
from ucop.engine.declared.queue_limits import QueueLimits
from ucop.engine.errors import RefusedChange
from ucop.engine.jobs.job import WorkerId
from ucop.engine.ledger import lifecycle, workers
from ucop.engine.reading.why import causes
from ucop.graphs.workflows.catalog import Catalog

Open = Callable[..., Engine]


class Witness:
    """A graph of one node that notes who runs, in which order, and how many at once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.order: list[str] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.graph = StateGraph(Log)
        self.graph.add_node("note", self._node())
        self.graph.add_edge(START, "note")
        self.graph.add_edge("note", END)

    def _node(self) -> Any:
        async def note(state: Log) -> dict[str, list[str]]:
            name = state["log"][-1]
            kind = name.rstrip("0123456789")
            self.order.append(name)
            self.running[kind] += 1
            self.most[kind] = max(self.most[kind], self.running[kind])
            self.most["all"] = max(self.most["all"], self.running.total())
            await asyncio.sleep(self.seconds)
            self.running[kind] -= 1
            return {"log": []}

        return note


def queue(engine: Engine, name: str, **options: Any) -> JobHandle:
    return engine.submit("note", {"log": [name]}, **options)


def finish(jobs: Sequence[JobHandle], deadline: float = DEADLINE) -> None:
    for job in jobs:
        job.result(deadline)


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def sender(open_engine: Open, witness: Witness) -> Callable[..., Engine]:
    """An engine that only submits, with the given queues declared."""

    def opened(**settings: Any) -> Engine:
        engine = open_engine(worker=False, settings=settings)
        engine.add("note", witness.graph)
        return engine

    return opened


@pytest.fixture
def work(open_engine: Open, witness: Witness) -> Callable[..., Engine]:
    """An engine with a worker; to be closed by the caller where another is to follow."""

    def opened(slots: int = 1, **settings: Any) -> Engine:
        catalog = Catalog(None)
        catalog.add("note", witness.graph)
        return open_engine(catalog=catalog, settings={"concurrency": slots, **settings})

    return opened


def declared(**queues: Mapping[str, Any]) -> dict[str, Any]:
    return {"queues": {name: QueueLimits(**limits) for name, limits in queues.items()}}


# ---------------------------------------------------------------- order


def test_the_higher_priority_goes_first_and_then_who_came_first(
    sender: Any, work: Any, witness: Witness
) -> None:
    engine = sender()
    jobs = [
        queue(engine, f"{kind}{n}", priority=priority)
        for n in range(5)
        for kind, priority in (("low", -1), ("mid", 0), ("high", 7))
    ]
    work()
    finish([engine.job(job.id) for job in jobs])
    assert witness.order == [f"{kind}{n}" for kind in ("high", "mid", "low") for n in range(5)]


def test_a_job_that_is_handed_back_keeps_its_place_and_one_that_is_resumed_goes_last(
    sender: Any, work: Any, witness: Witness
) -> None:
    engine = sender()
    jobs = [queue(engine, f"j{n}") for n in range(4)]
    jobs[1].pause()
    jobs[1].resume()
    me = WorkerId("w-gone")
    database = engine._database

    async def taken_and_given_back() -> None:
        await database.write(lambda: workers.join(me, "here", 1, "[]"))
        assert await database.write(lambda: lifecycle.claim(jobs[0].id, 1, me))
        await database.write(lambda: lifecycle.release(jobs[0].id, 1, "drained", lost=False))

    engine._loop.call(taken_and_given_back())
    work()
    finish(jobs)
    assert witness.order == ["j0", "j2", "j3", "j1"]


def test_a_tenant_that_floods_does_not_delay_the_others(
    sender: Any, work: Any, witness: Witness
) -> None:
    engine = sender()
    flood = [queue(engine, f"flood{n}", tenant="flood", priority=9) for n in range(20)]
    others = [queue(engine, f"{t}{n}", tenant=t) for n in range(3) for t in ("a", "b")]
    none = [queue(engine, f"none{n}") for n in range(3)]
    work()
    finish([*flood, *others, *none])
    # Four shares: of each four in a row, one belongs to each tenant, as long as it has any.
    assert all(
        Counter(name.rstrip("0123456789") for name in witness.order[start : start + 4])
        == Counter(("a", "b", "none", "flood"))
        for start in (0, 4, 8)
    )
    assert [name for name in witness.order if name[0] == "f"] == [f"flood{n}" for n in range(20)]


# ---------------------------------------------------------------- threads


def test_jobs_of_one_thread_run_one_by_one_in_the_order_of_their_submission(
    sender: Any, work: Any, witness: Witness
) -> None:
    engine = sender()
    talk = [queue(engine, f"t{n}", thread_id="talk", priority=n) for n in range(5)]
    free = [queue(engine, f"f{n}") for n in range(5)]
    work(slots=4)
    finish([*talk, *free])
    assert [name for name in witness.order if name[0] == "t"] == [f"t{n}" for n in range(5)]
    assert witness.most["t"] == 1
    assert [job.get().attempt for job in talk] == [1] * 5


# ---------------------------------------------------------------- limits


def test_a_queue_runs_no_more_at_a_time_than_it_allows(
    sender: Any, work: Any, witness: Witness
) -> None:
    witness.seconds = 0.05
    settings = declared(bulk={"concurrency": 2}, narrow={"worker_concurrency": 1})
    engine = sender(**settings)
    bulk = [queue(engine, f"bulk{n}", queue="bulk") for n in range(8)]
    narrow = [queue(engine, f"narrow{n}", queue="narrow") for n in range(4)]
    free = [queue(engine, f"free{n}") for n in range(8)]
    work(slots=20, **settings)
    finish([*bulk, *narrow, *free])
    assert witness.most["bulk"] == 2
    assert witness.most["narrow"] == 1
    assert witness.most["free"] > 2


def test_a_workflow_runs_no_more_at_a_time_than_it_may(
    sender: Any, work: Any, witness: Witness
) -> None:
    witness.seconds = 0.05
    engine = sender()
    jobs = [queue(engine, f"j{n}") for n in range(6)]
    work(slots=20, workflow_concurrency={"note": 2})
    finish(jobs)
    assert witness.most["j"] == 2


def test_no_more_begin_in_a_period_than_the_rate_allows(
    sender: Any, work: Any, witness: Witness
) -> None:
    settings = declared(slow={"rate": "2/1h"}, quick={"rate": "2/200ms"})
    engine = sender(**settings)
    slow = [queue(engine, f"slow{n}", queue="slow") for n in range(3)]
    quick = [queue(engine, f"quick{n}", queue="quick") for n in range(5)]
    work(slots=20, **settings)
    finish([*slow[:2], *quick])
    assert slow[2].status == "pending"
    at = [job.get().started_at for job in quick]
    for first, third in zip(at, at[2:], strict=False):
        assert first is not None
        assert third is not None
        assert third - first >= timedelta(seconds=0.19)  # a clock is read twice


# ---------------------------------------------------------------- queues


def test_a_worker_takes_jobs_of_the_queues_that_it_serves_alone(
    sender: Any, work: Any, witness: Witness
) -> None:
    settings = declared(a={}, b={})
    engine = sender(**settings)
    jobs = {name: queue(engine, name, queue=name) for name in ("default", "a", "b")}
    with work(serves=("a",), **settings):
        jobs["a"].result(DEADLINE)
    with work(serves=("b",), **settings):
        jobs["b"].result(DEADLINE)
    assert witness.order == ["a", "b"]
    assert jobs["default"].status == "pending"
    assert jobs["a"].get().queue == "a"


def test_a_queue_that_is_paused_waits_until_it_is_resumed(
    sender: Any, work: Any, witness: Witness
) -> None:
    settings = declared(bulk={"paused": True})
    engine = sender(**settings)
    held, free = queue(engine, "held", queue="bulk"), queue(engine, "free")
    work(slots=4, **settings)
    free.result(DEADLINE)
    assert held.status == "pending"
    engine.set_queue("bulk", paused=False)
    held.result(DEADLINE)
    engine.set_queue("default", paused=True, concurrency=3)
    other = queue(engine, "other")
    state = {one.name: one for one in engine.queues()}
    assert (state["default"].paused, state["default"].concurrency) == (True, 3)
    assert state["default"].changed == ("concurrency", "paused")
    assert (state["bulk"].paused, state["bulk"].changed) == (False, ("paused",))
    assert other.status == "pending"
    engine.reset_queue("default")
    other.result(DEADLINE)


def test_a_queue_tells_what_is_in_it_by_tenant(sender: Any) -> None:
    engine = sender(**declared(bulk={"rate": "5/1m"}))
    queue(engine, "a", queue="bulk", tenant="acme")
    queue(engine, "b", queue="bulk", tenant="acme", delay="1h")
    queue(engine, "c", queue="bulk")
    bulk, default = engine.queues()
    assert (bulk.name, bulk.rate, bulk.pending, bulk.delayed, bulk.running) == (
        "bulk",
        "5/1m",
        2,
        1,
        0,
    )
    assert [(each.tenant, each.pending, each.delayed) for each in bulk.tenants] == [
        (None, 1, 0),
        ("acme", 1, 1),
    ]
    assert bulk.oldest is not None
    assert (default.name, default.pending, default.oldest) == ("default", 0, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"queue": "bilk"}, r"no queue 'bilk'; there is bulk, default.*\[queues.bilk\]"),
        ({"delay": "soon"}, "delay: must be a time such as 90s"),
        ({"delay": 5, "start_at": datetime.now(UTC)}, "one of the two"),
        ({"start_at": datetime(2030, 1, 1)}, "time zone"),
        ({"deadline": "1s", "delay": "1h"}, "before it may start"),
        ({"deadline": "1s", "budget": {"deadline": "2s"}}, "give it once"),
        ({"deadline": datetime(2000, 1, 1, tzinfo=UTC)}, "has passed"),
        ({"on_busy": "wait", "thread_id": "t"}, "on_busy: must be one of enqueue, reject"),
        ({"on_busy": "reject"}, "give thread_id"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    sender: Any, options: dict[str, Any], said: str
) -> None:
    engine = sender(**declared(bulk={}))
    with pytest.raises(InvalidInput, match=said):
        queue(engine, "x", **options)
    assert engine.jobs() == []


def test_a_pending_job_tells_which_limit_it_waits_for(
    sender: Any, open_engine: Open, witness: Witness
) -> None:
    witness.seconds = 600.0
    settings = {
        **declared(slow={"rate": "1/1h"}, one={"concurrency": 1}, each={"worker_concurrency": 1}),
        "workflow_concurrency": {"few": 1},
    }
    engine = sender(**settings)
    engine.add("few", witness.graph)
    catalog = Catalog(None)
    for name in ("note", "few"):
        catalog.add(name, witness.graph)
    open_engine(catalog=catalog, settings=settings)

    def second(name: str, **options: Any) -> JobHandle:
        """Another job of what one is running of."""
        first = engine.submit(name, {"log": ["first"]}, **options)
        for event in first.events():
            if event.type == "step.started":
                break
        job: JobHandle = engine.submit(name, {"log": ["second"]}, **options)
        return job

    def why(job: JobHandle) -> str:
        limits = engine.settings.workflow_concurrency
        seen = engine.reader.dispatch(job.id, engine.settings.declared, limits)
        return causes(job.get(), seen, (), time.time())[0]

    assert "reached its rate limit 1/1h; the next job starts in " in why(
        second("note", queue="slow")
    )
    assert why(second("note", queue="one")) == "its queue 'one' runs 1 job, its limit"
    assert "its worker runs 1 job of queue 'each'" in why(second("note", queue="each"))
    assert why(second("few")) == "its workflow 'few' runs 1 job, its limit"
    assert "comes first on its thread 't'" in why(second("note", thread_id="t"))
    assert "in 60 min at the earliest" in why(engine.submit("note", {"log": []}, delay="1h"))
    engine.change("cancel", Filter())


def test_a_graph_that_a_worker_learns_later_is_seen_to_be_known(
    sender: Any, work: Any, witness: Witness
) -> None:
    worker, reader = work(), sender().reader
    witness.seconds = 0.0
    worker.add("late", witness.graph)
    job = worker.submit("late", {"log": ["a"]})
    until(lambda: reader.dispatch(job.id, worker.settings.declared).able(time.time()))
    job.result(DEADLINE)


def test_a_queue_cannot_be_set_to_what_is_none(sender: Any) -> None:
    engine = sender()
    with pytest.raises(InvalidInput, match="concurrency"):
        engine.set_queue("default", concurrency=0)
    with pytest.raises(InvalidInput, match="rate"):
        engine.set_queue("default", rate="fast")
    with pytest.raises(InvalidInput, match="no queue 'bulk'"):
        engine.set_queue("bulk", paused=True)
    assert engine.queues()[0].changed == ()


# ---------------------------------------------------------------- times


def test_a_delayed_job_starts_at_its_time_and_not_before(
    sender: Any, work: Any, witness: Witness
) -> None:
    engine = sender()
    later = queue(engine, "later", delay=0.6)
    last = queue(engine, "last", start_at=datetime.now(UTC) + timedelta(seconds=0.9))
    never = queue(engine, "never", delay="1h")
    first = queue(engine, "first")
    due = {job.id: job.get().start_at for job in (later, last)}
    work()
    finish([first, later, last])
    assert witness.order == ["first", "later", "last"]
    for job in (later, last):
        at, started = due[job.id], job.get().started_at
        assert at is not None
        assert started is not None
        assert started >= at
    assert never.status == "pending"


def test_what_is_delayed_runs_at_once_where_a_person_says_so(
    sender: Any, work: Any, witness: Witness
) -> None:
    engine = sender()
    hurried, paused, many, stays = (
        queue(engine, name, delay="1h") for name in ("hurried", "paused", "many", "stays")
    )
    hurried.resume(now=True, priority=5)
    paused.pause()
    paused.resume(now=True)
    (changed,) = engine.change("resume", [many.id], now=True)
    assert (changed.status, changed.refused) == ("pending", None)
    assert [job.get().start_at for job in (hurried, paused, many)] == [None] * 3
    told = [event for event in hurried.events(follow=False) if event.type == "job.pending"]
    assert [event.data["reason"] for event in told] == ["asked to run at once"]
    work()
    finish([hurried, paused, many])
    assert witness.order == ["hurried", "paused", "many"]
    assert stays.status == "pending"


def test_a_delay_outlives_a_pause(sender: Any, work: Any, witness: Witness) -> None:
    engine = sender()
    far, near = queue(engine, "far", delay="1h"), queue(engine, "near", delay=1.0)
    between = queue(engine, "between")
    due = {job.id: job.get().start_at for job in (far, near)}
    engine.change("pause", [far.id, near.id])
    engine.change("resume", [far.id, near.id])
    assert {job.id: job.get().start_at for job in (far, near)} == due
    work()
    finish([between, near])
    started, wanted = near.get().started_at, due[near.id]
    assert started is not None
    assert wanted is not None
    assert started >= wanted
    assert far.status == "pending"


def test_only_what_waits_for_its_time_is_hurried(sender: Any) -> None:
    engine = sender()
    delayed, in_line, paused = (
        queue(engine, "d", delay="1h"),
        queue(engine, "l"),
        queue(engine, "p"),
    )
    paused.pause()
    with pytest.raises(RefusedChange, match="not for a time of its own"):
        in_line.resume(now=True)
    with pytest.raises(RefusedChange, match=f"`ucop jobs resume {delayed.id} --now`"):
        delayed.resume()
    changed = engine.change("resume", Filter(workflow=delayed.get().workflow), now=True)
    assert [one.id for one in changed] == [delayed.id, paused.id]
    assert [one.refused for one in changed] == [None, None]


def test_a_deadline_holds_while_nobody_works_on_the_job(
    sender: Any, work: Any, witness: Witness
) -> None:
    settings = declared(held={"paused": True})
    engine = sender(**settings)
    pending = queue(engine, "pending", queue="held", deadline=0.3)
    paused = queue(engine, "paused", deadline=0.3)
    paused.pause()
    lives = queue(engine, "lives", queue="held", deadline="1h")
    work(**settings)
    for job, status in ((pending, "pending"), (paused, "paused")):
        until(partial(_is_no_longer, job, status))
        error = job.get().error
        assert error is not None
        assert error.type == "DeadlinePassed"
        assert f"was {status} then" in error.message
    assert lives.status == "pending"
    assert witness.order == []
    paused.retry(budget={"deadline": "1h"})
    paused.result(DEADLINE)


def _is_no_longer(job: JobHandle, status: str) -> bool:
    return job.status != status


def test_a_deadline_ends_a_job_that_waits_for_a_person(open_engine: Open) -> None:
    def ask(state: Log) -> dict[str, list[str]]:
        return {"log": [str(interrupt("well?"))]}

    graph = StateGraph(Log)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    engine = open_engine()
    engine.add("ask", graph)
    job = engine.submit("ask", {"log": []}, deadline=1.5)
    assert job.wait(DEADLINE) == "waiting"
    kinds = [event.type for event in job.events()]
    assert kinds[-1] == "job.waiting"
    until(lambda: job.status != "waiting")
    error = job.get().error
    assert error is not None
    assert "was waiting then" in error.message
