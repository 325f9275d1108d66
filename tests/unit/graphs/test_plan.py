"""The plan of a run: what is known before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.graph import END as GRAPH_END
from langgraph.graph import START as GRAPH_START
from langgraph.graph import StateGraph
from typing_extensions import TypedDict

from ucop.agents import AgentContext
from ucop.agents.errors import ModelUnavailable
from ucop.agents.models.provider import ModelUse
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.plan.expectation import expected_of, range_of
from ucop.graphs.plan.plan import Plan, asked_models, plan_of
from ucop.graphs.plan.planned import Objection, Past, Range, Spent
from ucop.graphs.workflows.python_workflow import PythonWorkflow
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow


@agent("judge")
def judge(text: str, context: AgentContext) -> int:
    """Is given models."""
    return len(text)


REGISTRY = Registry.of(judge)

LETTERS = """\
name: letters
input:
  topic: {type: string, minLength: 3}
  tone: {type: string, default: warm}
nodes:
  write: {agent: author, with: {text: "${topic}"}, writes: text, retry: {attempts: 3}, timeout: 1m}
  title: {agent: namer, with: {text: "${tone}"}, writes: title}
  score: {agent: judge, with: {text: "${text}"}, writes: score}
edges:
  - START -> [write, title]
  - "[write, title] -> score"
  - from: score
    to:
      - {node: write, when: "score < 7", at_most: 2}
      - END
agents:
  author: {prompt: "${text}", input: {text: string}}
  namer: {prompt: "${text}", input: {text: string}, model: fast}
