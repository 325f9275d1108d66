"""What a graph's code gives and raises that nobody expects, and graphs that give and raise it."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Annotated, Any

from langgraph.errors import (
    EmptyInputError,
    GraphDrained,
    GraphInterrupt,
    GraphRecursionError,
    ParentCommand,
)
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send
from typing_extensions import TypedDict


class Unprintable(Exception):
    """Whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Panic(BaseException):
    """As compiled extensions raise it."""


class Exits:
    """A value whose own code exits."""

    def model_dump(self) -> dict[str, Any]:
        sys.exit(3)

    def __repr__(self) -> str:
        sys.exit(3)


def _argparse() -> None:
    argparse.ArgumentParser(exit_on_error=False).parse_args(["--help"])


def _raises(error: Callable[[], BaseException]) -> Callable[[], None]:
    def raise_it() -> None:
        raise error()

    return raise_it


def _numpy() -> Any:
    import numpy

    return numpy.int64(1)


VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "object": (object, "object"),
    "lambda": (lambda: lambda: None, "function"),
    "large": (lambda: 2**64, "int"),
    "half": (lambda: "a\ud800", "str"),
    "half key": (lambda: {"\ud800": 1}, "str"),
    "deep": (lambda: {"a": [1, {"b": object()}]}, "object"),
    "exits": (Exits, "tests.support.hostile.Exits"),
    "generator": (lambda: (i for i in range(3)), "generator"),
}
"""What no serialiser takes, and the type that an error names."""

ERRORS: dict[str, tuple[Callable[[], None], str]] = {
    "exit": (sys.exit, "SystemExit"),
    "exit code": (_raises(lambda: SystemExit(2)), "SystemExit"),
    "argparse": (_argparse, "SystemExit"),
    "ctrl-c": (_raises(KeyboardInterrupt), "KeyboardInterrupt"),
    "generator exit": (_raises(GeneratorExit), "GeneratorExit"),
    "panic": (_raises(lambda: Panic("compiled")), "Panic"),
    "unprintable": (_raises(Unprintable), "Unprintable"),
    "half": (_raises(lambda: ValueError("a\ud800\0")), "ValueError"),
    "drained": (_raises(lambda: GraphDrained("mine")), "GraphDrained"),
    "interrupt": (_raises(lambda: GraphInterrupt(())), "GraphInterrupt"),
    "parent": (_raises(lambda: ParentCommand(Command(graph="other"))), "ParentCommand"),
    "recursion": (_raises(lambda: GraphRecursionError("mine")), "GraphRecursionError"),
    "empty": (_raises(lambda: EmptyInputError("mine")), "EmptyInputError"),
    "stop": (_raises(lambda: StopIteration("mine")), "RuntimeError"),
    "group": (
        _raises(lambda: ExceptionGroup("several", [ValueError("one"), KeyError("two")])),
        "ExceptionGroup",
    ),
}
"""What ends loops and processes, or is LangGraph's own word; and the type that an error names."""

CANCELLED: tuple[Callable[[], None], str] = (_raises(asyncio.CancelledError), "CancelledError")


class State(TypedDict, total=False):
    value: Any
    ran: Annotated[list[str], lambda old, new: [*old, *new]]


Act = Callable[[], Any]
"""What a node does: returns a value, or raises."""


def sync_node(act: Act) -> StateGraph[Any]:
    """`first -> acts`, where the node is a plain function."""
    return _row(lambda state: {"value": act()})


def async_node(act: Act) -> StateGraph[Any]:
    async def acts(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"value": act()}

    return _row(acts)


def subgraph(act: Act) -> StateGraph[Any]:
    """The node is a graph, whose node acts."""
    inner = StateGraph(State)

    async def acts(state: State) -> dict[str, Any]:
        return {"value": act()}

    inner.add_node("inner", acts)
    inner.add_edge(START, "inner")
    return _row(inner.compile())


def called_subgraph(act: Act) -> StateGraph[Any]:
    """The node calls a graph."""
    graph = subgraph(act).compile()

    async def acts(state: State) -> dict[str, Any]:
        await graph.ainvoke({"ran": []})
        return {}

    return _row(acts)


def condition(act: Act) -> StateGraph[Any]:
    """What leads on from the node acts."""
    graph = _row(lambda state: {})

    def leads(state: State) -> str:
        act()
        return END

    graph.add_conditional_edges("acts", leads)
    return graph


def reducer(act: Act) -> StateGraph[Any]:
    """What merges the node's value acts."""

    def merge(old: Any, new: Any) -> Any:
        return act() if new == "now" else new

    # In a class, the annotation would be a text that nobody can read elsewhere.
    state = TypedDict("state", {"merged": Annotated[list[Any], merge]})  # noqa: UP013
    return _row(lambda state: {"merged": "now"}, state)


def own_task(act: Act) -> StateGraph[Any]:
    """The node awaits a task of its own, which acts."""

    async def work() -> Any:
        return act()

    async def acts(state: State) -> dict[str, Any]:
        return {"value": await asyncio.create_task(work())}

    return _row(acts)


def sends(act: Act) -> StateGraph[Any]:
    """The node acts for what it sends to another."""
    graph = _row(lambda state: {})
    graph.add_node("target", lambda state: {})
    graph.add_conditional_edges("acts", lambda state: [Send("target", {"value": act()})])
    return graph


def _row(acts: Any, state: Any = State) -> StateGraph[Any]:
    graph = StateGraph(state)
    graph.add_node("first", lambda state: {})
    graph.add_node("acts", acts)
    graph.add_edge(START, "first")
    graph.add_edge("first", "acts")
    return graph
