"""A node that names a capability calls an agent that declares it."""

from __future__ import annotations

import json

from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_file import workflow_of


@agent("zeta", capabilities=["count"])
def zeta(text: str) -> int:
    return 1


@agent("beta", capabilities=["count", "sum"])
def beta(text: str) -> int:
    return 2


FLOW = "name: flow\nnodes:\n  a: {agent: {capability: count}, with: {text: hello}, writes: n}\n"


def test_given_several_agents_then_the_first_by_name_is_called() -> None:
    workflow = workflow_of(read_yaml(FLOW, "flow.yaml"), Registry.of(zeta, beta))
    assert workflow.definition.nodes["a"].agent == "beta"
    assert workflow.needs == ("agent:beta",)
    assert list(workflow.agents) == ["beta"]


def test_given_an_agent_of_the_file_then_it_counts_too() -> None:
    own = "agents:\n  alpha: {prompt: '${text}', input: {text: string}, capabilities: [count]}\n"
    workflow = workflow_of(read_yaml(FLOW + own, "flow.yaml"), Registry.of(zeta, beta))
    assert workflow.definition.nodes["a"].agent == "alpha"


def test_given_a_job_then_it_keeps_the_agent_that_was_chosen() -> None:
    kept = workflow_of(read_yaml(FLOW, "flow.yaml"), Registry.of(zeta)).stored
    registry = Registry.of(zeta, beta)
    catalog = Catalog(None, (), registry)
    back = restore(json.loads(json.dumps(kept)), catalog=catalog, registry=registry)
    assert back.stored["definition"]["nodes"]["a"]["agent"] == "zeta"
