"""Whatever a graph's code gives or raises ends its job, once, and nothing beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from tests.contract.engine.test_engine import until
from tests.support import hostile
from tests.support.graphs import chain
from tests.support.hostile import ERRORS, VALUES, Act, State
from ucop.engine import Engine, JobError, JobHandle
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


def ends(engine: Engine, acts: Mapping[str, Act], place: Place) -> dict[str, JobHandle]:
    """Run a job for each act until all failed, beside another that completes; each acted once."""
    gate = asyncio.Event()
    beside = engine.submit(engine.add("beside", _waits(gate)))
    until(lambda: beside.status == "running")
    once = {name: Once(act) for name, act in acts.items()}
    jobs = {
        name: engine.submit(engine.add(f"hostile {name}", place(each)))
        for name, each in once.items()
    }
    for name, job in jobs.items():
        with pytest.raises(JobFailed):
            print(name, job.result(DEADLINE))
        assert (name, job.get().attempt) == (name, 1)
        # LangGraph merges once more, to show the state, where it takes an error for a question.
        assert once[name].times == 1 or (place is hostile.reducer and name == "interrupt")
    engine._loop.soon(gate.set)
    assert beside.result(DEADLINE) == {"log": ["waits"]}
    return jobs


def error_of(job: JobHandle) -> JobError:
    error = job.get().error
    assert error is not None
    return error


def _waits(gate: asyncio.Event) -> StateGraph[Any]:
    graph = chain()

    async def waits(state: Any) -> dict[str, list[str]]:
        await gate.wait()
        return {"log": ["waits"]}

    graph.add_node("waits", waits)
    graph.add_edge(START, "waits")
    return graph


@pytest.mark.parametrize("place", NODES, ids=name)
def test_a_value_that_nothing_stores_fails_its_node_once(engine: Engine, place: Place) -> None:
    jobs = ends(engine, {name: make for name, (make, _) in VALUES.items()}, place)
    for name, job in jobs.items():
        kind, error = VALUES[name][1], error_of(job)
        assert (name, error.type, error.kind) == (name, "Unstorable", kind)
        assert error.channel == "value"
        assert (error.node or "").startswith("acts")
        assert kind in error.message
        failed = [step.error for step in job.steps() if step.status == "failed"]
        assert kind in [each and each.kind for each in failed]


@pytest.mark.parametrize("place", [hostile.reducer, hostile.sends], ids=name)
def test_what_is_merged_or_sent_and_cannot_be_stored_fails_its_node(
    engine: Engine, place: Place
) -> None:
    jobs = ends(engine, {name: make for name, (make, _) in VALUES.items()}, place)
    for name, job in jobs.items():
        error = error_of(job)
        assert (name, error.type, error.kind) == (name, "Unstorable", VALUES[name][1])
        assert error.node == "acts"
        assert error.channel


@pytest.mark.parametrize(
    "place", [*NODES, hostile.condition, hostile.reducer, hostile.own_task], ids=name
)
def test_whatever_a_node_raises_fails_its_job_once(engine: Engine, place: Place) -> None:
    jobs = ends(engine, {name: act for name, (act, _) in ERRORS.items()}, place)
    for name, job in jobs.items():
        error = error_of(job)
        assert (name, error.type) == (name, ERRORS[name][1])
        frames = [*error.frames, *(frame for cause in error.causes for frame in cause.frames)]
        assert any(frame.file == hostile.__file__ for frame in frames)


@pytest.mark.parametrize("place", [*NODES, hostile.reducer, hostile.own_task], ids=name)
def test_a_cancellation_that_nobody_asked_for_fails_the_job(engine: Engine, place: Place) -> None:
    jobs = ends(engine, {"cancelled": hostile.CANCELLED[0]}, place)
    assert "Cancelled" in error_of(jobs["cancelled"]).type


@pytest.mark.parametrize("way", ["question", "custom"])
def test_what_a_node_tells_and_cannot_be_stored_fails_it(engine: Engine, way: str) -> None:
    def tells(act: Act) -> StateGraph[Any]:
        async def acts(state: State) -> dict[str, Any]:
            told = act()
            if way == "question":
                interrupt(told)
            get_stream_writer()({"told": told})
            return {}

        graph = StateGraph(State)
        graph.add_node("acts", acts)
        graph.add_edge(START, "acts")
        return graph

    jobs = ends(engine, {name: VALUES[name][0] for name in ("half", "half key", "exits")}, tells)
    for job in jobs.values():
        error = error_of(job)
        assert (error.type, error.node) == ("Unstorable", "acts")
        assert error.channel == ("custom" if way == "custom" else "__interrupt__")


def test_a_job_that_failed_so_fails_again_when_a_person_retries_it(engine: Engine) -> None:
    once = Once(object)
    job = engine.submit(engine.add("hostile", hostile.async_node(once)))
    for attempt in (1, 2):
        with pytest.raises(JobFailed, match="acts"):
            job.result(DEADLINE)
        assert (job.get().attempt, once.times) == (attempt, attempt)
        job.retry()


def test_a_long_text_of_an_error_is_cut(engine: Engine) -> None:
    def shouts() -> None:
        raise ValueError("x" * 20_000_000)

    error = error_of(ends(engine, {"shouts": shouts}, hostile.sync_node)["shouts"])
    assert len(error.message) < 10_000
    assert "20000000" in error.message


def test_a_factory_that_exits_fails_its_job(open_engine: Callable[..., Engine]) -> None:
    client = open_engine(worker=False)
    job = client.submit(client.add("made", lambda: chain("a")))

    def exits() -> StateGraph[Any]:
        raise SystemExit(4)

    open_engine().add("made", exits)
    with pytest.raises(JobFailed, match="SystemExit"):
        job.result(DEADLINE)
