"""Reducers, channels and schemas."""

from __future__ import annotations

import functools
import operator
from typing import Annotated, Any

from langgraph.channels import DeltaChannel, EphemeralValue, Topic, UntrackedValue
from langgraph.graph import END, START, StateGraph
from langgraph.managed import IsLastStep, RemainingSteps
from langgraph.types import Overwrite
from typing_extensions import TypedDict

from tests.twins.nodes import Log, adoes, chain, does
from tests.twins.twin import Again, twin
from tests.twins.witness import saw


@twin()
def a_sum_of_parallel_writes() -> Any:
    graph = StateGraph(Log)
    for name in "abc":
        graph.add_node(name, adoes(name, total=ord(name)))
        graph.add_edge(START, name)
    return graph


@twin()
def dicts_that_are_merged() -> Any:
    return chain(does("a", said={"x": 1, "y": 1}), does("b", said={"y": 2}), does("c", said={}))


@twin(input={"log": ["kept"], "count": 0})
def an_overwrite_of_a_reduced_value() -> Any:
    def b(state: Any) -> dict[str, Any]:
        return {"log": Overwrite(["only this"])}

    return chain(does("a"), b, does("c"))


@twin()
def an_overwrite_beside_another_write() -> Any:
    graph = StateGraph(Log)
    graph.add_node("a", does("a"))
    graph.add_node("b", lambda state: {"log": Overwrite(["over"])})
    graph.add_node("c", does("c"))
    for name in "ab":
        graph.add_edge(START, name)
        graph.add_edge(name, "c")
    return graph


@twin()
def two_overwrites_at_once() -> Any:
    graph = StateGraph(Log)
    for name in "ab":
        graph.add_node(name, lambda state: {"log": Overwrite([])})
        graph.add_edge(START, name)
    return graph


@twin()
def two_plain_writes_at_once() -> Any:
    graph = StateGraph(Log)
    for name in "ab":
        graph.add_node(name, does(name, text=name))
        graph.add_edge(START, name)
    return graph


@twin()
def a_write_to_an_unknown_channel() -> Any:
    return chain(does("a", unheard="of"), does("b"))


@twin()
def a_node_that_returns_no_dict() -> Any:
    return chain(does("a"), lambda state: "text")


class WithDelta(TypedDict, total=False):
    log: Annotated[
        list[str],
        DeltaChannel(lambda old, new: [*(old or []), *functools.reduce(operator.iadd, new, [])]),
    ]


@twin(then=(Again({"log": ["more"]}),))
def a_delta_channel() -> Any:
    graph = StateGraph(WithDelta)
    for name in "abc":
        graph.add_node(name, does(name))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", "c")
    return graph


class WithManaged(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    left: RemainingSteps
    last: IsLastStep


# Each attempt counts its supersteps anew.
@twin(config={"recursion_limit": 12}, once=True)
def managed_values() -> Any:
    def a(state: Any) -> dict[str, Any]:
        saw("a")
        return {"log": [f"{state['left']} {state['last']}"]}

    graph = StateGraph(WithManaged)
    graph.add_node("a", a)
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: "a" if s["left"] > 2 else END, ["a", END])
    return graph


@twin(once=True)
def managed_values_at_the_default_limit() -> Any:
    def a(state: Any) -> dict[str, Any]:
        return {"log": [f"{state['left']} {state['last']}"]}

    graph = StateGraph(WithManaged)
    graph.add_node("a", a)
    graph.add_node("b", a)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    return graph


class WithOthers(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    brief: Annotated[str, EphemeralValue]
    heard: Annotated[list[str], Topic(str)]
    heap: Annotated[list[str], Topic(str, accumulate=True)]


@twin()
def ephemeral_values_and_topics() -> Any:
    def look(name: str) -> Any:
        def node(state: Any) -> dict[str, Any]:
            seen = f"{name} {state.get('brief')} {state.get('heard')} {state.get('heap')}"
            return {"log": [seen], "heard": name, "heap": name}

        return node

    graph = StateGraph(WithOthers)
    graph.add_node("a", lambda state: {"brief": "for b", "heard": ["x", "y"], "heap": "z"})
    graph.add_node("b", look("b"))
    graph.add_node("c", look("c"))
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    graph.add_edge("b", "c")
    return graph


class WithUntracked(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    handle: Annotated[Any, UntrackedValue]


UNTRACKED = {
    "stream": "Values in a stream",
    "result": "One attempt is one run of LangGraph",
}


@twin(once=True, differs=UNTRACKED)
def an_untracked_value_that_nothing_can_store() -> Any:
    def b(state: Any) -> dict[str, Any]:
        return {"log": [str(state["handle"](2))]}

    graph = StateGraph(WithUntracked)
    graph.add_node("a", lambda state: {"handle": lambda n: n + 1, "log": ["a"]})
    graph.add_node("b", b)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    return graph


class Given(TypedDict):
    question: str


class Told(TypedDict):
    answer: str


class Whole(TypedDict, total=False):
    question: str
    notes: str
    answer: str


class Private(TypedDict):
    secret: str


@twin(input={"question": "why", "ignored": 1})
def input_and_output_schemas() -> Any:
    graph = StateGraph(Whole, input_schema=Given, output_schema=Told)
    graph.add_node("note", lambda state: {"notes": f"notes on {state['question']}"})
    graph.add_node("answer", lambda state: {"answer": state["notes"].upper()})
    graph.add_edge(START, "note")
    graph.add_edge("note", "answer")
    return graph


@twin(input={"question": "why"})
def private_state_between_two_nodes() -> Any:
    def first(state: Given) -> Private:
        saw("first")
        return {"secret": f"on {state['question']}"}

    def second(state: Private) -> dict[str, Any]:
        saw("second")
        return {"answer": f"{sorted(state)} {state['secret']}"}

    graph = StateGraph(Whole)
    graph.add_node("first", first)
    graph.add_node("second", second, input_schema=Private)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    return graph


@twin(input={"question": "why"})
def a_node_that_sees_a_part_of_the_state() -> Any:
    graph = StateGraph(Whole)
    graph.add_node("a", lambda state: {"notes": "n"})
    graph.add_node("b", lambda state: {"answer": str(sorted(state))}, input_schema=Given)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    return graph


def longest(old: str, new: str) -> str:
    return max(old or "", new, key=len)


class Best(TypedDict, total=False):
    best: Annotated[str, longest]


@twin()
def a_merge_function_of_its_own() -> Any:
    graph = StateGraph(Best)
    for name, text in [("a", "long"), ("b", "longest"), ("c", "l")]:
        graph.add_node(name, lambda state, text=text: {"best": text})
        graph.add_edge(START, name)
    return graph


@twin(then=(Again({"log": ["second"]}), Again({})))
def one_thread_for_three_runs() -> Any:
    return chain(does("a"), does("b", total=1))


@twin(then=(Again({"count": 5}),))
def a_second_run_keeps_what_the_first_one_left() -> Any:
    def look(state: Any) -> dict[str, Any]:
        return {"log": [f"{state.get('count')} {state.get('text')}"]}

    return chain(look, does("b", text="left"))


@twin(input={"items": [1, {"a": [None, True, 1.5]}, "ü\u2028", [], {}]})
def json_of_every_kind() -> Any:
    return chain(lambda state: {"said": {"items": state["items"], "": {"": ""}}})
