"""The graphs that are measured: chains of nodes that do nothing, or wait."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict


class Count(TypedDict):
    n: int


def chain(nodes: int, *, wait: float = 0.0) -> StateGraph[Any]:
    """`nodes` nodes in a row; each waits `wait` seconds and adds one."""
    graph = StateGraph(Count)

    async def node(state: Count) -> dict[str, int]:
        if wait:
            await asyncio.sleep(wait)
        return {"n": state["n"] + 1}

    names = [f"n{i}" for i in range(nodes)]
    for name in names:
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph
