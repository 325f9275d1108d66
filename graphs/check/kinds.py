"""Mistakes in what nodes do, in how they go on after errors, and in how their writes meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ucop.agents.errors import InvalidDefinition, UnknownMerge
from ucop.agents.finding import Position
from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.places import Path
from ucop.agents.text.validation import validate

from ..errors import UnknownWorkflow
from ..expressions.cel import Reference
from ..language.definition import END, ERROR_FIELDS, START, Definition, Node, OnError
from .report import Report, one_of

if TYPE_CHECKING:
    from ucop.agents.spec.merging import MergeFunction
    from ucop.agents.spec.registry import Registry

    from ..workflow import Workflow

FindWorkflow = Callable[[str], "Workflow"]
"""Finds a workflow by name. Raises UnknownWorkflow, InvalidDefinition."""


def choose_agents(definition: Definition, registry: Registry, report: Report) -> Definition:
    """The definition with an agent for each capability that nodes name: the first by name."""
    nodes = dict(definition.nodes)
    for node in definition.nodes.values():
        if node.capability is None:
            continue
        able = registry.find(capability=node.capability)
        if able:
            nodes[node.name] = replace(node, agent=able[0].name)
            continue
        path = (*node.path, "agent", "capability")
        report_missing_capability(node.capability, path, registry, report)
    return replace(definition, nodes=nodes)


def report_missing_capability(
    capability: str, path: Path, registry: Registry, report: Report
) -> None:
    """Report that no agent of the project has a capability."""
    known = sorted({name for agent in registry for name in agent.capabilities})
    report.error(
        "unknown-capability",
        f"no agent has the capability {capability!r}",
        report.at(path),
        did_you_mean(capability, known) or one_of(known),
    )


def report_missing_agent(name: str, path: Path, registry: Registry, report: Report) -> None:
    """Report that there is no agent of this name."""
    hint = did_you_mean(name, registry.names()) or None
    report.error("unknown-agent", f"there is no agent {name!r}", report.at(path), hint)


def find_workflows(
    definition: Definition, find: FindWorkflow | None, report: Report
) -> dict[str, Workflow]:
    """The workflows that nodes run, by name; tells of those that cannot be run."""
    found: dict[str, Workflow] = {}
    for node in definition.nodes.values():
        if not node.workflow:
            continue
        place = report.at((*node.path, "workflow"))
        try:
            if find is None:
                raise UnknownWorkflow(f"there is no workflow named {node.workflow!r}")
            found[node.workflow] = inner = find(node.workflow)
        except UnknownWorkflow as error:
            message, _, hint = str(error).partition("; ")
            report.error("unknown-workflow", message, place, hint or None)
        except InvalidDefinition as error:
            why = error.findings[0]
            where = f"{why.position}: " if why.position else ""
            code = why.code if why.code == "workflow-cycle" else "broken-workflow"
            message = f"workflow {node.workflow!r} cannot be run: {where}{why.message}"
            report.error(code, message, place)
        else:
            _check_given(node, inner, report)
    return found


def find_merges(
    definition: Definition, registry: Registry, report: Report
) -> dict[str, MergeFunction]:
    """The project's functions that merge names of the state; tells of those that are not there."""
    found: dict[str, MergeFunction] = {}
    for channel in definition.state.values():
        if not channel.function:
            continue
        try:
            found[channel.function] = registry.merge(channel.function)
        except UnknownMerge as error:
            message, _, hint = str(error).partition("; ")
            place = report.at((*channel.path, "merge", "custom"))
            report.error("unknown-merge", message, place, hint)
    return found


def _check_given(node: Node, workflow: Workflow, report: Report) -> None:
    """Check the names that a node gives to a workflow, and what needs no run to be known."""
    schema: Mapping[str, Any] = workflow.input_schema or {}
    known: Mapping[str, Any] = schema.get("properties", {})
    here = (*node.path, "with")
    for name in schema.get("required", ()):
        if name not in node.inputs:
            place = report.key(here if node.inputs else node.path)
            message = f"workflow {node.workflow!r} needs the input {name!r}"
            report.error("missing-input", message, place)
    for name, value in node.inputs.items():
        if name in known:
            problems = () if "${" in str(value) else validate(known[name], value)
            for problem in problems:
                message = f"input {name!r} of workflow {node.workflow!r}: {problem}"
                report.error("wrong-input", message, report.at((*here, name, *problem.path)))
        elif schema.get("additionalProperties") is False:
            message = f"workflow {node.workflow!r} has no input {name!r}"
            hint = did_you_mean(name, known) or one_of(known)
            report.error("unknown-input", message, report.key((*here, name)), hint)


def check_error_targets(definition: Definition, report: Report) -> bool:
    """Tell of errors that cannot lead where `on_error` says; whether the edges make sense."""
    wrong = [node for node in definition.nodes.values() if not _leads_on(definition, node, report)]
    return not wrong


def error_path(node: Node, report: Report) -> Path:
    """Where the file says what an error of `node` leads to: at the node, or for all of them."""
    own: Path = (*node.path, "on_error", "node")
    return own if report.has(own) else ("defaults", "on_error", "node")


def _leads_on(definition: Definition, node: Node, report: Report) -> bool:
    if isinstance(node.on_error, OnError):
        return True
    place = report.at(error_path(node, report))
    if node.on_error not in (*definition.nodes, END):
        known = (*definition.nodes, END)
        what = "no edge leads to START" if node.on_error == START else _no_node(node.on_error)
        hint = did_you_mean(node.on_error, known) or None
        report.error("unknown-node", what, place, hint)
        return False
    if definition.derived:
        report.error(
            "error-node-derived",
            "where an error leads to a node, the edges do not follow from the references",
            place,
            "add 'edges'",
        )
        return False
    return True


def check_error_reference(
    definition: Definition, reference: Reference, place: Position | None, report: Report
) -> None:
    """Check one `errors.<node>…`."""
    if len(reference.path) < 2:
        return
    name = reference.path[1]
    if not isinstance(name, str) or name not in definition.nodes:
        hint = did_you_mean(name, definition.nodes) or one_of(definition.catching)
        report.error("unknown-node", f"{reference.text}: {_no_node(name)}", place, hint)
    elif not definition.nodes[name].catches:
        report.error(
            "surely-null",
            f"{reference.text} is always null: an error of {name} ends the job",
            place,
            f"give {name} an 'on_error'",
        )
    elif len(reference.path) > 2 and reference.path[2] not in ERROR_FIELDS:
        report.error(
            "unknown-field",
            f"{reference.text}: errors.{name} has no {reference.path[2]!r}",
            place,
            did_you_mean(reference.path[2], ERROR_FIELDS) or one_of(ERROR_FIELDS),
        )


def _no_node(name: object) -> str:
    return f"there is no node {name!r}"
