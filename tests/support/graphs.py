"""Small graphs of Python nodes for tests of the engine."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypeAlias

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

Node: TypeAlias = Any
"""A function that becomes a node. LangGraph takes it by protocols that ask for a parameter named
`state`, and a Callable's parameters have no names: so no Callable fits, and the kinds of nodes
(with config, runtime, store, writer) have no type in common that LangGraph would take."""


class Log(TypedDict):
    log: Annotated[list[str], operator.add]


def chain(*names: str, seconds: float = 0.0) -> StateGraph[Any]:
    """Nodes in a row; each waits, and adds its name to the log."""
    graph = StateGraph(Log)
    for name in names:
        graph.add_node(name, _adds(name, seconds))
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def failing(times: int, ran: list[str]) -> StateGraph[Any]:
    """`before -> breaks -> after`, where `breaks` raises ValueError the first `times` times.
    `ran` gets the name of each node that begins."""
    graph = StateGraph(Log)
    left = [times]

    async def breaks(state: Log) -> dict[str, list[str]]:
        ran.append("breaks")
        if left[0] > 0:
            left[0] -= 1
            raise ValueError("the oven is cold")
        return {"log": ["breaks"]}

    graph.add_node("before", _adds("before", 0, ran))
    graph.add_node("breaks", breaks)
    graph.add_node("after", _adds("after", 0, ran))
    graph.add_edge(START, "before")
    graph.add_edge("before", "breaks")
    graph.add_edge("breaks", "after")
    graph.add_edge("after", END)
    return graph


def _adds(name: str, seconds: float, ran: list[str] | None = None) -> Node:
    async def node(state: Log) -> dict[str, list[str]]:
        if ran is not None:
            ran.append(name)
        if seconds:
            await asyncio.sleep(seconds)
        return {"log": [name]}

    return node
