"""Errors of many kinds, retries, timeouts and error handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.twins.nodes import Log, adoes, chain, does, raises
from tests.twins.twin import twin
from tests.twins.witness import asaw, saw


class OwnError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


def _twin_of(name: str, error: Callable[[], BaseException]) -> None:
    def build() -> Any:
        return chain(does("a"), raises("b", error), does("c"))

    build.__name__ = name
    build.__module__ = __name__
    twin()(build)


_twin_of("a_value_error", lambda: ValueError("bad value"))
_twin_of("a_key_error", lambda: KeyError("missing"))
_twin_of("an_error_without_a_text", lambda: RuntimeError())
_twin_of("an_error_with_two_arguments", lambda: OwnError(7, "seven"))
_twin_of("an_os_error", lambda: FileNotFoundError(2, "no such file", "x.txt"))
_twin_of("a_timeout_error", lambda: TimeoutError("late"))
_twin_of("an_assertion", lambda: AssertionError("never"))
_twin_of("a_stop_iteration", lambda: LookupError("the end"))
_twin_of("an_exception_group", lambda: ExceptionGroup("two", [ValueError("1"), KeyError("2")]))
_twin_of("a_recursion_error", lambda: RecursionError("too deep"))
_twin_of("a_memory_error", lambda: MemoryError("too large"))
_twin_of("a_not_implemented_error", lambda: NotImplementedError("later"))


@twin()
def an_error_in_a_synchronous_node() -> Any:
    def bad(state: Any) -> dict[str, Any]:
        saw("bad")
        raise ZeroDivisionError("sync")

    return chain(does("a"), bad)


@twin()
def an_error_with_a_cause() -> Any:
    def bad(state: Any) -> dict[str, Any]:
        try:
            raise KeyError("cause")
        except KeyError as error:
            raise RuntimeError("effect") from error

    return chain(bad)


@twin()
def an_error_in_the_first_node() -> Any:
    return chain(raises("a", lambda: ValueError("at once")))


PARTIAL = "What a failed node had written"


@twin(differs={"history": PARTIAL})
def an_error_in_a_condition() -> Any:
    def choose(state: Any) -> str:
        raise LookupError("no choice")

    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_node("b", does("b"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", choose, ["b"])
    return graph


@twin(retries=1, differs=dict.fromkeys(["result", "runs", "history"], PARTIAL))
def an_error_in_a_condition_that_a_retry_cures() -> Any:
    def choose(state: Any) -> str:
        if saw("choose") == 1:
            raise LookupError("no choice, once")
        return "b"

    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_node("b", does("b"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", choose, ["b"])
    return graph


@twin()
def a_condition_that_names_no_node() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: "nowhere")
    return graph


def at_most_one(old: list[str], new: list[str]) -> list[str]:
    if len(old or []) > 0:
        raise ValueError("cannot merge")
    return [*(old or []), *new]


class Unmerged(TypedDict, total=False):
    log: Annotated[list[str], at_most_one]


@twin()
def an_error_in_a_merge_function() -> Any:
    return chain(does("a"), does("b"), does("c"), schema=Unmerged)


@twin(once=True)
def two_nodes_that_fail_at_once() -> Any:
    graph = StateGraph(Log)
    for name in "ab":
        graph.add_node(name, raises(name, lambda: ValueError("both")))
        graph.add_edge(START, name)
    return graph


@twin(retries=1, once=True)
def a_failure_beside_a_node_that_finishes() -> Any:
    async def late(state: Any) -> dict[str, Any]:
        if await asaw("late") == 1:
            await asyncio.sleep(0.2)
            raise ValueError("late")
        return {"log": ["late"]}

    graph = StateGraph(Log)
    graph.add_node("late", late)
    graph.add_node("good", adoes("good"))
    for name in ["late", "good"]:
        graph.add_edge(START, name)
    return graph


@twin(retries=2)
def an_error_that_two_retries_cure() -> Any:
    return chain(does("a"), raises("b", lambda: OSError("again"), times=2), does("c"))


@twin()
def a_graph_without_end_is_stopped_by_the_state() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", lambda state: {"total": 1})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "a" if s["total"] < 30 else "__end__")
    return graph


@twin(config={"recursion_limit": 4}, once=True)  # each attempt counts anew
def a_recursion_limit_that_is_reached() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "a")
    return graph
