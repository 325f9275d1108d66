"""interrupt_before and interrupt_after, at the root and inside, and edits at a rest."""

from __future__ import annotations

from typing import Any

from langgraph.graph import START, StateGraph

from tests.twins.nodes import Log, adoes, asks, chain, does
from tests.twins.twin import Edit, twin


@twin()
def a_stop_before_a_node() -> Any:
    return chain(does("a"), does("b"), does("c")).compile(interrupt_before=["b"])


@twin()
def a_stop_after_a_node() -> Any:
    return chain(does("a"), does("b"), does("c")).compile(interrupt_after=["b"])


@twin()
def a_stop_before_every_node() -> Any:
    return chain(does("a"), adoes("b"), does("c")).compile(interrupt_before="*")


@twin()
def a_stop_after_every_node() -> Any:
    return chain(does("a"), adoes("b"), does("c")).compile(interrupt_after="*")


@twin()
def a_stop_after_the_last_node() -> Any:
    return chain(does("a"), does("b")).compile(interrupt_after=["b"])


@twin()
def stops_before_and_after() -> Any:
    graph = chain(does("a"), does("b"), does("c"))
    return graph.compile(interrupt_before=["a", "c"], interrupt_after=["a"])


@twin()
def a_stop_before_one_of_two_parallel_nodes() -> Any:
    graph = StateGraph(Log)
    for name in "ab":
        graph.add_node(name, adoes(name))
        graph.add_edge(START, name)
    graph.add_node("c", does("c"))
    graph.add_edge(["a", "b"], "c")
    return graph.compile(interrupt_before=["b"])


@twin()
def a_stop_inside_a_graph_inside() -> Any:
    inside = chain(does("first"), does("second")).compile(interrupt_before=["b"])
    return chain(does("a"), ("inside", inside), does("z"))


@twin()
def stops_inside_and_outside() -> Any:
    inside = chain(does("first"), does("second")).compile(interrupt_after=["a"])
    graph = chain(does("a"), ("inside", inside), does("z"))
    return graph.compile(interrupt_before=["inside"])


@twin()
def a_stop_two_graphs_deep() -> Any:
    deep = chain(does("deep"), does("deeper")).compile(interrupt_before=["b"])
    middle = chain(does("m"), ("deep", deep)).compile()
    return chain(does("a"), ("middle", middle), does("z"))


@twin()
def a_stop_before_a_node_that_asks() -> Any:
    return chain(does("a"), ("ask", asks("ask")), does("z")).compile(interrupt_before=["ask"])


@twin()
def a_stop_in_a_loop() -> Any:
    from tests.twins.nodes import counts

    graph = StateGraph(Log)
    graph.add_node("a", counts("a"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "a" if s["count"] < 3 else "__end__")
    return graph.compile(interrupt_before=["a"])


@twin(then=(Edit({"text": "edited"}),))
def an_edit_at_a_stop() -> Any:
    def look(state: Any) -> dict[str, Any]:
        return {"log": [f"sees {state.get('text')}"]}

    return chain(does("a", text="first"), look).compile(interrupt_before=["b"])


@twin(then=(Edit({"text": "edited"}),), differs={"raised": "Edits and forks"}, once=True)
def an_edit_while_a_question_is_open() -> Any:
    def look(state: Any) -> dict[str, Any]:
        return {"log": [f"sees {state.get('text')}"]}

    return chain(does("a", text="first"), asks("ask"), look)


@twin(then=(Edit({"count": 1}),))
def an_edit_after_an_error() -> Any:
    def divide(state: Any) -> dict[str, Any]:
        return {"text": str(6 // state["count"])}

    return chain(does("a", count=0), divide)
