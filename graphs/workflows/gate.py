"""The NoMockGate's first half: the test doubles that a workflow would call.

Everything that its nodes call is looked at: agents, the merges of its state, workflows inside,
and of a Python graph the nodes and the functions that choose their edges. Agents that come
with ucop are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ucop.agents.errors import DoublesRefused
from ucop.agents.finding import Finding, Position
from ucop.agents.production.doubles import Double, doubles_in, kind_of_double
from ucop.agents.spec.binding import agents_inside
from ucop.agents.spec.tool import Tool

from ..language.definition import MESH
from ..workflow import Workflow
from .yaml_workflow import YamlWorkflow

if TYPE_CHECKING:
    from ucop.agents.models.models import Models
    from ucop.agents.spec.agent import Agent

CODE = "test-double"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A test double, and the node that would call it."""

    finding: Finding
    node: str | None = None
    """None if it belongs to no single node."""

    def __str__(self) -> str:
        position = self.finding.position
        return f"{position}: {self.finding.message}" if position else self.finding.message


def refuse_doubles(workflow: Workflow, models: Models | None = None) -> None:
    """Raise DoublesRefused, which names each test double, where the workflow has any.

    `models` are those that its agents would ask, if they are known.
    """
    findings = [refusal.finding for refusal in refusals(workflow)]
    if models is not None and (what := kind_of_double(models)):
        findings.append(_finding(f"the engine's models are a test double: {what}", None))
    if findings:
        raise DoublesRefused(findings)


def refusals(workflow: Workflow) -> list[Refusal]:
    """The test doubles that a workflow would call, with their nodes and places."""
    if isinstance(workflow, YamlWorkflow):
        return list(_of_definition(workflow))
    return list(_of_graph(workflow))


def doubles_of(agent: Agent) -> list[Double]:
    """The test doubles that an agent is made of."""
    if agent.bundled:
        return []
    if agent.spec is None:
        return doubles_in(agent.body, agent.name)
    found: list[Double] = []
    for one in agents_inside([agent]):
        if one.spec is None and not one.bundled:
            found += doubles_in(one.body, f"{agent.name} > {one.name}")
        for name, bound in one.tools.items():
            if isinstance(bound, Tool):
                found += doubles_in(bound.body, f"{one.name} > {name}")
    return found


def agent_finding(agent: Agent, double: Double) -> Finding:
    """A double of an agent, for whoever asks about the agent alone."""
    return _finding(f"agent {agent.name!r} uses a test double: {double}", double.position)


def _of_definition(workflow: YamlWorkflow) -> Iterator[Refusal]:
    definition = workflow.definition
    found = {name: doubles_of(agent) for name, agent in workflow.agents.items()}
    for node in definition.nodes.values():
        if node.workflow:
            yield from _inside(node.name, refusals(workflow.workflows[node.workflow]))
        called = [node.agent] if node.mesh is None else node.mesh.agents
        place = definition.places.at((*node.path, "agent" if node.mesh is None else MESH))
        for agent in called:
            for double in found.get(agent, ()):
                message = f"node {node.name!r} calls agent {agent!r}, with a test double: {double}"
                yield Refusal(node=node.name, finding=_finding(message, place))
    for name, merge in workflow.merges.items():
        for double in doubles_in(merge.function, name):
            message = f"merge {name!r} uses a test double: {double}"
            yield Refusal(finding=_finding(message, double.position))


def _inside(node: str, inner: list[Refusal]) -> Iterator[Refusal]:
    for refusal in inner:
        named = f"{node}/{refusal.node}" if refusal.node else node
        message = f"in node {node!r}: {refusal.finding.message}"
        yield Refusal(node=named, finding=replace(refusal.finding, message=message))


def _of_graph(workflow: Workflow) -> Iterator[Refusal]:
    builder = getattr(workflow.graph(), "builder", None)
    if builder is None:  # made by `@entrypoint`, or by hand
        for name, made in workflow.graph().nodes.items():
            yield from _of_node(workflow, name, [made.bound])
        return
    for node, spec in builder.nodes.items():
        branches = builder.branches.get(node, {}).values()
        called = [spec.runnable, *(branch.path for branch in branches)]
        yield from _of_node(workflow, node, called)
    entries = builder.branches.get("__start__", {}).values()
    yield from _of_node(workflow, "__start__", [branch.path for branch in entries])


def _of_node(workflow: Workflow, node: str, called: list[Any]) -> Iterator[Refusal]:
    for value in called:
        for double in doubles_in(value, node):
            message = f"node {node!r} of {workflow.name!r} uses a test double: {double}"
            yield Refusal(node=node, finding=_finding(message, double.position))


def _finding(message: str, position: Position | None) -> Finding:
    hint = "in production mode only the real thing may run"
    return Finding.error(CODE, message, position, hint)
