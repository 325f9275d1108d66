"""Graphs that ask people, or stop at breakpoints, while workers die."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.chaos.witness import Witness


class Told(TypedDict, total=False):
    told: Annotated[list[str], operator.add]


async def _asks(state: Told) -> Told:
    first = interrupt("first?")
    Witness().tell("took", label=f"first {first}")
    return {"told": [f"first {first}", f"second {interrupt('second?')}"]}


async def _other(state: Told) -> Told:
    return {"told": [f"third {interrupt('third?')}"]}


def inquiry() -> StateGraph[Any]:
    """Two questions of one node, two workflows deep, and one beside them."""
    deep = StateGraph(Told).add_node("asks", _asks).add_edge(START, "asks").compile()
    inner = StateGraph(Told).add_node("deep", deep).add_edge(START, "deep").compile()
    graph = StateGraph(Told).add_node("inner", inner).add_node("other", _other)
    return graph.add_edge(START, "inner").add_edge(START, "other")


def _visit(name: str) -> Any:
    async def node(state: Told) -> Told:
        Witness().tell("begin", label=name)
        return {"told": [name]}

    return node


def _row(*names: str) -> StateGraph[Any]:
    graph = StateGraph(Told)
    for before, name in zip([START, *names], names, strict=False):
        graph.add_node(name, _visit(name)).add_edge(before, name)
    return graph


def halts() -> Any:
    """Stops before `b`, and inside the workflow after it, before `y` and after `y`."""
    inner = _row("x", "y", "z").compile(interrupt_before=["y"], interrupt_after=["y"])
    graph = _row("a", "b").add_node("inner", inner).add_edge("b", "inner")
    return graph.compile(interrupt_before=["b"])
