"""Time travel: going on from an earlier checkpoint, edited or not."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph

from tests.twins.nodes import Log, asks, chain, counts, does
from tests.twins.twin import Again, Fork, twin
from tests.twins.witness import saw


def looks(label: str) -> Any:
    def node(state: Any) -> dict[str, Any]:
        saw(label)
        return {"log": [f"{label} sees {state.get('text')} {state.get('count')}"]}

    return node


@twin(then=(Fork("b"),))
def going_on_from_the_middle() -> Any:
    return chain(does("a"), does("b"), does("c"))


@twin(then=(Fork("a"),))
def going_on_from_the_input() -> Any:
    return chain(does("a"), does("b"), does("c"))


@twin(then=(Fork("b", {"text": "edited"}),))
def an_edit_in_the_middle() -> Any:
    return chain(does("a", text="first"), looks("b"), looks("c"))


@twin(then=(Fork("b", {"log": ["appended"]}),))
def an_edit_that_a_reducer_merges() -> Any:
    return chain(does("a"), looks("b"))


@twin(then=(Fork("b", {"count": 9}),))
def an_edit_that_leads_elsewhere() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a", count=1))
    graph.add_node("b", does("b"))
    graph.add_node("c", does("c"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "c" if s["count"] > 5 else "b", ["b", "c"])
    return graph


@twin(then=(Fork("c", {"text": "twice"}), Fork("b", {"text": "thrice"})))
def two_edits_one_after_the_other() -> Any:
    return chain(does("a", text="once"), looks("b"), looks("c"))


@twin(then=(Fork("left", {"text": "edited"}, as_node="a"),))
def an_edit_before_parallel_nodes() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    for name in ["left", "right"]:
        graph.add_node(name, looks(name))
        graph.add_edge("a", name)
    graph.add_edge(START, "a")
    return graph


@twin(then=(Fork("join", {"text": "edited"}, as_node="left"),))
def an_edit_as_one_of_two_parallel_nodes() -> Any:
    graph = StateGraph(Log)
    for name in ["left", "right"]:
        graph.add_node(name, does(name))
        graph.add_edge(START, name)
        graph.add_edge(name, "join")
    graph.add_node("join", looks("join"))
    return graph


@twin(then=(Fork("a", {"count": 2}, as_node="a"),))
def an_edit_in_a_loop() -> Any:
    graph = StateGraph(Log)
    graph.add_node("start", does("start", count=0))
    graph.add_node("a", counts("a"))
    graph.add_edge(START, "start")
    graph.add_edge("start", "a")
    graph.add_conditional_edges("a", lambda s: "a" if s["count"] < 4 else END, ["a", END])
    return graph


@twin(then=(Fork("ask"),), answers="same")
def going_on_from_before_a_question() -> Any:
    return chain(does("a"), ("ask", asks("ask")), does("z"))


@twin(then=(Fork("ask", {"text": "edited"}),))
def an_edit_before_a_question() -> Any:
    return chain(does("a"), ("ask", asks("ask")), looks("z"))


@twin(then=(Fork("inside"),))
def going_on_from_before_a_graph_inside() -> Any:
    inside = chain(does("in 1"), does("in 2")).compile()
    return chain(does("a"), ("inside", inside), does("z"))


@twin(then=(Fork("inside", {"text": "edited"}),))
def an_edit_before_a_graph_inside() -> Any:
    inside = chain(looks("in 1"), does("in 2")).compile()
    return chain(does("a"), ("inside", inside), does("z"))


@twin(then=(Again({"text": "second"}), Fork("b", {"count": 7})))
def an_edit_of_the_first_of_two_runs() -> Any:
    return chain(does("a"), looks("b"))


@twin(then=(Fork("b"), Again({"text": "after"})))
def a_run_after_going_back() -> Any:
    return chain(does("a"), looks("b"))
