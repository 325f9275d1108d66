"""Meshes as workflows: kept, restored, drawn, planned, guarded, and run inside others."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from tests.support import doubles as held
from tests.support.flows import Flow
from ucop.agents import AgentContext, DoublesRefused, ModelUse, Registry, agent
from ucop.agents.text.source import read_yaml
from ucop.graphs.errors import InvalidInput
from ucop.graphs.pictures.text import draw
from ucop.graphs.plan.plan import all_nodes, plan_of
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.gate import refuse_doubles
from ucop.graphs.workflows.mesh_workflow import MeshWorkflow, mesh_among
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow


@agent(capabilities=["write"], asks=["research"])
def writer(topic: str, context: AgentContext, words: int = 3) -> str:
    return f"{topic}: {context.ask('research', {'topic': topic})}"


@agent(capabilities=["research"])
def anna(topic: str) -> str:
    return "notes"


@agent("anna", capabilities=["research"])
def broken(topic: str) -> str:
    raise OSError("no line")


@agent("anna", capabilities=["research"])
def pretender(topic: str) -> str:
    return str(held.fake.invoke(topic).content)


NEWS = """\
kind: mesh
name: news
input: {topic: string}
mesh: {entry: writer, max_hops: 4, timeout: {idle: 5s}, retry: {attempts: 2, delay: 10ms}}
agents:
  bert: {capabilities: [research], prompt: "On ${topic}", input: {topic: string}}
output: "${result.answer}"
"""
INSIDE = """\
name: outer
input: {topic: string}
nodes:
  write: {mesh: {entry: {capability: write}}, with: {topic: "${topic}"}, writes: text, on_error: continue}
  check: {agent: step, with: {value: "${default(text.answer, errors.write.type)}"}, writes: last}
edges: [START -> write -> check -> END]
output: "${last}"
"""
REGISTRY = Registry.of(writer, anna)


def news(text: str = NEWS, registry: Registry = REGISTRY) -> YamlWorkflow:
    return workflow_of(read_yaml(text, "news.yaml"), registry)


def test_a_job_keeps_who_may_be_called_and_a_file_that_changed_does_not_matter() -> None:
    first = news()
    assert isinstance(first, MeshWorkflow)
    assert first.mesh.agents == ("writer", "anna", "bert")
    kept = first.stored
    assert kept["definition"]["mesh"]["agents"] == ["writer", "anna", "bert"]
    again = restore(kept, catalog=Catalog(None, (), REGISTRY), registry=REGISTRY)
    assert isinstance(again, MeshWorkflow)
    assert (again.fingerprint, again.mesh) == (first.fingerprint, first.mesh)
    assert again.needs == ("agent:writer", "agent:anna")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("{entry: writer, max_hops: 4", "{max_hops: 4, entry: writer", True),
        ("max_hops: 4", "max_hops: 5", False),
        ("entry: writer", "entry: {capability: write}", False),
        ("On ${topic}", "About ${topic}", False),
    ],
)
def test_a_fingerprint_tells_what_may_go_another_way(old: str, new: str, same: bool) -> None:
    assert (news().fingerprint == news(NEWS.replace(old, new)).fingerprint) == same


@pytest.mark.parametrize("format", ["mermaid", "dot", "svg"])
def test_a_picture_shows_the_router_and_what_each_agent_can_do(format: Any) -> None:
    drawn = draw(news(), format)
    for told in ("router", "begins with writer", "at most 4 hops", "may ask for research"):
        assert told in drawn
    assert "mesh of writer, anna" in draw(Flow(INSIDE, python=[writer, anna]).workflow, format)


def test_a_plan_names_who_may_be_asked_and_which_models_but_no_number_of_calls() -> None:
    use = ModelUse(asked="default", name="ollama:x", endpoint="", embedded=False, note="")
    plan = plan_of(news(), {"topic": "tea"}, answers={"default": use})
    assert [[node.name for node in wave] for wave in plan.waves] == [["writer"], ["anna", "bert"]]
    assert [(model.asked, model.nodes) for model in plan.models] == [("default", ("bert",))]
    assert plan.calls is None
    (first,), _ = plan.waves
    assert (first.may_ask, first.at_will) == (True, True)
    inner = plan_of(Flow(INSIDE, python=[writer, anna]).workflow, {"topic": "tea"}, answers={})
    assert [node.name for node in all_nodes(inner.waves)] == [
        *("write", "write/writer", "write/anna", "check")
    ]


def test_a_mesh_with_a_test_double_does_not_start_in_production() -> None:
    with pytest.raises(DoublesRefused, match=r"news.yaml:4:7: node 'mesh' calls agent 'anna'"):
        refuse_doubles(news(registry=Registry.of(writer, pretender)))


async def test_an_error_of_a_mesh_is_caught_like_that_of_any_node() -> None:
    good, bad = Flow(INSIDE, python=[writer, anna]), Flow(INSIDE, python=[writer, broken])
    assert await good.run({"topic": "tea"}) == "tea: notes"
    assert await bad.run({"topic": "tea"}) == "MeshAgentDead"


async def test_a_mesh_is_its_own_graph_with_a_checkpoint_for_each_hop() -> None:
    flow = Flow(INSIDE, python=[writer, anna])
    flow.workflow = news(NEWS.replace("agents:", "x:").split("x:")[0])
    saver = InMemorySaver()
    assert (await flow.run({"topic": "tea"}, saver=saver))["answer"] == "tea: notes"
    graph = flow.workflow.graph().copy({"checkpointer": saver})
    found = [s async for s in graph.aget_state_history({"configurable": {"thread_id": "1"}})]
    due = [snapshot.next for snapshot in reversed(found)]
    assert [one[0] for one in due if one] == [
        *("__start__", "router?", "writer", "router?", "anna", "router?", "writer", "router?")
    ]


def test_a_mesh_of_the_moment_takes_what_its_first_agent_takes() -> None:
    made = mesh_among(REGISTRY, agent="writer", max_hops=7)
    assert made.accept({"topic": "tea"}) == {"topic": "tea", "words": 3}
    assert (made.mesh.max_hops, made.mesh.agents) == (7, ("writer", "anna"))
    with pytest.raises(InvalidInput, match="topic"):
        made.accept({})
    able = mesh_among(REGISTRY, capability="research")
    assert (able.name, able.mesh.agents) == ("mesh-research", ("anna",))
