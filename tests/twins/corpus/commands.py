"""Command: goto, update, and leading out of a graph inside."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send

from tests.twins.nodes import Log, chain, does
from tests.twins.twin import twin
from tests.twins.witness import asaw, saw


@twin()
def a_command_that_goes_and_updates() -> Any:
    def a(state: Any) -> Command[Literal["c"]]:
        saw("a")
        return Command(update={"log": ["a"], "count": 1}, goto="c")

    graph = StateGraph(Log)
    graph.add_node("a", a)
    graph.add_node("b", does("b"))
    graph.add_node("c", does("c"))
    graph.add_edge(START, "a")
    return graph


@twin()
def a_command_that_goes_to_several_nodes() -> Any:
    def a(state: Any) -> Command[Literal["b", "c"]]:
        return Command(goto=["b", "c"])

    graph = StateGraph(Log)
    graph.add_node("a", a)
    for name in "bc":
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    return graph


@twin()
def a_command_beside_a_plain_edge() -> Any:
    def a(state: Any) -> Command[Literal["c"]]:
        return Command(update={"log": ["a"]}, goto="c")

    graph = StateGraph(Log)
    graph.add_node("a", a)
    for name in "bc":
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    return graph


@twin()
def a_command_that_ends() -> Any:
    def a(state: Any) -> Command[Literal["__end__"]]:
        return Command(update={"text": "done"}, goto="__end__")

    return chain(does("x"), ("end", a))


@twin()
def a_list_of_commands() -> Any:
    def a(state: Any) -> list[Command[Any]]:
        return [Command(update={"log": ["one"]}, goto="b"), Command(update={"log": ["two"]})]

    graph = StateGraph(Log)
    graph.add_node("a", a, destinations=("b",))
    graph.add_node("b", does("b"))
    graph.add_edge(START, "a")
    return graph


@twin()
def an_update_as_pairs() -> Any:
    def a(state: Any) -> Command[Any]:
        return Command(update=[("log", ["a"]), ("log", ["again"]), ("count", 2)])

    return chain(a, does("b"))


@twin()
def a_command_with_a_send() -> Any:
    async def a(state: Any) -> Command[Literal["work"]]:
        await asaw("a")
        return Command(goto=[Send("work", {"item": n}) for n in range(3)])

    async def work(state: Any) -> dict[str, Any]:
        await asaw(f"work {state['item']}")
        return {"log": [f"work {state['item']}"]}

    graph = StateGraph(Log)
    graph.add_node("a", a)
    graph.add_node("work", work)
    graph.add_edge(START, "a")
    return graph


@twin()
def a_loop_by_commands() -> Any:
    def a(state: Any) -> Command[Literal["a", "b"]]:
        saw("a")
        count = state.get("count", 0) + 1
        return Command(update={"count": count}, goto="a" if count < 4 else "b")

    graph = StateGraph(Log)
    graph.add_node("a", a)
    graph.add_node("b", does("b"))
    graph.add_edge(START, "a")
    return graph


def _leaving(update: dict[str, Any], goto: str) -> Any:
    def inner(state: Any) -> Command[Any]:
        saw("inner")
        return Command(graph=Command.PARENT, update=update, goto=goto)

    return inner


@twin()
def a_command_to_the_parent() -> Any:
    inside = StateGraph(Log)
    inside.add_node("leave", _leaving({"log": ["left"]}, "c"))
    inside.add_edge(START, "leave")
    graph = StateGraph(Log)
    graph.add_node("inside", inside.compile(), destinations=("c",))
    graph.add_node("b", does("b"))
    graph.add_node("c", does("c"))
    graph.add_edge(START, "inside")
    return graph


@twin()
def a_command_to_the_parent_from_the_second_node_inside() -> Any:
    inside = StateGraph(Log)
    inside.add_node("first", does("first"))
    inside.add_node("leave", _leaving({"log": ["left"]}, "c"))
    inside.add_edge(START, "first")
    inside.add_edge("first", "leave")
    graph = StateGraph(Log)
    graph.add_node("inside", inside.compile(), destinations=("c",))
    graph.add_node("c", does("c"))
    graph.add_edge(START, "inside")
    return graph


@twin()
def a_command_to_the_parent_s_parent_by_two_steps() -> Any:
    deep = StateGraph(Log)
    deep.add_node("leave", _leaving({"log": ["left deep"]}, "up"))
    deep.add_edge(START, "leave")
    middle = StateGraph(Log)
    middle.add_node("deep", deep.compile(), destinations=("up",))
    middle.add_node("up", _leaving({"log": ["left middle"]}, "c"))
    middle.add_edge(START, "deep")
    graph = StateGraph(Log)
    graph.add_node("middle", middle.compile(), destinations=("c",))
    graph.add_node("c", does("c"))
    graph.add_edge(START, "middle")
    return graph


@twin()
def agents_that_hand_over_to_each_other() -> Any:
    def agent(name: str, other: str) -> Any:
        def node(state: Any) -> Command[Any]:
            saw(name)
            count = state.get("count", 0) + 1
            goto = other if count < 5 else END
            return Command(update={"log": [name], "count": count}, goto=goto)

        return node

    graph = StateGraph(Log)
    graph.add_node("tick", agent("tick", "tock"), destinations=("tock", END))
    graph.add_node("tock", agent("tock", "tick"), destinations=("tick", END))
    graph.add_edge(START, "tick")
    return graph


@twin()
def a_goto_to_a_node_that_is_not_there() -> Any:
    def a(state: Any) -> Command[Any]:
        return Command(goto="nowhere", update={"log": ["a"]})

    graph = StateGraph(Log)
    graph.add_node("a", a)
    graph.add_edge(START, "a")
    return graph


@twin()
def a_command_from_a_deferred_node() -> Any:
    def late(state: Any) -> Command[Literal["end"]]:
        saw("late")
        return Command(update={"log": ["late"]}, goto="end")

    graph = StateGraph(Log)
    for name in ["a", "b", "end"]:
        graph.add_node(name, does(name))
    graph.add_node("late", late, defer=True)
    graph.add_edge(START, "a")
    graph.add_edge(START, "b")
    graph.add_edge("a", "late")
    return graph


@twin()
def a_command_annotated_by_a_class_attribute() -> Any:
    class Goes:
        """A node may be any callable."""

        def __call__(self, state: Any) -> Annotated[Command[Literal["b"]], "leads to b"]:
            saw("goes")
            return Command(goto="b", update={"text": "gone"})

    graph = StateGraph(Log)
    graph.add_node("a", Goes())
    graph.add_node("b", does("b"))
    graph.add_edge(START, "a")
    return graph
