"""Errors of many kinds, retries, timeouts and error handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from langgraph.errors import NodeError
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, TimeoutPolicy
from typing_extensions import TypedDict

from tests.twins.nodes import Log, adoes, asks, chain, does, raises
from tests.twins.twin import twin
from tests.twins.witness import asaw, saw

QUICK = RetryPolicy(initial_interval=0.001, max_interval=0.002, jitter=False, max_attempts=3)
ALWAYS = QUICK._replace(retry_on=Exception)


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


@twin()
def two_nodes_that_fail_at_once() -> Any:
    graph = StateGraph(Log)
    for name in "ab":
        graph.add_node(name, raises(name, lambda: ValueError("both")))
        graph.add_edge(START, name)
    return graph


@twin(retries=1)
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
def a_retry_policy_that_helps() -> Any:
    graph = chain(does("a"))
    graph.add_node("r", raises("r", lambda: ConnectionError("reset"), 2), retry_policy=QUICK)
    graph.add_edge("a", "r")
    return graph


@twin()
def a_retry_policy_that_gives_up() -> Any:
    graph = chain(does("a"))
    graph.add_node("r", raises("r", lambda: ConnectionError("reset")), retry_policy=QUICK)
    graph.add_edge("a", "r")
    return graph


@twin()
def a_retry_policy_for_another_error() -> Any:
    graph = chain(does("a"))
    graph.add_node("r", raises("r", lambda: ValueError("no")), retry_policy=QUICK)
    graph.add_edge("a", "r")
    return graph


@twin()
def a_retry_policy_for_every_error() -> Any:
    graph = chain(does("a"))
    graph.add_node("r", raises("r", lambda: ValueError("no"), 1), retry_policy=[ALWAYS])
    graph.add_edge("a", "r")
    return graph


@twin()
def retries_in_a_fan_out() -> Any:
    async def work(state: Any) -> dict[str, Any]:
        if await asaw(f"work {state['item']}") <= state["item"]:
            raise ConnectionError("reset")
        return {"total": state["item"]}

    graph = StateGraph(Log)
    graph.add_node("work", work, retry_policy=QUICK)
    graph.add_conditional_edges(START, lambda s: [Send("work", {"item": n}) for n in range(3)])
    return graph


@twin()
def a_retry_of_a_graph_inside() -> Any:
    inside = chain(does("in 1"), raises("bad", lambda: ConnectionError("once"), 1)).compile()
    graph = StateGraph(Log)
    graph.add_node("inside", inside, retry_policy=QUICK)
    graph.add_edge(START, "inside")
    return graph


@twin()
def an_answer_and_then_a_retried_error() -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        from langgraph.types import interrupt

        first = interrupt("one?")
        if await asaw("between") == 1:
            raise ConnectionError("once")
        return {"log": [first, interrupt("two?")]}

    graph = StateGraph(Log)
    graph.add_node("ask", ask, retry_policy=QUICK)
    graph.add_edge(START, "ask")
    return graph


def _handles(state: Any, error: NodeError) -> Command[Any]:
    saw("handler")
    return Command(update={"log": [f"{error.node}: {error.error!r}"]}, goto="rescue")


@twin()
def an_error_handler() -> Any:
    graph = chain(does("a"))
    bad = raises("bad", lambda: ValueError("handled"))
    graph.add_node("bad", bad, error_handler=_handles, destinations=("rescue",))
    graph.add_node("rescue", does("rescue"))
    graph.add_edge("a", "bad")
    return graph


@twin()
def an_error_handler_after_retries() -> Any:
    graph = chain(does("a"))
    bad = raises("bad", lambda: ConnectionError("handled"))
    graph.add_node("bad", bad, error_handler=_handles, retry_policy=QUICK)
    graph.add_node("rescue", does("rescue"))
    graph.add_edge("a", "bad")
    return graph


@twin()
def an_error_handler_that_fails() -> Any:
    def handler(state: Any, error: NodeError) -> Any:
        saw("handler")
        raise RuntimeError("the handler fails too")

    graph = chain(does("a"))
    graph.add_node("bad", raises("bad", lambda: ValueError("first")), error_handler=handler)
    graph.add_edge("a", "bad")
    return graph


@twin()
def an_error_handler_for_all_nodes() -> Any:
    graph = StateGraph(Log)
    graph.set_node_defaults(error_handler=lambda state: {"log": ["handled"]})
    graph.add_node("a", does("a"))
    graph.add_node("bad", raises("bad", lambda: ValueError("x")))
    graph.add_edge(START, "a")
    graph.add_edge("a", "bad")
    return graph


@twin()
def an_error_handler_beside_a_question() -> Any:
    graph = StateGraph(Log)
    graph.add_node("ask", asks("ask"))
    bad = raises("bad", lambda: ValueError("beside"))
    graph.add_node("bad", bad, error_handler=lambda state: {"log": ["handled"]})
    graph.add_edge(START, "ask")
    graph.add_edge(START, "bad")
    return graph


@twin()
def a_node_that_takes_too_long() -> Any:
    async def slow(state: Any) -> dict[str, Any]:
        await asaw("slow")
        await asyncio.sleep(30)
        return {"log": ["slow"]}

    graph = chain(does("a"))
    graph.add_node("slow", slow, timeout=0.15)
    graph.add_edge("a", "slow")
    return graph


@twin()
def a_node_that_is_idle_for_too_long() -> Any:
    async def slow(state: Any) -> dict[str, Any]:
        await asaw("slow")
        await asyncio.sleep(30)
        return {}

    graph = chain(does("a"))
    graph.add_node("slow", slow, timeout=TimeoutPolicy(idle_timeout=0.15))
    graph.add_edge("a", "slow")
    return graph


@twin()
def a_timeout_and_a_retry() -> Any:
    async def slow(state: Any) -> dict[str, Any]:
        if await asaw("slow") == 1:
            await asyncio.sleep(30)
        return {"log": ["in time"]}

    graph = StateGraph(Log)
    graph.add_node("slow", slow, timeout=0.3, retry_policy=ALWAYS)
    graph.add_edge(START, "slow")
    return graph


@twin()
def a_graph_without_end_is_stopped_by_the_state() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", lambda state: {"total": 1})
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "a" if s["total"] < 30 else "__end__")
    return graph


@twin(config={"recursion_limit": 4})
def a_recursion_limit_that_is_reached() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "a")
    return graph
