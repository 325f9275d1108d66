"""A picture as SVG: places by graphlay, drawn here with nothing but text.

Sizes are pixels. Widths of text are estimated, because no font is at hand: a little too wide
for most fonts, so that text stays in its box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from ..language.definition import END, START
from ..language.kind import NodeKind
from .picture import Arrow, Box, Picture

TITLE, SMALL = 13.0, 11.0
LINE = 15.0
SIDE, TOP = 16.0, 11.0
MARGIN = 16.0
STACK = 5.0
"""How far the sheets of an `each` node stand out behind it."""
LONGEST = 44
"""Characters of a node's line; longer ones are cut, and whole in the tooltip."""
LABEL_LINE, LABEL_LINES, LABEL_HEIGHT = 30, 3, 14.0

Point = tuple[float, float]

_STYLE = """\
.ucop text { font-family: Inter, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif }
.ucop .name { font-size: 13px; font-weight: 600; fill: #17202c }
.ucop .line { font-size: 11px; fill: #4c5868 }
.ucop .label { font-size: 11px; fill: #17202c }
.ucop .box { fill: #ffffff; stroke: #3d4a5c; stroke-width: 1.5 }
.ucop .sheet { fill: #f3f5f8; stroke: #3d4a5c; stroke-width: 1 }
.ucop .workflow { fill: #eef4fb } .ucop .ask { fill: #fdf5e2 } .ucop .mesh { fill: #f3eefa }
.ucop .terminal { fill: #3d4a5c; stroke: none } .ucop .inside { font-size: 11px; fill: #ffffff }
.ucop .bar { fill: #3d4a5c }
.ucop .rail { stroke: #3d4a5c; stroke-width: 1.5 }
.ucop .edge { fill: none; stroke: #5b6675; stroke-width: 1.5 }
.ucop .loop { stroke-dasharray: 6 4 } .ucop .error { stroke-dasharray: 2 3 }
.ucop .plate { fill: #ffffff; fill-opacity: 0.94 }"""
"""Under a class of its own: a page that holds the SVG keeps its style."""


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """Where a box stands: its middle and its size."""

    box: Box
    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        return self.x - self.width / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2


def svg(picture: Picture) -> str:
    """The picture as one SVG document with its own styles; nothing is loaded from elsewhere."""
    placed, ways, (left, top, width, height) = _lay_out(picture)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" class="ucop" role="img" '
        f'viewBox="{_n(left)} {_n(top)} {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}">',
        f"<title>{_text(picture.title)}</title>",
        f"<style>{_STYLE}</style>",
        _ARROWHEAD,
        f'<rect x="{_n(left)}" y="{_n(top)}" width="{_n(width)}" height="{_n(height)}" '
        'fill="#ffffff"/>',
        *(_node(one) for one in placed),
        # After the nodes: a head must not vanish under the sheets of an `each` node.
        *(_edge(arrow, way) for arrow, way in zip(picture.arrows, ways, strict=True)),
        *(_label(arrow, way) for arrow, way in zip(picture.arrows, ways, strict=True)),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


