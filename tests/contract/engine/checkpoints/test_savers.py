"""The fenced savers: LangGraph's own conformance suite, the fence, and what rides with it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Annotated, Any

import pytest
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.support.journal import Nodes, as_task
from ucop.agents.models.meter import Meter
from ucop.engine.checkpoints.savers import FencedSaver, attach, saver_of
from ucop.engine.checkpoints.sqlite_saver import FencedSqliteSaver
from ucop.engine.database.database import Database
from ucop.engine.errors import Superseded, Unstorable
from ucop.engine.jobs.job import JobId, ThreadId, WorkerId
from ucop.engine.journal.journal import Journal
from ucop.engine.journal.observer import Observer
from ucop.engine.ledger import lifecycle, workers
from ucop.engine.ledger.records import NewJob
from ucop.engine.reading.reader import Reader, open_reader

WORKER = WorkerId("w-me")


@pytest.mark.parametrize("fenced", [True, False], ids=["of an attempt", "of the worker"])
async def test_the_saver_passes_langgraphs_conformance_suite(
    database: Database, fenced: bool
) -> None:
    attempts, _ = await running(database)

    @checkpointer_test(name="ucop")
    async def saver() -> AsyncIterator[FencedSaver]:
        yield attempts if fenced else saver_of(database)

    report = await validate(saver)
    failed = {name: result for name, result in report.results.items() if not result.passed}
    assert not failed
    assert {"copy_thread", "delete_for_runs", "prune"} <= set(report.results)


async def test_what_an_attempt_saved_is_there_for_every_reader(database: Database) -> None:
    """The input is held until the next checkpoint, and the last writes of a superstep too."""
    saver, _ = await running(database)
    others: Any = {"configurable": {"thread_id": "b"}}

    async def held() -> Any:
        config: Any = {"configurable": {"thread_id": "b", "checkpoint_ns": ""}}
        await saver.aput(config, empty_checkpoint(), {"source": "input", "step": -1}, {})

    await held()
    assert len([item async for item in saver.alist(others)]) == 1
    await saver.adelete_thread("b")
    await held()
    assert len(await asyncio.to_thread(lambda: [*saver.list(others)])) == 1
    await asyncio.to_thread(lambda: saver.delete_thread("b"))
    await held()
    await saver.acopy_thread("b", "c")
    assert await saver.aget_tuple({"configurable": {"thread_id": "c"}})
    await asyncio.to_thread(lambda: asyncio.run(saver.adelete_thread("b")))
    assert [item async for item in saver.alist(others)] == []


async def test_histories_of_delta_channels_are_read_by_the_fast_path(database: Database) -> None:
    """LangGraph's own way reads the checkpoints one by one."""
    saver, _ = await running(database)
    log: Any = Annotated[list[str], DeltaChannel(add_all, snapshot_frequency=100)]
    schema: Any = TypedDict("schema", {"log": log})
    builder = StateGraph(schema)
    for name in ("a", "b", "c"):
        builder.add_node(name, lambda state, name=name: {"log": [name]})
    for before, after in pairwise((START, "a", "b", "c", END)):
        builder.add_edge(before, after)
    graph = attach(builder.compile(), saver)
    config: Any = {"configurable": {"thread_id": "a", "checkpoint_ns": ""}}
    await graph.ainvoke({"log": ["in"]}, config)
    newest = await saver.aget_tuple(config)
    assert newest is not None
    asked: dict[str, Any] = {"config": newest.config, "channels": ["log"]}
    slow = await BaseCheckpointSaver.aget_delta_channel_history(saver, **asked)
    assert [value for _, _, value in slow["log"]["writes"]][-3:] == [["a"], ["b"], ["c"]]
    for read in (
        await saver.aget_delta_channel_history(**asked),
        await asyncio.to_thread(lambda: saver.get_delta_channel_history(**asked)),
    ):
        assert read == slow
    own = type(saver).aget_delta_channel_history
    assert own is not BaseCheckpointSaver.aget_delta_channel_history


def add_all(before: list[str], writes: Sequence[list[str]]) -> list[str]:
    return [*before, *(each for write in writes for each in write)]


async def running(database: Database, job: str = "a") -> tuple[FencedSaver, Journal]:
    """A claimed attempt's saver and journal."""
    new = NewJob(
        id=JobId(job),
        workflow="flow",
        fingerprint="f",
        definition="{}",
        needs="[]",
        input="{}",
        thread_id=ThreadId(job),
    )
    await database.write(lambda: workers.join(WORKER, "here", 1, "[]"))
    await database.write(lambda: lifecycle.submit(new))
    assert await database.write(lambda: lifecycle.claim(job, 1, WORKER))
    journal = Journal(JobId(job), 1, Nodes(), Meter(), Observer())
    return saver_of(database).for_attempt(journal), journal


async def put(saver: FencedSaver, job: str = "a") -> Any:
    checkpoint = empty_checkpoint()
    config: Any = {"configurable": {"thread_id": job, "checkpoint_ns": ""}}
    return await saver.aput(config, checkpoint, {"source": "loop", "step": 0}, {})


async def take_over(database: Database) -> None:
    await database.write(lambda: lifecycle.release("a", 1, "worker w-me was lost", lost=True))


