"""Whatever a graph's code gives or raises ends its job, once, and nothing beside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from tests.contract.test_engine import until
from tests.support import hostile
from tests.support.graphs import chain
from tests.support.hostile import ERRORS, VALUES, Act, State
from ucop.engine import Engine, JobHandle
from ucop.engine.errors import JobFailed

DEADLINE = 60.0

NODES = [
    hostile.sync_node,
    hostile.async_node,
    hostile.subgraph,
    hostile.called_subgraph,
]

Place = Callable[[Act], StateGraph[Any]]


def name(place: Place) -> str:
    return place.__name__


class Once:
    """Does what it is given to do, and counts."""

    def __init__(self, act: Act) -> None:
        self.times, self._act = 0, act

    def __call__(self) -> Any:
        self.times += 1
        return self._act()


def ends(engine: Engine, graph: Any, once: Once) -> JobHandle:
    """Run a job until it failed, beside another that completes; it acted once."""
    gate = asyncio.Event()
    beside = engine.submit(engine.add("beside", _waits(gate)))
    until(lambda: beside.status == "running")
    job = engine.submit(engine.add("hostile", graph))
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    assert job.get().attempt == 1
    assert once.times == 1
    engine._loop.soon(gate.set)
    assert beside.result(DEADLINE) == {"log": ["waits"]}
    assert engine.submit(engine.add("after", chain("a"))).result(DEADLINE) == {"log": ["a"]}
    return job


def _waits(gate: asyncio.Event) -> StateGraph[Any]:
    graph = chain()

    async def waits(state: Any) -> dict[str, list[str]]:
        await gate.wait()
        return {"log": ["waits"]}

    graph.add_node("waits", waits)
    graph.add_edge(START, "waits")
    return graph


@pytest.mark.parametrize("place", NODES, ids=name)
@pytest.mark.parametrize("value", VALUES)
def test_a_value_that_nothing_stores_fails_its_node_once(
    engine: Engine, place: Place, value: str
) -> None:
    make, kind = VALUES[value]
    once = Once(make)
    job = ends(engine, place(once), once)
    error = job.get().error
    assert error is not None
    assert (error.type, error.kind, error.channel) == ("Unstorable", kind, "value")
    assert (error.node or "").startswith("acts")
    assert kind in error.message
    failed = [step.error for step in job.steps() if step.status == "failed"]
    assert kind in [each and each.kind for each in failed]


@pytest.mark.parametrize("place", [hostile.reducer, hostile.sends], ids=name)
@pytest.mark.parametrize("value", VALUES)
def test_what_is_merged_or_sent_and_cannot_be_stored_fails_its_node(
    engine: Engine, place: Place, value: str
) -> None:
    make, kind = VALUES[value]
    once = Once(make)
    error = ends(engine, place(once), once).get().error
    assert error is not None
    assert (error.type, error.kind, error.node) == ("Unstorable", kind, "acts")
    assert error.channel


@pytest.mark.parametrize(
    "place",
    [*NODES, hostile.condition, hostile.reducer, hostile.own_task],
    ids=name,
)
@pytest.mark.parametrize("error", ERRORS)
def test_whatever_a_node_raises_fails_its_job_once(
    engine: Engine, place: Place, error: str
) -> None:
    act, type = ERRORS[error]
    once = Once(act)
    job = ends(engine, place(once), once)
    found = job.get().error
    assert found is not None
    assert found.type == type
    assert any(frame.file == hostile.__file__ for frame in found.frames)


@pytest.mark.parametrize("place", [*NODES, hostile.reducer, hostile.own_task], ids=name)
def test_a_cancellation_that_nobody_asked_for_fails_the_job(engine: Engine, place: Place) -> None:
    once = Once(hostile.CANCELLED[0])
    found = ends(engine, place(once), once).get().error
    assert found is not None
    assert "Cancelled" in found.type


@pytest.mark.parametrize("value", ["half", "half key", "exits"])
@pytest.mark.parametrize("way", ["question", "custom"])
def test_what_a_node_tells_and_cannot_be_stored_fails_it(
    engine: Engine, way: str, value: str
) -> None:
    once = Once(VALUES[value][0])

    async def acts(state: State) -> dict[str, Any]:
        told = once()
        if way == "question":
            interrupt(told)
        get_stream_writer()({"told": told})
        return {}

    graph = StateGraph(State)
    graph.add_node("acts", acts)
    graph.add_edge(START, "acts")
    error = ends(engine, graph, once).get().error
    assert error is not None
    assert (error.type, error.node) == ("Unstorable", "acts")
    assert error.channel == ("custom" if way == "custom" else "__interrupt__")


def test_a_job_that_failed_so_fails_again_when_a_person_retries_it(engine: Engine) -> None:
    once = Once(object)
    job = ends(engine, hostile.async_node(once), once)
    job.retry()
    with pytest.raises(JobFailed, match="acts"):
        job.result(DEADLINE)
    assert (job.get().attempt, once.times) == (2, 2)


def test_a_long_text_of_an_error_is_cut(engine: Engine) -> None:
    def shouts() -> None:
        raise ValueError("x" * 20_000_000)

    once = Once(shouts)
    error = ends(engine, hostile.sync_node(once), once).get().error
    assert error is not None
    assert len(error.message) < 10_000
    assert "20000000" in error.message


def test_a_factory_that_exits_fails_its_job(
    open_engine: Callable[..., Engine],
) -> None:
    client, made = open_engine(worker=False), list[int]()

    def factory() -> StateGraph[Any]:
        made.append(os.getpid())
        if len(made) > 1:
            raise SystemExit(4)
        return chain("a")

    worker = open_engine()
    job = client.submit(client.add("made", factory))
    assert job.status == "pending"

    def exits() -> StateGraph[Any]:
        raise SystemExit(4)

    worker.add("made", exits)
    with pytest.raises(JobFailed, match="SystemExit"):
        job.result(DEADLINE)
