"""Functions that make graphs, as `langgraph.json` may name them, on both databases."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph_sdk.runtime import ServerRuntime
from typing_extensions import TypedDict

from ucop.engine import Engine, InvalidDefinition, JobFailed

DEADLINE = 30.0


class State(TypedDict, total=False):
    said: str


@dataclass
class Who:
    user: str = "nobody"


def saying(say: Callable[[], str], *more: str) -> StateGraph[Any, Any, Any, Any]:
    builder = StateGraph(State, context_schema=Who)
    builder.add_node("say", lambda state: {"said": say()})
    builder.add_edge(START, "say")
    for node in more:
        builder.add_node(node, lambda state: {})
        builder.add_edge("say", node)
    return builder


class Held:
    """What a factory opens: a connection, say."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.open = 0
        self.loops: set[Any] = set()

    def begin(self) -> None:
        self.open += 1
        self.loops.add(asyncio.get_running_loop())

    def end(self) -> None:
        self.open -= 1
        self.loops.add(asyncio.get_running_loop())

    def use(self) -> str:
        return f"open: {self.open > 0}"


def plain() -> Any:
    return saying(lambda: "plain")


async def later() -> Any:
    await asyncio.sleep(0)
    return saying(lambda: "later").compile()


def by_config(config: RunnableConfig) -> Any:
    return saying(lambda: str(config["configurable"].get("word", "?")))


def by_any_name(options):  # type: ignore[no-untyped-def]
    return saying(lambda: str(options["configurable"].get("word", "?")))


def by_runtime(runtime: ServerRuntime[Who]) -> Any:
    run = runtime.execution_runtime
    word = run.context.user if run is not None and run.context else "?"
    return saying(lambda: word)


async def by_both(config: RunnableConfig, runtime: ServerRuntime[Who]) -> Any:
    run = runtime.execution_runtime
    word = run.context.user if run is not None and run.context else "?"
    return saying(lambda: f"{config['configurable'].get('word')} {word}")


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (plain, "plain"),
        (later, "later"),
        (functools.partial(plain), "plain"),
        (by_config, "hello"),
        (by_any_name, "hello"),
        (by_runtime, "bo"),
        (by_both, "hello bo"),
    ],
)
def test_given_a_factory_then_it_gets_what_it_asks_for(
    engine: Engine, factory: Any, said: str
) -> None:
    config = {"configurable": {"word": "hello"}}
    job = engine.submit(factory, {}, config=config, context=Who("bo"))
    assert job.result(DEADLINE) == {"said": said}


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_given_a_context_manager_then_it_is_open_while_the_graph_is_used_and_closed_at_the_end(
    engine: Engine, kind: str
) -> None:
    held = Held()

    @contextmanager
    def held_sync(config: RunnableConfig) -> Iterator[Any]:
        held.begin()
        yield saying(held.use)
        held.end()

    @asynccontextmanager
    async def held_async() -> AsyncIterator[Any]:
        held.begin()
        yield saying(held.use)
        held.end()

    job = engine.submit(held_sync if kind == "sync" else held_async)
    assert job.result(DEADLINE) == {"said": "open: True"}
    engine.close()
    assert held.open == 0
    assert engine._loop._loop in held.loops


def test_given_a_context_manager_whose_graph_fails_or_that_cannot_close_then_it_says_so(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held()

    def fail() -> str:
        raise ValueError("the node")

    @asynccontextmanager
    async def failing() -> AsyncIterator[Any]:
        held.begin()
        try:
            yield saying(fail)
        finally:
            held.end()

    @asynccontextmanager
    async def unclosable() -> AsyncIterator[Any]:
        yield saying(lambda: "x")
        if held.told:
            raise OSError("cannot close")
        held.told.append("once, when the graph was looked at")

    with pytest.raises(JobFailed, match="the node"):
        engine.submit(failing).result(DEADLINE)
    assert held.open == 0
    assert engine.submit(unclosable).result(DEADLINE) == {"said": "x"}
    assert "cannot close" in caplog.text


def test_given_a_factory_whose_config_changes_the_shape_then_each_job_has_its_own(
    engine: Engine,
) -> None:
    def shaped(config: RunnableConfig) -> Any:
        more = config["configurable"].get("more", [])
        return saying(lambda: "x", *more)

    jobs = [
        engine.submit(shaped, config={"configurable": {"more": more}})
        for more in ([], ["a"], ["a", "b"], ["a"])
    ]
    for job in jobs:
        job.result(DEADLINE)
    nodes = [sorted(step.node for step in job.steps()) for job in jobs]
    assert nodes == [["say"], ["a", "say"], ["a", "b", "say"], ["a", "say"]]
    fork = jobs[2].fork(jobs[2].checkpoints()[1].id)
    fork.result(DEADLINE)
    assert sorted(step.node for step in fork.steps()) == ["a", "b"]


def raises() -> Any:
    raise ValueError("no key")


def exits() -> Any:
    raise SystemExit(3)


def panics() -> Any:
    """As compiled extensions do."""
    raise type("PanicException", (BaseException,), {})("lost")


async def raises_later(config: RunnableConfig) -> Any:
    raise ValueError("no key")


@contextmanager
def raises_amid() -> Iterator[Any]:
    raise ValueError("no key")
    yield


def asks_for_more(config: RunnableConfig, database: str) -> Any:
    return plain()


def makes_nothing() -> Any:
    return 3


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (raises, "ValueError: no key"),
        (exits, "SystemExit: 3"),
        (panics, "PanicException: lost"),
        (raises_later, "ValueError: no key"),
        (raises_amid, "ValueError: no key"),
        (asks_for_more, "asks for 'database'"),
        (makes_nothing, "of type int, not a graph"),
    ],
)
def test_given_a_factory_that_makes_no_graph_then_it_is_a_finding(
    engine: Engine, factory: Any, why: str
) -> None:
    with pytest.raises(InvalidDefinition, match=why):
        engine.submit(factory)
    assert engine.jobs() == []


def test_given_a_factory_that_raises_where_the_job_runs_then_the_job_fails_with_it(
    engine: Engine,
) -> None:
    def later(runtime: ServerRuntime[Who]) -> Any:
        if runtime.execution_runtime:
            raise ConnectionError("no server")
        return plain()

    with pytest.raises(JobFailed, match="ConnectionError: no server"):
        engine.submit(later).result(DEADLINE)


OUTER = "name: outer\nnodes:\n  a: {workflow: held, writes: a}\noutput: ${a.said}\n"


def test_given_a_factory_inside_a_workflow_of_YAML_then_it_is_held_open_there(
    open_engine: Callable[..., Engine], tmp_path: Any
) -> None:
    (tmp_path / "outer.yaml").write_text(OUTER, encoding="utf-8")
    held = Held()

    @asynccontextmanager
    async def factory(config: RunnableConfig) -> AsyncIterator[Any]:
        held.begin()
        yield saying(lambda: f"{held.use()} {config['configurable'].get('word')}")
        held.end()

    with open_engine(settings={"workflows": ["outer.yaml"]}) as engine:
        engine.add("held", factory)
        job = engine.submit("outer", config={"configurable": {"word": "hello"}})
        assert job.result(DEADLINE) == "open: True hello"
    assert held.open == 0
