"""A workflow as boxes and arrows of text: places by graphlay, states by sign, word and colour."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import wrap
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ucop.graphs.language.definition import END, START
from ucop.graphs.language.kind import NodeKind
from ucop.graphs.pictures.picture import Arrow, Box, Picture

from ...view.jobs.progress import NodeState, Row
from ...view.tables import COLOURS, duration
from ..signs import NOT_YET, SIGNS, one_line
from .canvas import Canvas, Cell, cells_of, way_of

LEAST, MOST = 20, 40
"""Cells of a box across."""
HEIGHT = 3
"""Rows of a box: two of border, in which it says who works and how far that is."""
LABEL = 26
"""Cells of an edge's label across; it has up to two lines."""
ACROSS, DOWN = 8.0, 16.0
"""Pixels of the layout in a cell: its options are those of a picture on a screen."""

_OPTIONS = {
    "spacing": {
        "layer_gap": 3 * DOWN,
        "node_gap": 4 * ACROSS,
        "dummy_gap": 3 * ACROSS,
        "port_gap": 2 * ACROSS,
    }
}

_BORDERS = {False: "╭─╮│╰╯", True: "╔═╗║╚╝"}
"""Of a node, and of one with a workflow inside."""


@dataclass(frozen=True)
class _Place:
    """The cells of a box."""

    x: int
    y: int
    width: int
    height: int

    def cells(self) -> Iterator[Cell]:
        for y in range(self.y, self.y + self.height):
            yield from ((x, y) for x in range(self.x, self.x + self.width))


class Drawing:
    """One workflow's picture. Its places are found once; states change."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture

    def lay_out(self) -> None:
        """Find the places now; large graphs take a while."""
        _ = self._background

    def rows(self, states: Mapping[str, Row]) -> list[Text]:
        """The picture, a text for each row; `states` by node."""
        canvas = self._background.copy()
        for box, place in zip(self._picture.boxes, self._layout[0], strict=True):
            if box.kind is not None:
                _box(canvas, box, place, states.get(box.name))
        return canvas.rows()

    def row_of(self, node: str) -> int:
        """The first row of a node's box among those that were drawn last."""
        at = next(number for number, box in enumerate(self._picture.boxes) if box.name == node)
        return self._layout[0][at].y - self._background.top

    @property
    def nodes(self) -> list[str]:
        return [box.name for box in self._picture.boxes if box.kind is not None]

    @cached_property
    def _background(self) -> Canvas:
        """What does not change: arrows, labels, START and END."""
        canvas, (boxes, ways) = Canvas(), self._layout
        covered = {cell for box in boxes for cell in box.cells()}
        for arrow, way in zip(self._picture.arrows, ways, strict=True):
            _arrow(canvas, arrow, way, covered)
        for box, place in zip(self._picture.boxes, boxes, strict=True):
            if box.kind is None:
                sign = {START: "●", END: "◎"}.get(box.name, "")
                canvas.text(place.x, place.y, f" {sign} {box.name} ", "bold")
        return canvas

    @cached_property
    def _layout(self) -> tuple[list[_Place], list[_Way]]:
        import graphlay

        graph, picture = graphlay.Graph(), self._picture
        numbers = {box.name: number for number, box in enumerate(picture.boxes)}
        for box in picture.boxes:
            graph.node(
                numbers[box.name],
                width=_width(box) * ACROSS,
                height=(1 if box.kind is None else HEIGHT) * DOWN,
                shape="box",
                rank={START: "first", END: "last"}.get(box.name, "free"),
            )
        for arrow in picture.arrows:
            _add(graph, arrow, numbers[arrow.source], numbers[arrow.target])
        made = graphlay.layout(graph, preset="process_map", options=_OPTIONS)
        places = [_place(node) for node in made.nodes]
        boxes, stops = places[: len(numbers)], iter(places[len(numbers) :])
        edges = iter([_corners(edge) for edge in made.edges])
        ways = [
            _Way((next(edges), next(edges)), next(stops)) if _label(arrow) else _Way((next(edges),))
            for arrow in picture.arrows
        ]
        return boxes, ways


@dataclass(frozen=True)
class _Way:
    """How an arrow runs: in one piece, or to its label and on from there."""

    pieces: tuple[Sequence[Cell], ...]
    label: _Place | None = None


