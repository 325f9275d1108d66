"""Definitions that are broken on purpose, with marks where their findings belong."""

from __future__ import annotations

from ucop.agents.errors import InvalidDefinition
from ucop.agents.finding import Finding
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.check.check import check

MARK = "¶"
"""Stands right before each place where a finding belongs, in order."""


def findings_of(text: str, registry: Registry) -> tuple[Finding, ...]:
    """What reading and checking a text finds."""
    try:
        document = read_yaml(text, "flow.yaml")
    except InvalidDefinition as error:
        return error.findings
    return check(document, registry).findings


def marked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and the places where they stood."""
    places = []
    lines = []
    for number, line in enumerate(text.split("\n"), start=1):
        while MARK in line:
            column = line.index(MARK)
            places.append((number, column + 1))
            line = line.replace(MARK, "", 1)
        lines.append(line)
    return "\n".join(lines), places


def workflow(nodes: str, edges: str | None = None, rest: str = "") -> str:
    """A workflow's text around its nodes."""
    listed = "" if edges is None else f"edges:\n{edges}\n"
    return f"name: flow\n{rest}nodes:\n{nodes}\n{listed}"
