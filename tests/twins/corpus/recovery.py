"""Retry policies, error handlers and timeouts."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.errors import NodeError
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, TimeoutPolicy, interrupt

from tests.twins.nodes import Log, asks, chain, does, raises
from tests.twins.twin import twin
from tests.twins.witness import asaw, saw

QUICK = RetryPolicy(initial_interval=0.001, max_interval=0.002, jitter=False, max_attempts=3)
ALWAYS = QUICK._replace(retry_on=Exception)


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


# A handler that begins behind a break is given the error's text.
@twin(once=True)
def an_error_handler() -> Any:
    graph = chain(does("a"))
    bad = raises("bad", lambda: ValueError("handled"))
    graph.add_node("bad", bad, error_handler=_handles, destinations=("rescue",))
    graph.add_node("rescue", does("rescue"))
    graph.add_edge("a", "bad")
    return graph


@twin(once=True)
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