def _arrow(canvas: Canvas, arrow: Arrow, way: _Way, covered: Collection[Cell]) -> None:
    style = "red" if arrow.error else ""
    for piece in way.pieces:
        canvas.line(piece, dashed=arrow.loop or arrow.error, style=style)
    # What is inside a box is covered by it, so the head stands right before it.
    last = cells_of(way.pieces[-1])
    outside = [cell for cell in last if cell not in covered]
    if outside:
        canvas.head(outside[-1], way_of(last), style)
    if way.label is not None:
        for number, text in enumerate(_label(arrow)):
            x = way.label.x + (way.label.width - cell_len(text)) // 2
            canvas.text(x, way.label.y + number, text, "italic")


def _add(graph: Any, arrow: Arrow, source: int, target: int) -> None:
    weight = 1.0 if arrow.loop else 4.0
    lines = _label(arrow)
    if not lines:
        graph.edge(source, target, weight=weight, reverse_for_ranking=arrow.back)
        return
    stop = graph.node(width=max(map(cell_len, lines)) * ACROSS, height=len(lines) * DOWN)
    graph.edge(source, stop, weight=weight, reverse_for_ranking=arrow.back and source != target)
    graph.edge(stop, target, weight=weight, reverse_for_ranking=arrow.back)


def _place(node: Mapping[str, Any]) -> _Place:
    width, height = node["size"]["width"], node["size"]["height"]
    return _Place(
        x=round((node["center"]["x"] - width / 2) / ACROSS),
        y=round((node["center"]["y"] - height / 2) / DOWN),
        width=round(width / ACROSS),
        height=round(height / DOWN),
    )


def _corners(edge: Mapping[str, Any]) -> Sequence[Cell]:
    return [(round(point["x"] / ACROSS), int(point["y"] // DOWN)) for point in edge["points"]]


def _label(arrow: Arrow) -> list[str]:
    lines = wrap(one_line(arrow.label), LABEL, break_on_hyphens=False)
    return [*lines[:1], f"{lines[1][: LABEL - 1]}…"] if len(lines) > 2 else lines


# ---------------------------------------------------------------- boxes


def _width(box: Box) -> int:
    if box.kind is None:
        return cell_len(box.name) + 4
    return min(MOST, max(LEAST, cell_len(one_line(box.name)) + 6, cell_len(_kind(box)) + 6))


def _kind(box: Box) -> str:
    """What stands in the upper border: who works there, where that is no Python function."""
    work = box.lines[0] if box.lines else ""
    if box.kind is NodeKind.ask:
        work = "asks"
    return one_line(f"each: {work}" if box.each else work)


def _box(canvas: Canvas, box: Box, place: _Place, row: Row | None) -> None:
    state = row.state.value if row else NodeState.WAITING.value
    began = row is not None and row.state is not NodeState.WAITING
    colour = COLOURS.get(state, "") if began else "dim"
    style = f"bold {colour}" if state in (NodeState.RUNNING, NodeState.ASKS) else colour
    a, across, b, down, c, d = tuple(_BORDERS[box.kind is NodeKind.workflow])
    inner = place.width - 2
    canvas.text(place.x, place.y, a + _in_border(_kind(box), across, inner) + b, style)
    sign = SIGNS.get(state, " ") if began else NOT_YET
    name = set_cell_size(f" {sign} {_cut(one_line(box.name), inner - 4)}", inner)
    canvas.text(place.x, place.y + 1, down, style)
    canvas.text(place.x + 1, place.y + 1, name, f"bold {colour}" if began else "")
    canvas.text(place.x + place.width - 1, place.y + 1, down, style)
    said = " ".join(_said(row)) if row and began else ""
    canvas.text(place.x, place.y + 2, c + _in_border(said, across, inner) + d, style)


def _said(row: Row) -> Iterator[str]:
    yield row.state.value
    if row.items:
        yield row.items
    if row.seconds is not None:
        yield duration(row.seconds)
    if row.runs > 1:
        yield f"×{row.runs}"


def _in_border(text: str, across: str, width: int) -> str:
    if not text:
        return across * width
    shown = f"{across} {_cut(text, width - 4)} "
    return shown + across * (width - cell_len(shown))


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"
