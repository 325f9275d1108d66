"""Definitions as data: read, written out, stored, brought back; fingerprints; broken data."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.effort import effort
from tests.support.flows import flow
from ucop.agents.finding import Finding
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.errors import InvalidInput, WorkflowChanged
from ucop.graphs.language.dump import dump
from ucop.graphs.language.load import load, load_data
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

WHOLE = """
name: whole
description: Everything the language has.
input:
  topic: {type: string, minLength: 3}
  count: {type: number, default: 2}
state:
  notes: {type: array, merge: append}
limits: {deadline: 30m, steps: 100, model_calls: 50, tokens: 200000, cost: 1.50}
nodes:
  find: {agent: step, with: {value: "${topic} ${count}"}, writes: found}
  note:
    agent: step
    each: "${[1, 2]}"
    as: one
    limit: 2
    with: {value: {of: "${one}"}}
    writes: notes
    retry: {attempts: 2, delay: 10ms, longest: 1m}
    timeout: 60s
    cache: 90m
  score: {agent: judge, with: {text: "${notes}"}, writes: score, cache: {ttl: 1h}}
edges:
  - START -> find -> note -> score
  - from: score
    to:
      - {node: note, when: "size(score) > 3", at_most: 2}
      - END
output: {notes: "${notes}", by: "${found}"}
agents:
  judge:
    prompt: "Judge ${text}"
    input: {text: array}
