"""Pictures of workflows as text: Mermaid, DOT and SVG.

Kinds of nodes differ in shape and in words, never in colour alone. Loops are dashed and say
how often; error edges are dotted. All text is escaped for the format it goes into.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from ..language.definition import END, START
from ..language.kind import NodeKind
from ..workflow import Workflow
from .picture import Arrow, Box, Picture, picture_of

Format = Literal["mermaid", "dot", "svg"]

_MERMAID_SHAPES = {
    NodeKind.agent: ("(", ")"),
    NodeKind.python: ("(", ")"),
    NodeKind.workflow: ("[[", "]]"),
    NodeKind.ask: ("{{", "}}"),
    NodeKind.mesh: ("[(", ")]"),
}
_DOT_SHAPES = {
    NodeKind.agent: 'shape=box, style="rounded,filled"',
    NodeKind.python: 'shape=box, style="rounded,filled"',
    NodeKind.workflow: "shape=component, style=filled",
    NodeKind.ask: "shape=hexagon, style=filled",
    NodeKind.mesh: "shape=cylinder, style=filled",
}
_MERMAID_CLASSES = (
    "classDef terminal fill:#eef1f5,stroke:#5b6675;",
    "classDef each stroke-width:3px;",
)


def draw(workflow: Workflow, format: Format) -> str:
    """The picture of a workflow. Mermaid of a Python graph is LangGraph's own."""
    if format == "mermaid" and workflow.kind == "python":
        return workflow.graph().get_graph().draw_mermaid()
    picture = picture_of(workflow)
    if format == "svg":
        from .svg import svg

        return svg(picture)
    return mermaid(picture) if format == "mermaid" else dot(picture)


def mermaid(picture: Picture) -> str:
    """A Mermaid flowchart, as GitHub and editors show it."""
    ids = _ids(picture.boxes)
    lines = [
        f"%% {' '.join(picture.title.split())}",
        "graph TD;",
        *(f"\t{ids[box.name]}{_mermaid_box(box)}" for box in picture.boxes),
        *_mermaid_arrows(picture.arrows, ids),
        *(f"\t{line}" for line in _MERMAID_CLASSES),
    ]
    return "\n".join(lines) + "\n"


def _mermaid_box(box: Box) -> str:
    if box.kind is None:
        return f'(["{box.name}"]):::terminal'
    opening, closing = _MERMAID_SHAPES[box.kind]
    text = "<br/>".join([f"<b>{_mermaid_text(box.name)}</b>", *map(_mermaid_text, box.lines)])
    return f'{opening}"{text}"{closing}' + (":::each" if box.each else "")


def _mermaid_arrows(arrows: Iterable[Arrow], ids: dict[str, str]) -> Iterator[str]:
    for arrow in arrows:
        line = "-.->" if arrow.loop or arrow.error else "-->"
        label = f'|"{_mermaid_text(arrow.label)}"|' if arrow.label else ""
        yield f"\t{ids[arrow.source]} {line}{label} {ids[arrow.target]};"


def _mermaid_text(text: str) -> str:
    """Everything that Mermaid or HTML could read as more than text becomes a number."""
    one_line = " ".join(text.split())
    return re.sub(r"[^\w .,:/()=+-]", lambda found: f"#{ord(found.group())};", one_line)


def dot(picture: Picture) -> str:
    """Graphviz's language."""
    lines = [
        f"digraph {_quote(picture.title)} {{",
        '\tgraph [rankdir=TB, fontname="Helvetica"];',
        '\tnode [fontname="Helvetica", fontsize=12, fillcolor="#ffffff"];',
        '\tedge [fontname="Helvetica", fontsize=10];',
        *(f"\t{_quote(box.name)} [{_dot_box(box)}];" for box in picture.boxes),
        *(_dot_arrow(arrow) for arrow in picture.arrows),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _dot_box(box: Box) -> str:
    if box.kind is None:
        return 'shape=oval, style=filled, fillcolor="#eef1f5"'
    label = f"label={_quote(chr(10).join([box.name, *box.lines]))}"
    return f"{label}, {_DOT_SHAPES[box.kind]}" + (", peripheries=2" if box.each else "")


def _dot_arrow(arrow: Arrow) -> str:
    said = [f"label={_quote(arrow.label)}"] if arrow.label else []
    source, target = arrow.source, arrow.target
    if arrow.loop:
        said.append("style=dashed")
    if arrow.back:
        # Written from its target on: so Graphviz keeps the target above.
        source, target = target, source
        said.append("dir=back")
    if arrow.error:
        said.append("style=dotted")
    options = f" [{', '.join(said)}]" if said else ""
    return f"\t{_quote(source)} -> {_quote(target)}{options};"


def _quote(text: str) -> str:
    """A text in quotes; its lines stay lines."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "\\n".join(" ".join(line.split()) for line in escaped.splitlines()) + '"'


def _ids(boxes: Iterable[Box]) -> dict[str, str]:
    """Ids that no word of Mermaid's own can be mistaken for (`end` breaks a flowchart)."""
    terminals = {START: "START", END: "END_"}
    return {box.name: terminals.get(box.name, f"n{i}") for i, box in enumerate(boxes)}
