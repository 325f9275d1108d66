"""Questions that are asked at the same time keep LangGraph's order, as `get_state` lists them."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from ucop.engine import Engine, JobStatus


class State(TypedDict, total=False):
    item: int


def fan_out() -> StateGraph[Any]:
    async def work(state: State) -> None:
        await asyncio.sleep((9 - state["item"]) / 100)  # the last one asks first
        interrupt(f"item {state['item']}?")

    graph = StateGraph(State)
    graph.add_node("work", work)
    graph.add_conditional_edges(START, lambda _: [Send("work", {"item": n}) for n in range(10)])
    return graph


def test_questions_of_a_fan_out_are_listed_in_the_order_of_its_items(engine: Engine) -> None:
    engine.add("fan-out", fan_out())
    job = engine.submit("fan-out", {})
    assert job.wait(60) is JobStatus.WAITING
    asked = [question.question for question in job.questions()]
    assert asked == [f"item {number}?" for number in range(10)]


def asking(depth: int) -> StateGraph[Any]:
    """Nodes that ask at the same time, and one among them that is a graph of such nodes."""
    graph = StateGraph(State)
    for name in "abcdef":
        graph.add_node(name, asking(depth - 1).compile() if name == "c" and depth else _ask(name))
        graph.add_edge(START, name)
    return graph


def _ask(name: str) -> Any:
    async def node(state: State) -> None:
        interrupt(f"{name}?")

    return node


def test_questions_of_graphs_inside_are_listed_in_the_order_of_their_nodes(
    engine: Engine,
) -> None:
    """LangGraph itself passes them on in the order of a set."""
    engine.add("inside", asking(2))
    job = engine.submit("inside", {})
    assert job.wait(60) is JobStatus.WAITING
    asked = [question.question for question in job.questions()]
    inner = ["a?", "b?", *(f"{name}?" for name in "abcdef"), "d?", "e?", "f?"]
    assert asked == ["a?", "b?", *inner, "d?", "e?", "f?"]
