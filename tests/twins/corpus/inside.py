"""Graphs inside graphs: as nodes, invoked in nodes, with every kind of checkpointer."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.twins.nodes import Log, adoes, asks, chain, does
from tests.twins.twin import Again, twin
from tests.twins.witness import asaw, saw


class Other(TypedDict, total=False):
    """Shares no name with Log."""

    inner: Annotated[list[str], operator.add]
    n: int


def notes(label: str) -> Any:
    def node(state: Any) -> dict[str, Any]:
        saw(label)
        return {"inner": [label], "n": state.get("n", 0) + 1}

    return node


def pair(**terms: Any) -> Any:
    return chain(does("in 1"), does("in 2")).compile(**terms)


def others(**terms: Any) -> Any:
    return chain(notes("in 1"), notes("in 2"), schema=Other).compile(**terms)


def invokes(inside: Any) -> Any:
    def node(state: Any) -> dict[str, Any]:
        saw("calls")
        found = inside.invoke({"inner": ["given"]})
        return {"log": found["inner"]}

    return node


def ainvokes(inside: Any) -> Any:
    async def node(state: Any) -> dict[str, Any]:
        await asaw("calls")
        found = await inside.ainvoke({"inner": ["given"]})
        return {"log": found["inner"]}

    return node


@twin()
def a_graph_as_a_node() -> Any:
    return chain(does("a"), ("inside", pair()), does("z"))


@twin()
def graphs_three_deep() -> Any:
    middle = chain(does("m"), ("deep", pair())).compile()
    return chain(does("a"), ("middle", middle), does("z"))


@twin()
def graphs_four_deep() -> Any:
    third = chain(does("t"), ("deep", pair())).compile()
    second = chain(("third", third), adoes("s")).compile()
    return chain(does("a"), ("second", second), does("z"))


@twin()
def one_graph_as_two_nodes() -> Any:
    inside = pair()
    return chain(("one", inside), ("two", inside))


@twin()
def two_graphs_side_by_side() -> Any:
    graph = StateGraph(Log)
    for name in ["one", "two"]:
        graph.add_node(name, chain(adoes(f"{name} 1"), adoes(f"{name} 2")).compile())
        graph.add_edge(START, name)
    return graph


@twin()
def a_graph_in_a_loop() -> Any:
    graph = StateGraph(Log)
    graph.add_node("inside", pair())
    graph.add_edge(START, "inside")
    graph.add_conditional_edges("inside", lambda s: "inside" if len(s["log"]) < 20 else END)
    return graph


@twin(then=(Again({}), Again({})))
def a_graph_with_a_memory_of_its_own() -> Any:
    def count(state: Any) -> dict[str, Any]:
        return {"n": state.get("n", 0) + 1, "log": [f"visit {state.get('n', 0) + 1}"]}

    class Counted(Log, total=False):
        n: int

    inside = chain(count, schema=Counted).compile(checkpointer=True)
    return chain(does("a"), ("inside", inside))


@twin(then=(Again({}),))
def a_graph_without_a_memory() -> Any:
    def count(state: Any) -> dict[str, Any]:
        return {"n": state.get("n", 0) + 1, "log": [f"visit {state.get('n', 0) + 1}"]}

    class Counted(Log, total=False):
        n: int

    inside = chain(count, schema=Counted).compile()
    return chain(does("a"), ("inside", inside))


@twin()
def a_graph_that_saves_nothing() -> Any:
    return chain(does("a"), ("inside", pair(checkpointer=False)), does("z"))


@twin()
def a_graph_that_saves_nothing_in_a_graph_that_does() -> Any:
    middle = chain(does("m"), ("deep", pair(checkpointer=False))).compile()
    return chain(("middle", middle), does("z"))


@twin()
def a_graph_invoked_in_a_synchronous_node() -> Any:
    return chain(does("a"), invokes(others()), does("z"))


@twin()
def a_graph_invoked_in_an_asynchronous_node() -> Any:
    return chain(does("a"), ainvokes(others()), does("z"))


@twin()
def a_graph_without_checkpoints_invoked_in_a_synchronous_node() -> Any:
    return chain(does("a"), invokes(others(checkpointer=False)), does("z"))


@twin()
def a_graph_without_checkpoints_invoked_in_an_asynchronous_node() -> Any:
    return chain(does("a"), ainvokes(others(checkpointer=False)), does("z"))


@twin(then=(Again({}),))
def a_graph_with_a_memory_invoked_in_a_synchronous_node() -> Any:
    return chain(invokes(others(checkpointer=True)))


@twin(then=(Again({}),))
def a_graph_with_a_memory_invoked_in_an_asynchronous_node() -> Any:
    return chain(ainvokes(others(checkpointer=True)))


@twin()
def a_graph_invoked_three_deep_synchronously() -> Any:
    deep = others()

    def middle(state: Any) -> dict[str, Any]:
        saw("middle")
        return {"inner": deep.invoke({"inner": ["deep"]})["inner"]}

    return chain(does("a"), invokes(chain(middle, schema=Other).compile()), does("z"))


# Behind a break the graph goes on, and streams what is left.
@twin(once=True)
def a_graph_streamed_in_a_synchronous_node() -> Any:
    inside = others()

    def node(state: Any) -> dict[str, Any]:
        saw("streams")
        return {"log": [str(sorted(part)) for part in inside.stream({}, stream_mode="updates")]}

    return chain(node)


@twin(once=True)
def a_graph_streamed_in_an_asynchronous_node() -> Any:
    inside = others()

    async def node(state: Any) -> dict[str, Any]:
        parts = [part async for part in inside.astream({}, stream_mode="updates")]
        return {"log": [str(sorted(part)) for part in parts]}

    return chain(node)


@twin()
def one_graph_invoked_twice_in_a_node() -> Any:
    inside = others(checkpointer=False)

    async def node(state: Any) -> dict[str, Any]:
        first = await inside.ainvoke({"inner": ["1"]})
        second = await inside.ainvoke({"inner": ["2"]})
        return {"log": first["inner"] + second["inner"]}

    return chain(node)


@twin()
def graphs_invoked_at_once_in_a_node() -> Any:
    one, two = others(), others()

    async def node(state: Any) -> dict[str, Any]:
        found = await asyncio.gather(one.ainvoke({}), two.ainvoke({}))
        return {"total": sum(each["n"] for each in found)}

    return chain(node)


@twin()
def a_question_in_a_graph_invoked_synchronously() -> Any:
    def ask(state: Any) -> dict[str, Any]:
        saw("ask")
        return {"inner": [str(interrupt("inside?"))]}

    return chain(does("a"), invokes(chain(notes("in 1"), ask, schema=Other).compile()))


@twin()
def a_question_in_a_graph_invoked_asynchronously() -> Any:
    async def ask(state: Any) -> dict[str, Any]:
        await asaw("ask")
        return {"inner": [str(interrupt("inside?"))]}

    return chain(does("a"), ainvokes(chain(notes("in 1"), ask, schema=Other).compile()))


UNANSWERED = dict.fromkeys(
    ["status", "result", "error", "questions", "runs", "history", "nested"], "Questions"
)


@twin(differs=UNANSWERED)
def a_question_in_a_graph_that_saves_nothing() -> Any:
    inside = chain(does("in 1"), asks("ask")).compile(checkpointer=False)
    return chain(does("a"), ("inside", inside), does("z"))


@twin()
def an_error_in_a_graph_inside() -> Any:
    def bad(state: Any) -> dict[str, Any]:
        saw("bad")
        raise KeyError("inside")

    return chain(does("a"), ("inside", chain(does("in 1"), bad).compile()))


@twin(retries=1)
def an_error_inside_that_a_retry_cures() -> Any:
    def bad(state: Any) -> dict[str, Any]:
        if saw("bad") == 1:
            raise KeyError("once")
        return {"log": ["cured"]}

    return chain(does("a"), ("inside", chain(does("in 1"), bad, does("in 3")).compile()))


@twin(retries=1)
def an_error_in_an_invoked_graph_that_a_retry_cures() -> Any:
    def bad(state: Any) -> dict[str, Any]:
        if saw("bad") == 1:
            raise KeyError("once")
        return {"inner": ["cured"]}

    return chain(does("a"), ainvokes(chain(notes("in 1"), bad, schema=Other).compile()))


@twin()
def a_runnable_as_a_node() -> Any:
    from langchain_core.runnables import RunnableLambda

    return chain(RunnableLambda(does("a")) | RunnableLambda(lambda state: state), does("b"))
