"""Send: fan-outs, map and reduce, nested and empty ones."""

from __future__ import annotations

import asyncio
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send

from tests.twins.nodes import Log, adoes, does
from tests.twins.twin import twin
from tests.twins.witness import asaw, saw


async def work(state: Any) -> dict[str, Any]:
    """An item of a fan-out."""
    await asaw(f"work {state['item']}")
    await asyncio.sleep(0)
    return {"log": [f"work {state['item']}"], "total": state["item"]}


def fan(items: range, *, worker: Any = work, then: Any = None) -> StateGraph[Any]:
    graph = StateGraph(Log)
    graph.add_node("plan", does("plan"))
    graph.add_node("work", worker)
    graph.add_node("join", then or does("join"))
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda state: [Send("work", {"item": n}) for n in items], ["work"]
    )
    graph.add_edge("work", "join")
    return graph


@twin()
def map_and_reduce() -> Any:
    return fan(range(1, 6))


@twin()
def a_fan_out_of_forty() -> Any:
    return fan(range(40))


@twin()
def a_fan_out_of_synchronous_nodes() -> Any:
    def slow(state: Any) -> dict[str, Any]:
        saw(f"work {state['item']}")
        return {"total": state["item"]}

    return fan(range(7), worker=slow)


@twin()
def an_empty_fan_out() -> Any:
    return fan(range(0))


@twin()
def a_fan_out_of_one() -> Any:
    return fan(range(1))


@twin()
def sends_from_the_start() -> Any:
    graph = StateGraph(Log)
    graph.add_node("work", work)
    graph.add_conditional_edges(
        START, lambda state: [Send("work", {"item": n}) for n in range(3)], ["work"]
    )
    return graph


@twin()
def sends_beside_a_plain_edge() -> Any:
    graph = fan(range(3))
    graph.add_node("aside", adoes("aside"))
    graph.add_edge("plan", "aside")
    graph.add_edge("aside", "join")
    return graph


@twin()
def sends_to_different_nodes() -> Any:
    graph = StateGraph(Log)
    graph.add_node("plan", does("plan"))
    graph.add_node("work", work)
    graph.add_node("other", does("other"))
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda state: [Send("work", {"item": 1}), Send("other", {}), "other"]
    )
    return graph


@twin()
def a_fan_out_in_a_fan_out() -> Any:
    def split(state: Any) -> Command[Any]:
        saw(f"split {state['item']}")
        return Command(goto=[Send("work", {"item": state["item"] * 10 + n}) for n in range(2)])

    graph = StateGraph(Log)
    graph.add_node("split", split, destinations=("work",))
    graph.add_node("work", work)
    graph.add_conditional_edges(
        START, lambda state: [Send("split", {"item": n}) for n in (1, 2)], ["split"]
    )
    return graph


@twin()
def a_fan_out_in_a_loop() -> Any:
    graph = fan(range(3))
    graph.add_conditional_edges(
        "join", lambda s: "plan" if s["log"].count("join") < 3 else END, ["plan", END]
    )
    return graph


@twin()
def a_fan_out_into_a_deferred_node() -> Any:
    graph = StateGraph(Log)
    graph.add_node("plan", does("plan"))
    graph.add_node("work", work)
    graph.add_node("more", does("more"))
    graph.add_node("late", does("late"), defer=True)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda state: [Send("work", {"item": n}) for n in range(3)], ["work"]
    )
    graph.add_edge("work", "more")
    graph.add_edge("more", "late")
    graph.add_edge("work", "late")
    return graph


@twin()
def a_send_of_a_graph_s_whole_state() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a", count=1))
    graph.add_node("b", does("b"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: Send("b", state), ["b"])
    return graph


@twin()
def a_send_to_a_graph_inside() -> Any:
    inside = StateGraph(Log)
    inside.add_node("work", work)
    inside.add_node("after", does("after"))
    inside.add_edge(START, "work")
    inside.add_edge("work", "after")
    graph = StateGraph(Log)
    graph.add_node("plan", does("plan"))
    graph.add_node("inside", inside.compile())
    graph.add_edge(START, "plan")
    graph.add_conditional_edges(
        "plan", lambda state: [Send("inside", {"item": n}) for n in range(3)], ["inside"]
    )
    return graph


@twin()
def results_of_a_fan_out_keep_their_order() -> Any:
    async def backwards(state: Any) -> dict[str, Any]:
        await asaw(f"work {state['item']}")
        for _ in range(10 - state["item"]):  # the last one ends first
            await asyncio.sleep(0)
        return {"log": [f"work {state['item']}"]}

    return fan(range(6), worker=backwards)


@twin(once=True)  # who else has finished by then is chance, if one of them is held
def a_fan_out_where_one_item_fails() -> Any:
    async def picky(state: Any) -> dict[str, Any]:
        await asaw(f"work {state['item']}")
        if state["item"] == 2:
            for _ in range(50):
                await asyncio.sleep(0)
            raise ValueError("item 2 is bad")
        return {"total": 1}

    return fan(range(4), worker=picky)


@twin(retries=1, once=True)
def a_fan_out_whose_item_succeeds_when_retried() -> Any:
    async def picky(state: Any) -> dict[str, Any]:
        times = await asaw(f"work {state['item']}")
        if state["item"] == 2 and times == 1:
            await asyncio.sleep(0.2)
            raise ValueError("item 2 is bad, once")
        return {"total": 1, "log": [f"work {state['item']}"]}

    return fan(range(4), worker=picky)
