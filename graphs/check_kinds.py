"""Mistakes in what nodes do and in how they go on after errors."""

from __future__ import annotations

from ucop.agents.source import Position
from ucop.graphs.definition import END, ERROR_FIELDS, START, Definition, Node, OnError
from ucop.graphs.expressions import Reference
from ucop.graphs.report import Report, meant, one_of


def check_error_targets(definition: Definition, report: Report) -> bool:
    """Tell of errors that cannot lead where `on_error` says; whether the edges make sense."""
    wrong = [node for node in definition.nodes.values() if not _leads_on(definition, node, report)]
    return not wrong


def _leads_on(definition: Definition, node: Node, report: Report) -> bool:
    if isinstance(node.on_error, OnError):
        return True
    place = report.at((*node.path, "on_error", "node"))
    if node.on_error not in (*definition.nodes, END):
        known = (*definition.nodes, END)
        what = "no edge leads to START" if node.on_error == START else _no_node(node.on_error)
        report.error("unknown-node", what, place, meant(node.on_error, known))
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
        hint = meant(name, definition.nodes) or one_of(definition.catching)
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
            meant(reference.path[2], ERROR_FIELDS) or one_of(ERROR_FIELDS),
        )


def _no_node(name: object) -> str:
    return f"there is no node {name!r}"
