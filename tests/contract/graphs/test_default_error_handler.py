"""`set_node_defaults(error_handler=…)`, for which LangGraph adds a node when it compiles."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from ucop.engine import Engine


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def graph_with_a_handler() -> StateGraph[Any]:
    def bad(state: State) -> None:
        raise ValueError("bad")

    graph = StateGraph(State)
    graph.set_node_defaults(error_handler=lambda state: {"log": ["handled"]})
    graph.add_node("bad", bad)
    graph.add_edge(START, "bad")
    return graph


def test_a_handler_of_all_nodes_handles(engine: Engine) -> None:
    assert engine.submit(graph_with_a_handler(), {}).result(60) == {"log": ["handled"]}


def test_a_graph_that_its_project_compiled_before_runs(engine: Engine) -> None:
    graph = graph_with_a_handler()
    graph.compile()
    engine.add("handled", graph)
    assert engine.submit("handled", {}).result(60) == {"log": ["handled"]}
    assert set(graph.nodes) == {"bad", "__default_error_handler__"}
