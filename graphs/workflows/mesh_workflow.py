"""A workflow that is nothing but a mesh: its router and its agents are the job's own graph, so
that each hop is a checkpoint of the job, to look at and to fork from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ucop.agents.errors import InvalidDefinition
from ucop.agents.finding import Finding
from ucop.agents.run.asking import is_said
from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.schema import normalise
from ucop.agents.text.validation import Schema, validate

from ..check.check import raise_errors
from ..check.mesh import choose_members, declaring, members_of
from ..check.report import Report
from ..edit import Update, chosen
from ..errors import InvalidInput
from ..language.definition import MESH, RESULT, SAID, Kind, Mesh
from ..language.load import load_data
from .yaml_workflow import YamlWorkflow

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from ucop.agents.spec.agent import Agent
    from ucop.agents.spec.registry import Registry

    from ..pregel.superstep import Ran, Superstep, Write


class MeshWorkflow(YamlWorkflow):
    """A definition of kind mesh, bound to its agents."""

    @property
    def mesh(self) -> Mesh:
        mesh = self.definition.nodes[MESH].mesh
        assert mesh is not None
        return mesh

    def start(self, data: Mapping[str, Any]) -> dict[str, Any]:
        from ..nodes.mesh_graph import start_of

        return start_of({**dict.fromkeys(self.definition.inputs), **data})

    def result(self, values: Mapping[str, Any]) -> Any:
        return values.get(RESULT) if self.definition.output is None else super().result(values)

    def shown_nodes(self) -> list[str]:
        return list(self.mesh.agents)

    @property
    def optional(self) -> tuple[str, ...]:
        return ()

    def edited_as(self, ran: Sequence[str], as_node: str | None) -> str:
        if as_node is not None and as_node not in self.mesh.agents:
            meant = did_you_mean(as_node, self.mesh.agents, "; ")
            raise InvalidInput(f"no agent {as_node!r} in the mesh{meant}")
        return chosen(ran, as_node)

    def check_edit(self, values: Mapping[str, Any]) -> None:
        if SAID in values and not is_said(values[SAID]):
            raise InvalidInput(
                f'{SAID} must be {{"answer": …}} or {{"ask": {{"capability": …, "data": {{…}}}}}}'
            )

    async def rerouted(self, step: Superstep, task: Ran, values: Sequence[Write]) -> list[Write]:
        # Agents lead to the router, which has said by a Command where to go on.
        return task.routes

    def loose_update(self, due: Sequence[str], values: Mapping[str, Any], node: str) -> Update:
        from langgraph.types import Command

        if node in self.mesh.agents:
            return dict(values), node
        return Command(update=dict(values), goto=list(due)), node

    def state_names(self) -> list[str]:
        return [*self.definition.inputs, SAID]

    def _compile(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        from ..nodes.mesh_graph import compile_mesh

        return compile_mesh(
            self.mesh,
            self.agents,
            name=self.name,
            inputs=self.definition.inputs,
            opening=self._opening,
        )

    @cached_property
    def _opening(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        from ..nodes.node import filled_inputs

        return filled_inputs(self.definition, self.definition.nodes[MESH])


def mesh_among(
    registry: Registry,
    *,
    agent: str | None = None,
    capability: str | None = None,
    agents: Sequence[str] = (),
    max_hops: int | None = None,
) -> MeshWorkflow:
    """The mesh that begins with an agent, or with one that declares a capability; its inputs are
    those of that agent. `agents` may be called; without them, whom the agents may ask.

    Raises UnknownAgent, and InvalidDefinition if nobody could answer.
    """
    given = {"agents": list(agents), "max_hops": max_hops}
    language = {
        "name": f"mesh-{agent or capability}",
        "kind": Kind.mesh.value,
        "input": _inputs(_first(registry, agent, capability).input_schema),
        MESH: {
            "entry": agent or {"capability": capability},
            **{key: value for key, value in given.items() if value},
        },
    }
    loaded = load_data(language)
    raise_errors(loaded.findings)
    report = Report(loaded.definition.places)
    definition = choose_members(loaded.definition, registry, (), report)
    raise_errors(report.findings)
    members = {each: registry.get(each) for each in members_of(definition)}
    return MeshWorkflow(definition, members, origin=f"agent {agent}" if agent else "")


def _first(registry: Registry, agent: str | None, capability: str | None) -> Agent:
    if agent is not None:
        return registry.get(agent)
    if able := declaring(registry, capability or ""):
        return able[0]
    message = f"no agent has the capability {capability!r}"
    hint = "`ucop mesh agents` shows who declares what"
    raise InvalidDefinition([Finding.error("unknown-capability", message, hint=hint)])


def _inputs(schema: Schema) -> dict[str, Any]:
    """An agent's inputs as a workflow declares them. What need not be given and has no default
    is left out, unless it may be null."""
    shared = {key: schema[key] for key in ("$defs",) if key in schema}
    found = {}
    for name, field in schema.get("properties", {}).items():
        declared = {**normalise(field), **shared}
        if name in schema.get("required", ()) or "default" in declared:
            found[name] = declared
        elif not validate(declared, None):
            found[name] = {**declared, "default": None}
    return found