# ---- places ----


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How an arrow runs, and where its label stands."""

    pieces: tuple[tuple[Point, ...], ...]
    """One, or one to the label and one from there on."""
    label: Point | None = None


def _lay_out(
    picture: Picture,
) -> tuple[list[_Placed], list[_Way], tuple[float, float, float, float]]:
    import graphlay

    graph = graphlay.Graph()
    # Numbers for names: the layout needs no text, and not every text is JSON.
    numbers = {box.name: number for number, box in enumerate(picture.boxes)}
    for box in picture.boxes:
        width, height = _size(box)
        graph.node(
            numbers[box.name],
            width=width,
            height=height,
            shape="ellipse" if box.kind is None else "box",
            rank={START: "first", END: "last"}.get(box.name, "free"),
        )
    for arrow in picture.arrows:
        _add_arrow(graph, arrow, numbers[arrow.source], numbers[arrow.target])
    made = graphlay.layout(graph, preset="process_map", options=_OPTIONS)
    placed = [
        _Placed(
            box=box,
            x=node["center"]["x"],
            y=node["center"]["y"],
            width=node["size"]["width"],
            height=node["size"]["height"],
        )
        for box, node in zip(picture.boxes, made.nodes, strict=False)
    ]
    edges, stops = iter(made.edges), iter(made.nodes[len(placed) :])
    ways = [
        _over(next(stops), next(edges), next(edges))
        if _has_stop(arrow)
        else _Way(pieces=(_points(next(edges)),))
        for arrow in picture.arrows
    ]
    return placed, ways, _frame(made.bounds, picture.arrows, ways)


def _has_stop(arrow: Arrow) -> bool:
    """Whether an arrow's label is laid out as a stop on its way: so it stands on its own line,
    and nothing else passes through it."""
    return bool(_label_lines(arrow))


def _add_arrow(graph: Any, arrow: Arrow, source: int, target: int) -> None:
    # Loops give way where both cannot be straight.
    weight = 1.0 if arrow.loop else 4.0
    if not _has_stop(arrow):
        graph.edge(source, target, weight=weight, reverse_for_ranking=arrow.back)
        return
    stop = graph.node(**_label_size(arrow))
    # A node's arrow to itself goes down to its label and back.
    upwards = arrow.back and source != target
    graph.edge(source, stop, weight=weight, reverse_for_ranking=upwards)
    graph.edge(stop, target, weight=weight, reverse_for_ranking=arrow.back)


_OPTIONS = {"spacing": {"layer_gap": 46.0, "node_gap": 44.0}}


def _points(edge: Mapping[str, Any]) -> tuple[Point, ...]:
    return tuple((point["x"], point["y"]) for point in edge["points"])


def _over(stop: Mapping[str, Any], to: Mapping[str, Any], on: Mapping[str, Any]) -> _Way:
    """The way to a stop and on, with the label in its place."""
    center = stop["center"]
    return _Way(pieces=(_points(to), _points(on)), label=(center["x"], center["y"]))


def _frame(
    bounds: Mapping[str, Any], arrows: Sequence[Arrow], ways: Sequence[_Way]
) -> tuple[float, float, float, float]:
    """Left, top, width and height of all that is drawn, labels at the rim included."""
    xs = [bounds["min"]["x"], bounds["max"]["x"] + STACK]
    ys = [bounds["min"]["y"], bounds["max"]["y"] + STACK]
    for arrow, way in zip(arrows, ways, strict=True):
        if way.label:
            size = _label_size(arrow)
            xs += [way.label[0] + sign * size["width"] / 2 for sign in (-1, 1)]
            ys += [way.label[1] + sign * size["height"] / 2 for sign in (-1, 1)]
    left, top = min(xs) - MARGIN, min(ys) - MARGIN
    return left, top, max(xs) + MARGIN - left, max(ys) + MARGIN - top


def _size(box: Box) -> tuple[float, float]:
    if box.kind is None:
        return 46.0, 46.0
    # The slanted sides of a hexagon and the rails of a workflow take room.
    extra = {NodeKind.ask: 22.0, NodeKind.workflow: 14.0}.get(box.kind, 0.0)
    widest = max(
        _width(box.name, TITLE) * 1.06, *(_width(_shorten(line), SMALL) for line in box.lines), 60.0
    )
    return widest + 2 * (SIDE + extra), 2 * TOP + LINE * (1 + len(box.lines))


def _label_lines(arrow: Arrow) -> list[str]:
    """The condition in at most three lines, and the bound in one of its own."""
    lines = wrap(arrow.when, LABEL_LINE, break_on_hyphens=False)
    if len(lines) > LABEL_LINES:
        lines = [*lines[: LABEL_LINES - 1], lines[LABEL_LINES - 1][: LABEL_LINE - 1] + "…"]
    return [*lines, arrow.bound] if arrow.bound else lines


def _label_size(arrow: Arrow) -> dict[str, float]:
    lines = _label_lines(arrow)
    widest = max(_width(line, SMALL) for line in lines)
    return {"width": widest + 8, "height": LABEL_HEIGHT * len(lines) + 3}


def _width(text: str, size: float) -> float:
    wide = sum(east_asian_width(character) in "WF" for character in text)
    narrow = sum(character in "il.,:;|!'()[] jtfrI" for character in text)
    return size * (0.6 * (len(text) - wide - narrow) + 0.38 * narrow + 1.05 * wide)


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


# ---- drawing ----

_ARROWHEAD = (
    '<defs><marker id="ucop-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
    'markerHeight="7" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="#5b6675"/>'
    "</marker></defs>"
)


def _node(placed: _Placed) -> str:
    box = placed.box
    if box.kind is None:
        return (
            f'<g><circle class="terminal" cx="{_n(placed.x)}" cy="{_n(placed.y)}" r="23"/>'
            f"{_text_element('inside', placed.x, placed.y + 4, box.name)}</g>"
        )
    parts = [f"<g><title>{_text(' — '.join([box.name, *box.lines]))}</title>"]
    if box.each:
        parts += [_shape(placed, "sheet", STACK), _shape(placed, "sheet", STACK / 2)]
    parts.append(_shape(placed, f"box {box.kind.value}", 0))
    parts += _marks(placed)
    y = placed.top + TOP + 11
    parts.append(_text_element("name", placed.x, y, box.name))
    parts += [
        _text_element("line", placed.x, y + LINE * number, _shorten(line))
        for number, line in enumerate(box.lines, start=1)
    ]
    return "".join([*parts, "</g>"])


def _shape(placed: _Placed, classes: str, shift: float) -> str:
    """The outline of a node, moved down and right by `shift` for a sheet behind it."""
    left, top = placed.left + shift, placed.top + shift
    width, height = placed.width, placed.height
    if placed.box.kind in (NodeKind.ask, NodeKind.mesh):
        # Six corners for a question, eight for a mesh.
        slant, cut = (14.0, height / 2) if placed.box.kind is NodeKind.ask else (11.0, 11.0)
        right, bottom = left + width, top + height
        corners = (
            (left, top + cut),
            (left + slant, top),
            (right - slant, top),
            (right, top + cut),
            (right, bottom - cut),
            (right - slant, bottom),
            (left + slant, bottom),
            (left, bottom - cut),
        )
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in dict.fromkeys(corners))
        return f'<polygon class="{classes}" points="{points}"/>'
    radius = 2 if placed.box.kind is NodeKind.workflow else 8
    return (
        f'<rect class="{classes}" x="{_n(left)}" y="{_n(top)}" width="{_n(width)}" '
        f'height="{_n(height)}" rx="{radius}"/>'
    )


def _marks(placed: _Placed) -> Iterator[str]:
    """A bar over a join; the two rails of a sub-workflow."""
    if placed.box.joins:
        yield (
            f'<rect class="bar" x="{_n(placed.left + 14)}" y="{_n(placed.top - 2)}" '
            f'width="{_n(placed.width - 28)}" height="5" rx="2"/>'
        )
    if placed.box.kind is NodeKind.workflow:
        for x in (placed.left + 8, placed.left + placed.width - 8):
            bottom = placed.top + placed.height
            yield (
                f'<line class="rail" x1="{_n(x)}" y1="{_n(placed.top)}" x2="{_n(x)}" '
                f'y2="{_n(bottom)}"/>'
            )


def _edge(arrow: Arrow, way: _Way) -> str:
    classes = "edge" + (" loop" if arrow.loop else "") + (" error" if arrow.error else "")
    path = "".join(map(_path, way.pieces))
    return f'<path class="{classes}" d="{path}" marker-end="url(#ucop-head)"/>'


def _path(points: Sequence[Point]) -> str:
    """Straight pieces with rounded corners."""
    said = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        start, end = _towards(corner, before), _towards(corner, after)
        said.append(
            f"L{_n(start[0])} {_n(start[1])}"
            f"Q{_n(corner[0])} {_n(corner[1])} {_n(end[0])} {_n(end[1])}"
        )
    said.append(f"L{_n(points[-1][0])} {_n(points[-1][1])}")
    return "".join(said)


def _towards(corner: Point, other: Point, radius: float = 6.0) -> Point:
    """The place where the rounding of a corner begins or ends."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = (dx * dx + dy * dy) ** 0.5
    share = min(radius, length / 2) / length if length else 0.0
    return corner[0] + dx * share, corner[1] + dy * share


def _label(arrow: Arrow, way: _Way) -> str:
    if way.label is None:
        return ""
    x, y = way.label
    size = _label_size(arrow)
    first = y - size["height"] / 2 + LABEL_HEIGHT - 2
    lines = "".join(
        _text_element("label", x, first + LABEL_HEIGHT * number, line)
        for number, line in enumerate(_label_lines(arrow))
    )
    return (
        f"<g><title>{_text(arrow.label)}</title>"
        f'<rect class="plate" x="{_n(x - size["width"] / 2)}" y="{_n(y - size["height"] / 2)}" '
        f'width="{_n(size["width"])}" height="{_n(size["height"])}" rx="3"/>'
        f"{lines}</g>"
    )


def _text_element(classes: str, x: float, y: float, text: str) -> str:
    return (
        f'<text class="{classes}" x="{_n(x)}" y="{_n(y)}" text-anchor="middle">{_text(text)}</text>'
    )


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


def _text(text: str) -> str:
    """Text as XML allows it: its own signs escaped, what it has no way to write left out."""
    return escape(_CONTROL.sub("\ufffd", text))


def _n(number: float) -> str:
    """A number as short as it goes."""
    return f"{number:.1f}".removesuffix(".0")