"""


def use(asked: str, *, embedded: bool = False) -> ModelUse:
    name = "embedded:small" if embedded else f"ollama:{asked}"
    return ModelUse(asked=asked, name=name, endpoint="here", embedded=embedded, note=f"{name}!")


SERVED = {"default": use("default", embedded=True), "fast": use("fast")}


@pytest.fixture
def letters() -> YamlWorkflow:
    return workflow_of(read_yaml(LETTERS, "letters.yaml"), REGISTRY)


def planned(workflow: Any, data: dict[str, Any] | None = None, **more: Any) -> Plan:
    given_input = {"topic": "spring"} if data is None else data
    return plan_of(workflow, given_input, **{"answers": SERVED, **more})


def test_nodes_that_can_run_together_are_one_wave(letters: YamlWorkflow) -> None:
    waves = [[node.name for node in wave] for wave in planned(letters).waves]
    assert waves == [["write", "title"], ["score"]]


def test_a_node_tells_who_works_and_by_which_policies(letters: YamlWorkflow) -> None:
    write, title = planned(letters).waves[0]
    assert (write.work, write.asks, title.asks) == ("agent author", "default", "fast")
    assert write.policies["retry"]["attempts"] == 3
    assert write.policies["timeout"] == 60.0
    assert not write.may_ask


def test_code_that_is_given_models_may_ask_one(letters: YamlWorkflow) -> None:
    (score,) = planned(letters).waves[1]
    assert (score.asks, score.may_ask, score.answered) == (None, True, ())
    past = Past(jobs=(), same_definition=True, models={"score": ["ollama:big"]})
    assert planned(letters, past=past).waves[1][0].answered == ("ollama:big",)


def test_branches_and_loops_have_conditions_and_bounds(letters: YamlWorkflow) -> None:
    plan = planned(letters)
    (branch,) = plan.branches
    assert branch.source == "score"
    assert [(w.target, w.when, w.at_most) for w in branch.ways] == [
        ("write", "score < 7", 2),
        ("END", "otherwise", None),
    ]
    (loop,) = plan.loops
    assert (loop.source, loop.target, loop.at_most) == ("score", "write", 2)
    assert loop.body == ("write", "score")


def test_models_are_those_that_really_answer(letters: YamlWorkflow) -> None:
    assert set(asked_models(letters)) == {"default", "fast"}
    told = {m.asked: (m.name, m.embedded, m.nodes) for m in planned(letters).models}
    assert told == {
        "default": ("embedded:small", True, ("write",)),
        "fast": ("ollama:fast", False, ("title",)),
    }


def test_a_model_that_nobody_serves_is_an_objection_with_its_nodes(letters: YamlWorkflow) -> None:
    answers = {**SERVED, "fast": ModelUnavailable("no Ollama answers")}
    (objection,) = planned(letters, answers=answers).objections
    assert (objection.by, objection.nodes) == ("model", ("title",))
    assert objection.message == "no Ollama answers"


def test_missing_wrong_and_unknown_inputs_are_all_told(letters: YamlWorkflow) -> None:
    plan = planned(letters, {"tone": 3, "tpoic": "x"})
    told = {one.name: one for one in plan.inputs}
    assert told["topic"].required
    assert not told["topic"].given
    assert {name: bool(one.problem) for name, one in told.items()} == {
        "topic": True,
        "tone": True,
        "tpoic": True,
    }
    assert [one.by for one in plan.objections] == ["input"] * 3
    assert "did you mean 'topic'" in plan.objections[2].message


def test_defaults_stand_where_nothing_is_given(letters: YamlWorkflow) -> None:
    plan = planned(letters)
    assert {one.name: (one.given, one.value) for one in plan.inputs} == {
        "topic": (True, "spring"),
        "tone": (False, "warm"),
    }
    assert plan.objections == ()


def test_what_only_the_state_refuses_is_told_too(letters: YamlWorkflow) -> None:
    (objection,) = planned(letters, {"topic": "a\0bc"}).objections
    assert objection.by == "input"


def test_objections_of_others_stand_beside(letters: YamlWorkflow) -> None:
    other = Objection(by="database", message="it is not there")
    assert planned(letters, objections=[other]).objections == (other,)


def spent(calls: int, cost: float | None = 0.5) -> Spent:
    return Spent(model_calls=calls, tokens_in=10 * calls, tokens_out=calls, cost=cost)


def test_what_is_expected_comes_from_past_jobs(letters: YamlWorkflow) -> None:
    past = Past(jobs=[spent(n) for n in range(1, 21)], same_definition=True)
    expected = planned(letters, past=past).expected
    assert expected is not None
    assert expected.jobs == 20
    assert expected.model_calls == Range(p50=10, p95=19)
    assert expected.tokens_in == Range(p50=100, p95=190)
    assert expected.cost == Range(p50=0.5, p95=0.5)


def test_one_unknown_price_makes_the_cost_unknown() -> None:
    past = Past(jobs=[spent(1), spent(2, None)], same_definition=True)
    found = expected_of(past)
    assert found is not None
    assert found.cost is None


def test_nothing_is_expected_without_past_jobs(letters: YamlWorkflow) -> None:
    assert planned(letters).expected is None
    assert planned(letters, past=Past(jobs=[], same_definition=False)).expected is None


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50))
def test_a_range_is_made_of_numbers_that_were(numbers: list[int]) -> None:
    found = range_of(numbers)
    assert {found.p50, found.p95} <= set(numbers)
    assert found.p50 <= found.p95
    assert sum(n <= found.p50 for n in numbers) >= len(numbers) / 2
    assert sum(n <= found.p95 for n in numbers) >= 0.95 * len(numbers)


class State(TypedDict):
    n: int


def test_a_python_graph_tells_nodes_branches_and_ways_back() -> None:
    graph = StateGraph(State)
    for name in ("plan", "act", "check"):
        graph.add_node(name, lambda state: state)
    graph.add_edge(GRAPH_START, "plan")
    graph.add_edge("plan", "act")
    graph.add_edge("act", "check")
    graph.add_conditional_edges("check", lambda state: "a", {"again": "act", "done": GRAPH_END})
    plan = planned(PythonWorkflow("acting", graph), {"n": 1}, answers={})
    assert [[node.name for node in wave] for wave in plan.waves] == [["plan"], ["act"], ["check"]]
    assert [(loop.source, loop.target, loop.at_most) for loop in plan.loops] == [
        ("check", "act", None)
    ]
    (branch,) = plan.branches
    assert {(way.target, way.when) for way in branch.ways} == {("act", "again"), ("END", "done")}
    assert plan.objections == ()
    assert plan.models == ()


INNERMOST = """\
name: innermost
input: {text: string, times: {type: array, default: [1, 2]}}
nodes:
  think: {agent: thinker, each: "${times}", with: {text: "${text}"}, writes: thought}
