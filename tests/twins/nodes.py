"""Nodes that graphs of the corpus are made of, and the state that most of them share."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.support.graphs import Node
from tests.twins.witness import asaw, saw


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {**(old or {}), **(new or {})}


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    count: int
    text: str
    item: Any
    items: list[Any]
    said: Annotated[dict[str, Any], merged]
    total: Annotated[int, operator.add]


def does(label: str, **writes: Any) -> Node:
    """A node that runs, and writes."""

    def node(state: Any) -> dict[str, Any]:
        saw(label)
        return {"log": [label], **writes}

    return node


def adoes(label: str, **writes: Any) -> Node:
    """`does`, asynchronous; other tasks get a turn before it ends."""

    async def node(state: Any) -> dict[str, Any]:
        await asaw(label)
        await asyncio.sleep(0)
        return {"log": [label], **writes}

    return node


def counts(label: str) -> Node:
    """A node that counts its visits in the state."""

    def node(state: Any) -> dict[str, Any]:
        saw(label)
        return {"log": [label], "count": state.get("count", 0) + 1}

    return node


def asks(label: str, question: Any = None) -> Node:
    """A node that asks a person, and logs the answer."""

    async def node(state: Any) -> dict[str, Any]:
        await asaw(label)
        answer = interrupt(f"{label}?" if question is None else question)
        await asaw(f"{label} answered")
        return {"log": [f"{label}: {answer!r}"]}

    return node


def raises(label: str, error: Callable[[], BaseException], times: int = 99) -> Node:
    """A node that raises the first `times` that it runs."""

    async def node(state: Any) -> dict[str, Any]:
        if await asaw(label) <= times:
            raise error()
        return {"log": [label]}

    return node


def chain(*nodes: Any, schema: Any = Log, **terms: Any) -> StateGraph[Any]:
    """Nodes one after the other, named a, b, c, …; a pair gives a node its name."""
    graph = StateGraph(schema, **terms)
    before = START
    for name, node in named(nodes):
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


def named(nodes: tuple[Any, ...]) -> list[tuple[str, Any]]:
    return [
        node if isinstance(node, tuple) else ("abcdefghij"[number], node)
        for number, node in enumerate(nodes)
    ]
