"""Every mistake in a workflow's definition, found in one pass and before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ucop.agents.errors import InvalidDefinition, UnknownAgent
from ucop.agents.finding import Finding
from ucop.agents.spec.spec_file import read_agents
from ucop.agents.text.source import Document

from ..language.definition import Definition
from ..language.load import Loaded, load
from ..topology.topology import topology_of
from ..types.inference import Inference
from ..types.references import Readings, derive_routes, read_references
from .conditions import check_conditions, check_expressions
from .edges import EdgeCheck
from .inputs import InputCheck
from .kinds import (
    FindWorkflow,
    check_error_targets,
    choose_agents,
    find_merges,
    find_workflows,
    report_missing_agent,
)
from .limits import check_limits
from .mesh import choose_members, members_of
from .references import ReferenceCheck
from .report import Report
from .writes import check_answers, check_parallel_writes, warn_of_unused

if TYPE_CHECKING:
    from ucop.agents.spec.agent import Agent
    from ucop.agents.spec.merging import MergeFunction
    from ucop.agents.spec.registry import Registry

    from ..workflow import Workflow


@dataclass(frozen=True)
class Checked:
    """A definition with its agents, as far as both could be understood, and all findings."""

    definition: Definition
    agents: Mapping[str, Agent]
    findings: tuple[Finding, ...]
    workflows: Mapping[str, Workflow] = field(default_factory=dict)
    """Those that its nodes run."""
    merges: Mapping[str, MergeFunction] = field(default_factory=dict)
    """Those that its state names."""


def check(document: Document, registry: Registry, workflows: FindWorkflow | None = None) -> Checked:
    """Read and check a workflow; `registry` holds the agents of the project, and `workflows`
    finds its workflows by name."""
    loaded = load(document)
    own: dict[str, Agent] = {}
    findings = list(loaded.findings)
    if isinstance(document.data, dict) and isinstance(document.data.get("agents"), dict):
        own, wrong = read_agents(document, ("agents",))
        findings += wrong
        for name, missing in registry.mistakes(own.values()).items():
            del own[name]
            findings += missing
    declared = set(loaded.definition.agents)
    report = Report(loaded.definition.places)
    checker = _Checker(loaded, registry.extended(own.values()), declared - set(own), report)
    inner = find_workflows(loaded.definition, workflows, report)
    merges = find_merges(loaded.definition, registry, report)
    checker.run()
    findings += report.findings
    return Checked(checker.definition, checker.agents, tuple(_in_order(findings)), inner, merges)


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise InvalidDefinition if any finding is an error."""
    found = tuple(findings)
    if any(finding.severity == "error" for finding in found):
        raise InvalidDefinition(found)


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    """By place, each finding once."""

    def place(finding: Finding) -> tuple[int, int]:
        position = finding.position
        return (position.line, position.column) if position else (0, 0)

    return sorted(dict.fromkeys(findings), key=place)


class _Checker:
    """One pass over one definition. What rests on something broken is not checked."""

    def __init__(
        self, loaded: Loaded, registry: Registry, broken_agents: set[str], report: Report
    ) -> None:
        self.loaded = loaded
        self.definition = loaded.definition
        self.edges_broken = loaded.edges_broken or not loaded.definition.nodes
        self.registry = registry
        self.broken_agents = broken_agents
        self.agents: dict[str, Agent] = {}
        self.report = report
        self.readings: Readings = read_references(self.definition)

    def run(self) -> None:
        report = self.report
        for fault in self.readings.faults:
            place = report.inside(fault.path, fault.offset, fault.needle)
            report.error("bad-expression", fault.message, place, fault.hint)
        self.definition = choose_agents(self.definition, self.registry, report)
        self.definition = choose_members(self.definition, self.registry, self.broken_agents, report)
        self.find_agents()
        self.edges_broken |= not check_error_targets(self.definition, report)
        if self.definition.derived:
            self.derive()
        definition, readings = self.definition, self.readings
        topology = topology_of(definition)
        sound = not self.edges_broken and EdgeCheck(definition, topology, report).run()
        inference = Inference(definition, readings, self.agents)
        known = topology if sound else None
        ReferenceCheck(definition, readings, inference, known, report).run()
        InputCheck(definition, readings, inference, report).run()
        check_answers(definition, inference, report)
        check_expressions(definition, readings, inference, report)
        check_conditions(readings, inference, report)
        if sound:
            check_parallel_writes(definition, topology, report)
            check_limits(definition, topology, report)
        if not self.loaded.findings and report.sound:
            warn_of_unused(definition, readings, report)

    def find_agents(self) -> None:
        self.agents.update({name: self.registry.get(name) for name in members_of(self.definition)})
        for node in self.definition.nodes.values():
            if not node.agent or node.agent in self.broken_agents:
                continue
            try:
                self.agents[node.agent] = self.registry.get(node.agent)
            except UnknownAgent:
                path = (*node.path, "agent")
                report_missing_agent(node.agent, path, self.registry, self.report)

    def derive(self) -> None:
        routes, ambiguous = derive_routes(self.definition, self.readings)
        self.definition = replace(self.definition, routes=routes)
        for node, name in ambiguous:
            self.report.error(
                "several-writers",
                f"{name!r} is written by several nodes, so the edges do not follow from the "
                "references",
                self.report.at((*node.path, "writes")),
                "add 'edges'",
            )
        self.edges_broken = self.edges_broken or bool(ambiguous)
