"""Mistakes in a mesh: agents that are not there, and questions that nobody in it could answer."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ucop.agents.text.places import Path

from ..language.definition import MESH, Definition, Mesh, Node
from .kinds import report_missing_agent, report_missing_capability
from .report import Report

if TYPE_CHECKING:
    from ucop.agents.spec.agent import Agent
    from ucop.agents.spec.registry import Registry


def choose_members(
    definition: Definition, registry: Registry, broken: Container[str], report: Report
) -> Definition:
    """The definition with everyone who may be called in its meshes, by name.

    `broken` are agents of the file's own that cannot be read: told elsewhere.
    """
    nodes = dict(definition.nodes)
    for node in definition.nodes.values():
        if node.mesh is not None:
            mesh = _Members(node, node.mesh, registry, broken, report).choose()
            nodes[node.name] = replace(node, mesh=mesh)
    return replace(definition, nodes=nodes)


def members_of(definition: Definition) -> list[str]:
    """Every agent of the definition's meshes, by name."""
    meshes = [node.mesh for node in definition.nodes.values() if node.mesh is not None]
    return list(dict.fromkeys(name for mesh in meshes for name in mesh.agents))


def declaring(registry: Registry, capability: str) -> list[Agent]:
    """The agents that declare a capability, by name; those that come with ucop only if a
    project has none of its own."""
    able = registry.find(capability=capability)
    return [agent for agent in able if not agent.bundled] or able


class _Members:
    """The agents of one mesh, found and checked."""

    def __init__(
        self, node: Node, mesh: Mesh, registry: Registry, broken: Container[str], report: Report
    ) -> None:
        self.mesh, self.registry, self.broken, self.report = mesh, registry, broken, report
        self.path: Path = (*node.path, MESH)

    def choose(self) -> Mesh:
        mesh = self.mesh
        first = self.entries()
        if mesh.agents or mesh.capabilities:
            members = [*first, *self.listed_agents()]
        else:
            members = list(self.reachable_agents(first))
        names = tuple(dict.fromkeys(agent.name for agent in members))
        if first and self.report.sound:
            self.check_asks([self.registry.get(name) for name in names])
        return replace(mesh, agents=names, capabilities=())

    def entries(self) -> list[Agent]:
        """Who may be called first."""
        if self.mesh.entry_capability is not None:
            return self.declaring(self.mesh.entry_capability, (*self.path, "entry", "capability"))
        return self.agent_named(self.mesh.entry, (*self.path, "entry")) if self.mesh.entry else []

    def listed_agents(self) -> Iterator[Agent]:
        """Those that `agents` names, one by one or by what they can do."""
        given = self.report.places
        for index, name in enumerate(self.mesh.agents):
            yield from self.agent_named(name, self._item(name, index))
        for index, name in enumerate(self.mesh.capabilities):
            place = self._item({"capability": name}, index)
            yield from self.declaring(name, (*place, "capability") if given.has(place) else place)

    def reachable_agents(self, first: list[Agent]) -> Iterator[Agent]:
        """Those first called, and everyone who declares what one of these may ask for."""
        due, seen = list(first), set()
        while due:
            agent = due.pop(0)
            if agent.name in seen:
                continue
            seen.add(agent.name)
            yield agent
            for capability in agent.asks:
                due += declaring(self.registry, capability)

    def agent_named(self, name: str, path: Path) -> list[Agent]:
        if name in self.registry:
            return [self.registry.get(name)]
        if name not in self.broken:
            report_missing_agent(name, path, self.registry, self.report)
        return []

    def declaring(self, capability: str, path: Path) -> list[Agent]:
        if able := declaring(self.registry, capability):
            return able
        report_missing_capability(capability, path, self.registry, self.report)
        return []

    def check_asks(self, members: list[Agent]) -> None:
        """Everything that an agent says it may ask for, somebody else can do."""
        for agent in members:
            others = {
                name for other in members if other is not agent for name in other.capabilities
            }
            for capability in agent.asks:
                if capability in others:
                    continue
                able = [other.name for other in self.registry.find(capability=capability)]
                able = [name for name in able if name != agent.name]
                self.report.error(
                    "missing-capability",
                    f"agent {agent.name!r} may ask for {capability!r}, and no other agent of the "
                    "mesh declares it",
                    self.report.at((*self.path, "agents") if self.mesh.agents else self.path),
                    f"add {' or '.join(able)} to 'agents'" if able else None,
                )

    def _item(self, item: object, index: int) -> Path:
        """Where an item of `agents` stands: names and capabilities may be mixed there."""
        document = self.report.places.document
        if document is None:
            return (*self.path, "agents", index)
        listed = document.value((*self.path, "agents"))
        return (*self.path, "agents", listed.index(item))
