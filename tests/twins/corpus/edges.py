"""Plain, conditional and waiting edges, joins, deferred nodes, loops."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph

from tests.support.graphs import Node
from tests.twins.nodes import Log, adoes, chain, counts, does
from tests.twins.twin import twin
from tests.twins.witness import saw


@twin()
def one_node() -> Any:
    return chain(does("a"))


@twin()
def five_nodes_in_a_row() -> Any:
    return chain(does("a"), adoes("b"), does("c"), adoes("d"), does("e"))


@twin(input={"log": ["begun"]})
def an_input_that_a_reducer_merges() -> Any:
    return chain(does("a"))


@twin()
def a_node_that_writes_nothing() -> Any:
    def nothing(state: Any) -> None:
        saw("nothing")

    return chain(does("a"), nothing, does("c"))


@twin()
def an_empty_dict_from_a_node() -> Any:
    return chain(does("a"), lambda state: {}, does("c"))


@twin()
def a_fork_and_a_join_of_equal_arms() -> Any:
    graph = StateGraph(Log)
    for name in "abcd":
        graph.add_node(name, adoes(name))
    graph.add_edge(START, "a")
    for arm in "bc":
        graph.add_edge("a", arm)
        graph.add_edge(arm, "d")
    return graph


@twin()
def arms_of_other_length_that_reach_a_node_twice() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "short", "long", "longer", "end"]:
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_edge("a", "short")
    graph.add_edge("a", "long")
    graph.add_edge("long", "longer")
    graph.add_edge("short", "end")
    graph.add_edge("longer", "end")
    return graph


@twin()
def a_waiting_edge_of_arms_of_other_length() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "short", "long", "longer", "end"]:
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_edge("a", "short")
    graph.add_edge("a", "long")
    graph.add_edge("long", "longer")
    graph.add_edge(["short", "longer"], "end")
    return graph


@twin()
def a_waiting_edge_that_never_fires() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "b", "end"]:
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_edge(["a", "b"], "end")
    graph.add_conditional_edges("a", lambda state: END, ["b", END])
    return graph


@twin()
def a_deferred_node_behind_uneven_arms() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "b", "c", "c2"]:
        graph.add_node(name, does(name))
    graph.add_node("late", does("late"), defer=True)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("a", "c")
    graph.add_edge("c", "c2")
    graph.add_edge("b", "late")
    graph.add_edge("c2", "late")
    return graph


@twin()
def two_deferred_nodes() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "b", "b2"]:
        graph.add_node(name, adoes(name))
    for name in ["late1", "late2"]:
        graph.add_node(name, adoes(name), defer=True)
        graph.add_edge("a", name)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", "b2")
    graph.add_edge("late1", END)
    return graph


@twin()
def a_deferred_node_with_a_waiting_edge() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "b", "c"]:
        graph.add_node(name, does(name))
        graph.add_edge(START, name)
    graph.add_node("d", does("d"))
    graph.add_edge("c", "d")
    graph.add_node("late", does("late"), defer=True)
    graph.add_edge(["a", "b"], "late")
    return graph


@twin(input={"count": 3})
def a_condition_by_the_state() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "low", "high"]:
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "high" if s["count"] > 2 else "low", ["low", "high"])
    return graph


@twin(input={"count": 1})
def a_condition_with_a_map_of_names() -> Any:
    graph = StateGraph(Log)
    for name in ["a", "yes", "no"]:
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: s["count"] > 2, {True: "yes", False: "no"})
    return graph


@twin()
def a_condition_that_names_several_nodes() -> Any:
    graph = StateGraph(Log)
    for name in "abcd":
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda state: ["b", "d"], ["b", "c", "d"])
    return graph


@twin(input={"text": "right"})
def a_condition_at_the_start() -> Any:
    graph = StateGraph(Log)
    for name in ["left", "right"]:
        graph.add_node(name, does(name))
    graph.add_conditional_edges(START, lambda state: state["text"], ["left", "right"])
    return graph


@twin()
def an_async_condition() -> Any:
    async def choose(state: Any) -> str:
        return "b"

    graph = StateGraph(Log)
    for name in "abc":
        graph.add_node(name, adoes(name))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", choose, ["b", "c"])
    return graph


@twin()
def two_conditions_on_one_node() -> Any:
    def first(state: Any) -> str:
        return "b"

    def second(state: Any) -> str:
        return "c"

    graph = StateGraph(Log)
    for name in "abc":
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", first, ["b", END])
    graph.add_conditional_edges("a", second, ["c", END])
    return graph


@twin()
def a_loop_that_a_condition_ends() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", counts("a"))
    graph.add_node("b", does("b"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_conditional_edges("b", lambda s: "a" if s["count"] < 4 else END, ["a", END])
    return graph


@twin()
def a_node_that_leads_to_itself() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", counts("a"))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "a" if s["count"] < 5 else END, ["a", END])
    return graph


@twin()
def a_loop_in_a_loop() -> Any:
    def outer(state: Any) -> str:
        return "a" if state["log"].count("c") < 2 else END

    def inner(state: Any) -> str:
        return "b" if state["log"].count("b") % 3 else "c"

    graph = StateGraph(Log)
    for name in "abc":
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_conditional_edges("b", inner, ["b", "c"])
    graph.add_conditional_edges("c", outer, ["a", END])
    return graph


@twin()
def a_fan_of_twelve_parallel_nodes() -> Any:
    graph = StateGraph(Log)
    graph.add_node("end", does("end"))
    names = [f"n{number:02}" for number in range(12)]
    for name in names:
        graph.add_node(name, adoes(name))
        graph.add_edge(START, name)
    graph.add_edge(names, "end")
    return graph


@twin()
def a_sequence_by_add_sequence() -> Any:
    graph = StateGraph(Log)
    nodes: list[Node] = [("a", does("a")), ("b", does("b")), ("c", does("c"))]
    graph.add_sequence(nodes)
    graph.add_edge(START, "a")
    return graph


@twin()
def a_node_without_a_way_out() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_node("b", does("b"))
    graph.set_entry_point("a")
    graph.add_edge("a", "b")
    return graph
