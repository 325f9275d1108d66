"""The NoMockGate names every test double that a workflow would call, with node and place."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.support import doubles as held
from ucop.agents import DoublesRefused, Registry, agent, merge
from ucop.agents.text.source import read_yaml
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.gate import refusals, refuse_doubles
from ucop.graphs.workflows.python_workflow import PythonWorkflow
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

FLOW = """\
name: letters
input: {topic: string}
state: {all: {type: array, items: string, merge: {custom: joined}}}
nodes:
  plan: {agent: planner, with: {topic: "${topic}"}, writes: all}
  write: {agent: writer, with: {topic: "${topic}"}, writes: all}
edges:
  - START -> [plan, write] -> END
"""
OUTER = """\
name: outer
input: {topic: string}
nodes:
  letters: {workflow: letters, with: {topic: "${topic}"}, writes: done}
"""


@agent
def planner(topic: str) -> str:
    return topic


@agent
def writer(topic: str) -> str:
    return str(held.fake.invoke(topic).content)


@agent("writer")
def honest_writer(topic: str) -> str:
    return str(held.real.invoke(topic).content)


@merge
def joined(old: Any, new: Any) -> Any:
    return [*(old or []), new]


@merge("joined")
def joined_by_mock(old: Any, new: Any) -> Any:
    return held.mocked(old, new)


class State(TypedDict):
    text: str


def letters(*made: Any) -> YamlWorkflow:
    return workflow_of(read_yaml(FLOW, "letters.yaml"), Registry.of(planner, *made))


def graph(**nodes: Any) -> StateGraph[State]:
    made = StateGraph(State)
    for name, node in nodes.items():
        made.add_node(name, node)
        made.add_edge(START, name)
    return made


def test_a_double_of_an_agent_stands_at_the_node_that_calls_it() -> None:
    (refusal,) = refusals(letters(writer, joined))
    assert refusal.node == "write"
    assert str(refusal.finding.position) == "letters.yaml:6:18"
    said = "node 'write' calls agent 'writer', with a test double: writer > held.fake is FakeList"
    assert refusal.finding.message.startswith(said)


def test_a_merge_may_be_a_double_too() -> None:
    (refusal,) = refusals(letters(honest_writer, joined_by_mock))
    assert refusal.node is None
    assert "merge 'joined' uses a test double: joined > held.mocked" in refusal.finding.message


def test_a_workflow_of_real_parts_is_let_through() -> None:
    refuse_doubles(letters(honest_writer, joined))


def test_a_job_that_was_kept_is_looked_at_as_well() -> None:
    registry = Registry.of(planner, writer, joined)
    kept = letters(writer, joined).stored
    catalog = Catalog(None, (), registry)
    (refusal,) = refusals(restore(kept, catalog=catalog, registry=registry))
    assert refusal.node == "write"
    assert refusal.finding.position is None


def test_doubles_of_a_workflow_inside_are_named_by_their_way(tmp_path: Path) -> None:
    (tmp_path / "letters.yaml").write_text(FLOW, encoding="utf-8")
    (tmp_path / "outer.yaml").write_text(OUTER, encoding="utf-8")
    catalog = Catalog(tmp_path, ["*.yaml"], Registry.of(planner, writer, joined))
    (refusal,) = refusals(catalog.get("outer"))
    assert refusal.node == "letters/write"
    assert refusal.finding.message.startswith("in node 'letters': node 'write' calls")


def test_nodes_and_choices_of_a_python_graph_are_looked_at() -> None:
    made = graph(good=held.honest, bad=held.by_helper, tools=held.tools)
    made.add_conditional_edges("good", held.by_global, {"x": END})
    found = refusals(PythonWorkflow("made", made))
    assert [refusal.node for refusal in found] == ["good", "bad", "tools"]


def test_a_graph_inside_a_graph_is_looked_at() -> None:
    outer = graph(inner=graph(deep=held.by_chain).compile())
    (refusal,) = refusals(PythonWorkflow("outer", outer))
    assert refusal.node == "inner"
    assert "by_chain" not in refusal.finding.message
    assert "FakeListChatModel" in refusal.finding.message


def test_every_double_is_named_at_once() -> None:
    made = graph(one=held.by_global, two=held.by_inner, three=held.honest)
    with pytest.raises(DoublesRefused) as caught:
        refuse_doubles(PythonWorkflow("made", made), MagicMock())
    assert [finding.code for finding in caught.value.findings] == ["test-double"] * 3
    for told in ("'one'", "'two'", "the engine's models"):
        assert told in str(caught.value)


@pytest.mark.parametrize(
    "name", ["blog", "quick_draft", "research", "quality_gate", "code", "story_desk"]
)
def test_the_bundled_workflows_are_ready_for_production(name: str) -> None:
    refuse_doubles(Catalog(None).get(name))