async def test_a_superseded_attempt_saves_neither_checkpoint_nor_writes(database: Database) -> None:
    saver, _ = await running(database)
    config = await put(saver)
    await take_over(database)
    with pytest.raises(Superseded):
        await put(saver)
    with pytest.raises(Superseded):
        await saver.aput_writes(config, [("log", "late")], "t1")
    held = [item async for item in saver_of(database).alist({"configurable": {"thread_id": "a"}})]
    assert len(held) == 1
    assert not held[0].pending_writes


async def test_a_step_is_in_the_ledger_when_its_writes_are_saved(
    database: Database, url: str
) -> None:
    saver, journal = await running(database)
    config = await put(saver)
    journal.started((), as_task("t1", "one", {"in": 1}))
    journal.started((), as_task("t2", "two", {"in": 2}))
    await saver.aput_writes(config, [("log", "x"), ("branch:to:three", None), ("_own", 1)], "t1")
    with open_reader(url) as reader:
        steps = {step.node: step for step in reader.steps("a")}
        assert steps["one"].status == "completed"
        assert steps["one"].output == {"log": "x"}
        assert steps["two"].status == "running"
    held = await saver.aget_tuple(config)
    assert held is not None
    assert held.pending_writes is not None
    assert {write[0] for write in held.pending_writes} == {"t1"}


async def test_the_last_writes_of_a_superstep_commit_with_its_checkpoint(
    database: Database, url: str
) -> None:
    saver, journal = await running(database)
    config = await put(saver)
    journal.started((), as_task("t1", "one", {}))
    await saver.aput_writes(config, [("log", "x")], "t1")
    with open_reader(url) as reader:
        assert _written(reader) == []
        await put(saver)
        assert _written(reader) == ["one"]
    held = await saver.aget_tuple(config)
    assert held is not None
    assert held.pending_writes


async def test_nodes_of_the_compilers_own_are_not_told(database: Database, url: str) -> None:
    saver, journal = await running(database)
    journal.started((), as_task("t1", "_own gate", {}))
    await put(saver)
    with open_reader(url) as reader:
        assert reader.steps("a") == []


async def test_the_first_checkpoint_is_noted_on_the_job(database: Database) -> None:
    saver, _ = await running(database)
    await put(saver)
    await take_over(database)
    claimed = await database.write(lambda: lifecycle.claim("a", 2, WORKER))
    assert claimed is not None
    assert claimed.begun


async def test_a_pickle_in_the_database_is_not_loaded(database: Database) -> None:
    saver = saver_of(database)
    with pytest.raises((ValueError, NotImplementedError)):
        saver.serde.loads_typed(("pickle", b"\x80\x04."))


async def test_a_crafted_type_in_the_database_is_not_called(database: Database) -> None:
    import ormsgpack
    from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_SINGLE_ARG

    call = ormsgpack.packb(("os", "getenv", "HOME"))
    crafted = ormsgpack.packb(ormsgpack.Ext(EXT_CONSTRUCTOR_SINGLE_ARG, call))
    import os

    assert saver_of(database).serde.loads_typed(("msgpack", crafted)) != os.environ.get("HOME", "-")


def _written(reader: Reader) -> list[str]:
    return [step.node for step in reader.steps("a") if step.status == "completed"]


async def test_a_write_that_is_cancelled_at_any_moment_is_told_once(
    database: Database, url: str
) -> None:
    saver, journal = await running(database)
    for moment in range(120):
        journal.event("progress", {"moment": moment})
        writing = asyncio.create_task(saver.flush())
        for _ in range(moment // 4):
            await asyncio.sleep(0.0001)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await saver.flush()
    with open_reader(url) as reader:
        told = [e.data["moment"] for e in reader.events("a") if e.type == "progress"]
    assert sorted(told) == list(range(120))


async def test_what_is_larger_than_the_database_takes_is_refused_with_its_place(
    database: Database, url: str
) -> None:
    bound = 100_000
    saver, journal = await running(database)
    if isinstance(saver, FencedSqliteSaver):  # SQLite's own border
        saver.conn.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, bound)
        saver = saver_of(database).for_attempt(journal)
    saver.most_bytes = min(saver.most_bytes, bound)
    config = await put(saver)
    with pytest.raises(Unstorable, match=r"'log' .* at most"):
        await saver.aput_writes(config, [("log", "x" * bound)], "t1")
    with pytest.raises(Unstorable):
        await asyncio.to_thread(saver.put_writes, config, [("log", ["x" * bound])], "t1")
    with pytest.raises(Unstorable):  # and no checkpoint may follow without it
        await put(saver)
    held = await saver.aget_tuple(config)
    assert held is not None
    assert held.pending_writes == []


async def test_the_error_of_a_node_takes_the_place_of_that_of_an_earlier_attempt(
    database: Database,
) -> None:
    """Its error handler is given it after a crash."""
    saver, _ = await running(database)
    config = await put(saver)
    source = ("__error_source_node__", "bad")
    await saver.aput_writes(config, [("__error__", asyncio.CancelledError("stopped"))], "t1")
    await saver.aput_writes(config, [("__error__", ValueError("real")), source], "t1")
    await asyncio.to_thread(saver.put_writes, config, [("__error__", KeyError("one"))], "t2")
    again = [("__error__", KeyError("two")), source]
    await asyncio.to_thread(saver.put_writes, config, again, "t2")
    held = await saver.aget_tuple(config)
    assert held is not None
    errors = [
        (task, value)
        for task, channel, value in held.pending_writes or ()
        if channel == "__error__"
    ]
    assert errors == [("t1", "ValueError('real')"), ("t2", "KeyError('two')")]
    assert len(held.pending_writes or ()) == 4
