"""Graphs inside nodes that keep their state over several runs, where a run goes on after an error."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import START, StateGraph

from ucop.engine import Engine
from ucop.engine.errors import JobFailed


class Talk(TypedDict, total=False):
    said: Annotated[list[str], operator.add]


class Outer(TypedDict, total=False):
    word: str
    heard: list[str]


def graph(node: Callable[..., Any]) -> Any:
    builder = StateGraph(Outer)
    builder.add_node("talks", node)
    builder.add_edge(START, "talks")
    return builder.compile()


def memory() -> Any:
    builder = StateGraph(Talk)
    builder.add_node("echo", lambda state: {"said": [f"echo of {state['said'][-1]}"]})
    builder.add_edge(START, "echo")
    return builder.compile(checkpointer=True)


def talks(kind: str, before: set[str], after: set[str]) -> Any:
    """A node that asks a graph with a memory, and fails once for a word before, or after that."""
    inside = memory()

    def broken(words: set[str], word: str) -> None:
        if word in words:
            words.discard(word)
            raise ConnectionError("try again")

    def sync(state: Outer) -> Outer:
        broken(before, state["word"])
        said = inside.invoke({"said": [state["word"]]})["said"]
        broken(after, state["word"])
        return {"heard": said}

    async def not_sync(state: Outer) -> Outer:
        broken(before, state["word"])
        said = (await inside.ainvoke({"said": [state["word"]]}))["said"]
        broken(after, state["word"])
        return {"heard": said}

    return graph(sync if kind == "sync" else not_sync)


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_graph_that_was_done_in_an_earlier_run_takes_its_input_after_an_error(
    engine: Engine, kind: str, when: str
) -> None:
    fails = {"two"}
    given = (fails, set()) if when == "before" else (set(), fails)
    name = engine.add("talks", talks(kind, *given))
    first = engine.submit(name, {"word": "one"}, thread_id="t")
    assert first.result()["heard"] == ["one", "echo of one"]
    second = engine.submit(name, {"word": "two"}, thread_id="t")
    with pytest.raises(JobFailed):
        second.result()
    second.retry()
    said = ["one", "echo of one", "two", "echo of two"]
    assert second.result()["heard"] == said  # neither skipped nor asked twice
    third = engine.submit(name, {"word": "three"}, thread_id="t")
    assert third.result()["heard"] == [*said, "three", "echo of three"]


def test_a_graph_that_was_done_in_an_earlier_superstep_takes_its_next_input(
    engine: Engine,
) -> None:
    inside, fails, visits = memory(), [True], list[str]()

    async def talks(state: Outer) -> Outer:
        visit = "two" if state.get("heard") else "one"
        visits.append(visit)
        if visit == "two" and fails:
            fails.pop()
            raise ConnectionError("try again")
        return {"heard": (await inside.ainvoke({"said": [visit]}))["said"]}

    builder = StateGraph(Outer)
    builder.add_node("talks", talks)
    builder.add_edge(START, "talks")
    more = lambda state: "talks" if len(state["heard"]) < 4 else "__end__"  # noqa: E731
    builder.add_conditional_edges("talks", more, ["talks", "__end__"])
    job = engine.submit(engine.add("twice", builder.compile()), {"word": "x"})
    with pytest.raises(JobFailed):
        job.result()
    job.retry()
    assert job.result()["heard"] == ["one", "echo of one", "two", "echo of two"]
    assert visits == ["one", "two", "two"]
