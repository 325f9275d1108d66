"""Graphs that a node runs itself, in whatever thread: their checkpoints are fenced and durable like
all others, and what they have saved is not run again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import add
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from ucop.engine import Engine, JobFailed

DEADLINE = 60


class Notes(TypedDict):
    log: Annotated[list[str], add]


def inner(ran: list[str], **options: Any) -> Any:
    """A subgraph of two nodes, of which the second may fail."""

    def first(state: Notes) -> dict[str, Any]:
        ran.append("first")
        return {"log": ["first"]}

    def second(state: Notes) -> dict[str, Any]:
        ran.append("second")
        if "broken" in ran:
            raise ValueError("no second")
        return {"log": ["second"]}

    graph = StateGraph(Notes)
    graph.add_node("first", first)
    graph.add_node("second", second)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph.compile(**options)


def outer(node: Callable[..., Any]) -> StateGraph[Any]:
    graph = StateGraph(Notes)
    graph.add_node("call", node)
    graph.add_edge(START, "call")
    graph.add_edge("call", END)
    return graph


def invoked(sub: Any) -> Callable[..., Any]:
    def call(state: Notes) -> Any:
        return sub.invoke({"log": ["in"]})

    return call


def streamed(sub: Any) -> Callable[..., Any]:
    def call(state: Notes) -> Any:
        return list(sub.stream({"log": ["in"]}, stream_mode="values"))[-1]

    return call


def batched(sub: Any) -> Callable[..., Any]:
    def call(state: Notes) -> Any:
        return {"log": sub.batch([{"log": ["in"]}])[0]["log"]}

    return call


def with_durability(how: Any) -> Callable[[Any], Callable[..., Any]]:
    def made(sub: Any) -> Callable[..., Any]:
        def call(state: Notes) -> Any:
            return sub.invoke({"log": ["in"]}, durability=how)

        return call

    return made


def in_a_loop_of_its_own(sub: Any) -> Callable[..., Any]:
    def call(state: Notes) -> Any:
        return asyncio.run(sub.ainvoke({"log": ["in"]}))

    return call


def on_the_engines_loop(sub: Any) -> Callable[..., Any]:
    async def call(state: Notes) -> Any:
        return sub.invoke({"log": ["in"]})

    return call


def streamed_on_the_engines_loop(sub: Any) -> Callable[..., Any]:
    async def call(state: Notes) -> Any:
        return list(sub.stream({"log": ["in"]}, stream_mode="values", subgraphs=False))[-1]

    return call


def in_a_pool_that_the_loop_waits_for(sub: Any) -> Callable[..., Any]:
    async def call(state: Notes) -> Any:
        from contextvars import copy_context

        with ThreadPoolExecutor() as pool:
            return pool.submit(copy_context().run, sub.invoke, {"log": ["in"]}).result(DEADLINE)

    return call


def awaited(sub: Any) -> Callable[..., Any]:
    async def call(state: Notes) -> Any:
        return await sub.ainvoke({"log": ["in"]})

    return call


WAYS = [
    invoked,
    streamed,
    batched,
    with_durability("sync"),
    with_durability("async"),
    with_durability("exit"),
    in_a_loop_of_its_own,
    on_the_engines_loop,
    streamed_on_the_engines_loop,
    in_a_pool_that_the_loop_waits_for,
    awaited,
]


def named(value: Any) -> str:
    return getattr(value, "__name__", str(value))


async def bare(graph: StateGraph[Any]) -> Any:
    """What LangGraph alone gives."""
    compiled = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "bare"}}
    return await compiled.ainvoke({"log": []}, config)


@pytest.mark.filterwarnings("ignore:`durability` has no effect")
@pytest.mark.parametrize("checkpointer", [None, True, False])
@pytest.mark.parametrize("way", WAYS, ids=named)
def test_a_node_runs_a_graph_as_in_langgraph(
    open_engine: Callable[..., Engine], way: Callable[[Any], Any], checkpointer: bool | None
) -> None:
    def graph() -> StateGraph[Any]:
        return outer(way(inner([], checkpointer=checkpointer)))

    engine = open_engine()
    job = engine.submit(engine.add("outer", graph()), {"log": []})
    assert job.result(DEADLINE) == asyncio.run(bare(graph()))


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_a_node_inside_that_was_saved_does_not_run_again(
    open_engine: Callable[..., Engine], way: Callable[[Any], Any]
) -> None:
    ran = ["broken"]
    engine = open_engine()
    job = engine.submit(engine.add("outer", outer(way(inner(ran)))), {"log": []})
    with pytest.raises(JobFailed, match="no second"):
        job.result(DEADLINE)
    ran.remove("broken")
    job.resume()

    assert job.result(DEADLINE)["log"] == ["in", "first", "second"]
    exits = getattr(way, "__qualname__", "").startswith("with_durability") and _exits(way)
    assert ran.count("first") == (1 if not exits else ran.count("first"))


def _exits(way: Callable[[Any], Any]) -> bool:
    closure = way.__closure__ or ()
    return any(cell.cell_contents == "exit" for cell in closure)


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_each_node_inside_is_a_step_of_the_job(
    open_engine: Callable[..., Engine], way: Callable[[Any], Any]
) -> None:
    engine = open_engine()
    job = engine.submit(engine.add("outer", outer(way(inner([])))), {"log": []})
    job.result(DEADLINE)
    steps = [(step.node, step.status) for step in job.steps()]
    assert sorted(steps) == [
        ("call", "completed"),
        ("call/first", "completed"),
        ("call/second", "completed"),
    ]


def test_a_node_reads_and_edits_the_state_of_its_own_subgraph(
    open_engine: Callable[..., Engine],
) -> None:
    sub = inner([], checkpointer=True)
    seen: list[Any] = []

    def call(state: Notes, config: RunnableConfig) -> Any:
        sub.invoke({"log": ["in"]}, config)
        seen.append(sub.get_state(config).values["log"])
        sub.update_state(config, {"log": ["edit"]}, as_node="second")
        seen.append(sub.get_state(config).values["log"])
        seen.append(len(list(sub.get_state_history(config))))
        return {"log": ["done"]}

    engine = open_engine()
    job = engine.submit(engine.add("outer", outer(call)), {"log": []})
    assert job.result(DEADLINE)["log"] == ["done"]
    assert seen[:2] == [["in", "first", "second"], ["in", "first", "second", "edit"]]


def test_a_sync_entrypoint_is_called_by_a_node(open_engine: Callable[..., Engine]) -> None:
    @task
    def shout(text: str) -> str:
        return text.upper()

    @entrypoint()
    def flow(text: str) -> str:
        return shout(text).result() + shout("!").result()

    def call(state: Notes) -> Any:
        return {"log": [flow.invoke("a")]}

    engine = open_engine()
    job = engine.submit(engine.add("outer", outer(call)), {"log": []})
    assert job.result(DEADLINE)["log"] == ["A!"]


def test_graphs_that_run_side_by_side_in_threads_save_all_that_they_do(
    open_engine: Callable[..., Engine],
) -> None:
    """Parallel nodes, each with a graph inside a graph, in threads and on the loop."""
    subs = [inner([]) for _ in range(4)]

    def deep(sub: Any) -> Any:
        return outer(invoked(sub)).compile()

    graph = StateGraph(Notes)
    graph.add_node("a", invoked(deep(subs[0])))
    graph.add_node("b", invoked(deep(subs[1])))
    graph.add_node("c", in_a_loop_of_its_own(deep(subs[2])))
    graph.add_node("d", awaited(deep(subs[3])))
    for name in "abcd":
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    engine = open_engine()
    expected_log = asyncio.run(bare(graph))
    workflow = engine.add("wide", graph)
    jobs = [engine.submit(workflow, {"log": []}) for _ in range(5)]
    for job in jobs:
        assert job.result(DEADLINE) == expected_log
        steps = [step.node for step in job.steps() if step.status == "completed"]
        parts = ("", "/call", "/call/first", "/call/second")
        assert sorted(steps) == sorted(f"{n}{part}" for n in "abcd" for part in parts)
        numbers = [event.seq for event in job.events(follow=False)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_an_attempt_that_lost_its_job_saves_nothing_from_its_threads(
    open_engine: Callable[..., Engine],
) -> None:
    began, go = threading.Event(), threading.Event()

    def first(state: Notes) -> dict[str, Any]:
        began.set()
        go.wait(DEADLINE)
        return {"log": ["first"]}

    graph = StateGraph(Notes)
    graph.add_node("first", first)
    graph.add_node("second", lambda state: {"log": ["second"]})
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    sub = graph.compile()
    raised: list[BaseException] = []

    def call(state: Notes) -> Any:
        try:
            return sub.invoke({"log": ["in"]})
        except BaseException as error:
            raised.append(error)
            raise

    engine = open_engine()
    job = engine.submit(engine.add("outer", outer(call)), {"log": []})
    assert began.wait(DEADLINE)
    job.cancel()
    go.set()
    for _ in range(DEADLINE * 100):
        if raised:
            break
        threading.Event().wait(0.01)
    assert type(raised[0]).__name__ == "Superseded"
    assert job.status == "cancelled"