output: ${thought}
agents: {thinker: {prompt: "${text}", input: {text: string}, model: deep}}
"""
MIDDLE = """\
name: middle
input: {text: string, times: array}
nodes:
  first: {workflow: innermost, with: {text: "${text}", times: "${times}"}, writes: a}
  second: {agent: {capability: sum_up}, with: {text: "${text}"}, writes: b}
edges:
  - START -> first
  - {from: first, to: [{node: first, when: "size(a) < 2", at_most: 2}, second]}
  - second -> END
agents: {summer: {prompt: "${text}", input: {text: string}, capabilities: [sum_up]}}
"""
OUTER = """\
name: outer
input: {topics: {type: array, items: string}, times: {type: array, default: [1, 2, 3]}}
nodes:
  all:
    workflow: middle
    each: "${topics}"
    as: topic
    with: {text: "${topic}", times: "${times}"}
    writes: told
"""


LATE = """\
name: late
input: {n: integer}
nodes:
  a: {agent: judge, with: {text: x}, writes: m}
  b: {agent: judge, each: "${default(m, null) == null ? [n] : [m]}", with: {text: "${string(item)}"}}
  c: {agent: judge, each: "${[n]}", with: {text: "${string(item)}"}}
edges: [START -> a -> b -> c -> END]
"""


@pytest.fixture
def outer() -> YamlWorkflow:
    found: dict[str, YamlWorkflow] = {}
    for text in (INNERMOST, MIDDLE, OUTER):
        one = workflow_of(read_yaml(text, "flow.yaml"), REGISTRY, found.__getitem__)
        found[one.name] = one
    return found["outer"]


ALL_SERVED = {"default": use("default"), "deep": use("deep")}


def test_the_nodes_of_workflows_inside_are_planned_too(outer: YamlWorkflow) -> None:
    assert set(asked_models(outer)) == {"default", "deep"}
    plan = planned(outer, {"topics": ["a", "b"]}, answers=ALL_SERVED)
    ((node,),) = plan.waves
    assert [[one.name for one in wave] for wave in node.inside] == [["all/first"], ["all/second"]]
    ((first,), (second,)) = node.inside
    assert [[one.name for one in wave] for wave in first.inside] == [["all/first/think"]]
    assert second.work == "agent summer, which can sum_up"
    assert {model.asked: model.nodes for model in plan.models} == {
        "deep": ("all/first/think",),
        "default": ("all/second",),
    }
    (branch,) = plan.branches
    assert (branch.source, [way.target for way in branch.ways]) == (
        *("all/first", ["all/first", "all/second"]),
    )
    assert [(loop.source, loop.body) for loop in plan.loops] == [("all/first", ("all/first",))]


def test_a_model_that_nobody_serves_inside_is_an_objection(outer: YamlWorkflow) -> None:
    answers = {**ALL_SERVED, "deep": ModelUnavailable("no Ollama answers")}
    (objection,) = planned(outer, {"topics": []}, answers=answers).objections
    assert objection.nodes == ("all/first/think",)


def test_items_are_counted_where_the_input_tells_them(outer: YamlWorkflow) -> None:
    plan = planned(outer, {"topics": ["a", "b"]}, answers=ALL_SERVED)
    ((node,),) = plan.waves
    assert (node.items, node.inside[0][0].inside[0][0].items) == (2, 3)
    assert plan.calls == 2 * (3 + 1)
    assert planned(outer, {"topics": [], "times": [1]}, answers=ALL_SERVED).calls == 0


def test_items_that_only_the_run_tells_leave_the_calls_open(outer: YamlWorkflow) -> None:
    plan = planned(outer, {}, answers=ALL_SERVED)
    assert (plan.waves[0][0].items, plan.calls) == (None, None)
    late = workflow_of(read_yaml(LATE, "late.yaml"), REGISTRY)
    plan = planned(late, {"n": 3})
    assert [node.items for wave in plan.waves for node in wave] == [None, None, 1]


def test_models_of_past_jobs_are_known_inside_too(outer: YamlWorkflow) -> None:
    past = Past(jobs=(), same_definition=True, models={"all/second": ["ollama:big"]})
    plan = planned(outer, {"topics": []}, answers=ALL_SERVED, past=past)
    assert plan.waves[0][0].inside[1][0].answered == ("ollama:big",)