"""


@agent("step")
def step(value: Any = None) -> Any:
    return value


REGISTRY = Registry.of(step)


def whole(text: str = WHOLE) -> YamlWorkflow:
    return workflow_of(read_yaml(text, "whole.yaml"), REGISTRY)


def test_given_a_definition_then_what_is_written_out_reads_as_the_same() -> None:
    definition = whole().definition
    again = load_data(json.loads(json.dumps(dump(definition))))
    assert again.findings == []
    assert dump(again.definition) == dump(definition)
    assert again.definition.nodes == definition.nodes
    assert again.definition.routes == definition.routes


def test_given_a_stored_workflow_then_it_comes_back_equal_without_its_file_and_agents() -> None:
    workflow = whole()
    kept = json.loads(json.dumps(workflow.stored))
    back = restore(kept, catalog=None, registry=REGISTRY)  # type: ignore[arg-type]
    assert isinstance(back, YamlWorkflow)
    assert back.fingerprint == workflow.fingerprint
    assert back.stored == workflow.stored
    assert back.limits == workflow.limits
    assert back.limits.given() == {
        "deadline": 1800.0,
        "steps": 100,
        "model_calls": 50,
        "tokens": 200000,
        "cost": 1.5,
    }
    assert back.shown_nodes() == workflow.shown_nodes() == ["find", "note", "score"]
    assert back.agents["judge"].spec == workflow.agents["judge"].spec
    assert back.needs == ("agent:step",)
    back.graph()


def test_given_a_workflow_of_another_compiler_then_it_is_not_brought_back() -> None:
    kept = {**whole().stored, "format": 0}
    with pytest.raises(WorkflowChanged, match="format 0"):
        restore(kept, catalog=None, registry=REGISTRY)  # type: ignore[arg-type]


def test_given_another_layout_then_the_fingerprint_is_the_same() -> None:
    text = WHOLE.replace("  find: {", "  # a remark\n  find:   {").replace(
        "{type: string, minLength: 3}", "{minLength: 3, type: string}"
    )
    assert text != WHOLE
    assert whole(text).fingerprint == whole().fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{notes: "${notes}", by: "${found}"}', '{by: "${found}", notes: "${notes}"}'),
        ("{deadline: 30m, steps: 100,", "{steps: 100, deadline: 1800,"),
        ("{attempts: 2, delay: 10ms, longest: 1m}", "{longest: 60, delay: 0.01s, attempts: 2}"),
        ("  - START -> find -> note -> score", "  - note -> score\n  - START -> find -> note"),
        ("{ttl: 1h}", "3600"),
        ('{agent: judge, with: {text: "${notes}"}', '{with: {text: "${notes}"}, agent: judge'),
    ],
)
def test_given_another_order_that_means_the_same_then_the_fingerprint_is_the_same(
    old: str, new: str
) -> None:
    assert old in WHOLE
    assert whole(WHOLE.replace(old, new)).fingerprint == whole().fingerprint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("limit: 2", "limit: 3"),
        ("cache: 90m", "cache: 91m"),
        ("tokens: 200000", "tokens: 200001"),
        ("at_most: 2", "at_most: 3"),
        ("Judge ${text}", "Assess ${text}"),
        ("size(score) > 3", "size(score) > 4"),
        ("merge: append", "merge: extend"),
    ],
)
def test_given_another_meaning_then_the_fingerprint_is_another(old: str, new: str) -> None:
    assert whole(WHOLE.replace(old, new)).fingerprint != whole().fingerprint


def test_given_derived_edges_then_the_stored_definition_has_them_written_out() -> None:
    text = "name: d\nnodes:\n  a: {agent: step, writes: x}\n  b: {agent: step, with: {value: '${x}'}}\n"
    workflow = whole(text)
    spelled = whole(text + "edges: [START -> a -> b -> END]\n")
    assert workflow.fingerprint == spelled.fingerprint


def test_given_an_input_then_defaults_are_filled_and_numbers_are_floats() -> None:
    accepted = whole().accept({"topic": "tea"})
    assert accepted == {"topic": "tea", "count": 2.0}
    assert isinstance(accepted["count"], float)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({}, "'topic' is missing (declared in whole.yaml:5:3)"),
        ({"topic": "t"}, "topic: must have at least 3 characters"),
        ({"topic": 3}, "topic: must be text, not 3 (declared in whole.yaml:5:3)"),
        ({"topic": "tea", "cuont": 1}, "cuont: is not expected; did you mean 'count'?"),
        ({"topic": "tea", "count": 10**30}, "count: the number does not fit into 64 bits"),
        ({"topic": "te\0a"}, "topic: the text holds a NUL character"),
        ([], "must be an object"),
    ],
)
def test_given_an_input_that_does_not_fit_then_name_and_place_are_told(
    data: Any, told: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        whole().accept(data)
    assert told in str(caught.value)


def test_given_several_wrong_inputs_then_all_are_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        whole().accept({"topic": 3, "count": "x"})
    assert len(str(caught.value).splitlines()) == 3


def test_given_200_nodes_then_they_load_check_and_compile_with_little_effort() -> None:
    names = [f"n{i}" for i in range(200)]
    nodes = "\n".join(
        f"  {name}: {{agent: step, with: {{value: '${{t}} ${{n{max(i - 1, 0)}_}}'}}, writes: {name}_}}"
        if i
        else f"  {name}: {{agent: step, with: {{value: '${{t}}'}}, writes: {name}_}}"
        for i, name in enumerate(names)
    )
    edges = ["  - START -> n0", *(f"  - n{i} -> n{i + 1}" for i in range(199))]
    edges += [*(f"  - n{i} -> n{i + 2}" for i in range(198)), "  - n199 -> END"]
    text = f"name: big\ninput: {{t: string}}\nnodes:\n{nodes}\nedges:\n" + "\n".join(edges) + "\n"
    flow("a", "  - START -> a -> END").workflow.graph()  # what is imported once is not counted

    def whole_way() -> None:
        workflow = workflow_of(read_yaml(text, "big.yaml"), Registry.of(agent("step")(_step())))
        assert len(workflow.graph().nodes) == 399, "198 gates and the start"

    assert effort(whole_way) < 60, "28 when this was written"


def _step() -> Any:
    def step(value: Any = None) -> Any:
        return value

    return step


# ---- no data, however broken, gives anything but findings ----

_words = st.sampled_from(
    [
        "name",
        "description",
        "input",
        "state",
        "nodes",
        "edges",
        "output",
        "agents",
        "agent",
        "with",
        "writes",
        "each",
        "as",
        "limit",
        "retry",
        "timeout",
        "on_error",
        "ask",
        "workflow",
        "mesh",
        "limits",
        "steps",
        "tokens",
        "cost",
        "deadline",
        "cache",
        "attempts",
        "delay",
        "longest",
        "from",
        "to",
        "node",
        "when",
        "at_most",
        "type",
        "default",
        "merge",
        "a",
        "b",
        "c",
        "START",
        "END",
        "step",
        "x",
        "y",
        "string",
        "a->b",
        "a->[b,c]",
        "[a",
        "${x}",
        "${a.b}",
        "${",
        "${1+}",
        "x==1",
        "60s",
        "fail",
        "continue",
        "append",
        "prompt",
        "items",
        "properties",
    ]
)
_leaves = st.none() | st.booleans() | st.integers(-2, 3) | st.floats(-1, 2) | _words
_broken = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_words, inner, max_size=5),
    max_leaves=25,
)
_near = st.fixed_dictionaries(
    {"name": st.just("f"), "nodes": st.dictionaries(_words, _broken, max_size=4)},
    optional=dict.fromkeys(("input", "state", "edges", "output", "agents", "limits"), _broken),
)


@settings(max_examples=int(os.environ.get("UCOP_EXAMPLES", "300")), deadline=None)
@given(data=_broken | _near)
def test_given_any_data_then_it_gives_findings_with_places_and_never_a_traceback(data: Any) -> None:
    from ucop.graphs.check.check import check

    document = read_yaml(json.dumps(data), "any.yaml")
    found: tuple[Finding, ...] = check(document, REGISTRY).findings
    assert all(finding.position for finding in found)
    assert load(document).definition is not None
    if not any(finding.severity == "error" for finding in found):
        workflow_of(document, REGISTRY).graph()


def test_given_defaults_then_they_hold_for_calls_that_say_nothing_else() -> None:
    text = (
        "name: flow\ndefaults: {retry: {attempts: 5}, timeout: {idle: 10s}, cache: 1h}\nnodes:\n"
        "  a: {agent: step, writes: x}\n"
        "  b: {agent: step, writes: y, timeout: 1m, retry: {attempts: 2}, cache: 2h}\n"
        "  c: {ask: 'Well?', writes: z}\n"
        "  d: {workflow: other, writes: w}\n"
    )
    nodes = load(read_yaml(text, "flow.yaml")).definition.nodes
    found = {
        name: (n.retry and n.retry.attempts, n.timeout, n.idle, n.cache)
        for name, n in nodes.items()
    }
    assert found == {
        "a": (5, None, 10.0, 3600.0),
        "b": (2, 60.0, None, 7200.0),
        "c": (None, None, None, None),
        "d": (5, None, 10.0, None),
    }
