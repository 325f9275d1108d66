"""Lines and texts on a grid of cells. Lines that meet are joined by the sign that fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.text import Text

Cell = tuple[int, int]
"""Column and row."""

UP, RIGHT, DOWN, LEFT = 1, 2, 4, 8

_JOINED = {
    UP: "│",
    DOWN: "│",
    UP | DOWN: "│",
    LEFT: "─",
    RIGHT: "─",
    LEFT | RIGHT: "─",
    DOWN | RIGHT: "╭",
    DOWN | LEFT: "╮",
    UP | RIGHT: "╰",
    UP | LEFT: "╯",
    UP | DOWN | RIGHT: "├",
    UP | DOWN | LEFT: "┤",
    DOWN | LEFT | RIGHT: "┬",
    UP | LEFT | RIGHT: "┴",
    UP | DOWN | LEFT | RIGHT: "┼",
}
_DASHED = {"│": "╎", "─": "╌"}
_HEADS = {UP: "▲", RIGHT: "▶", DOWN: "▼", LEFT: "◀"}
_BACK = {UP: DOWN, DOWN: UP, LEFT: RIGHT, RIGHT: LEFT}


@dataclass
class _Line:
    ways: int = 0
    dashed: bool = True
    style: str = ""


@dataclass
class Canvas:
    """Texts cover lines; later texts cover earlier ones."""

    _lines: dict[Cell, _Line] = field(default_factory=dict)
    _texts: dict[Cell, tuple[str, str]] = field(default_factory=dict)
    """A sign and its style; the second cell of a wide sign has none."""

    def copy(self) -> Canvas:
        """To draw on, with this one left as it is."""
        return Canvas(dict(self._lines), dict(self._texts))

    def line(self, corners: Sequence[Cell], *, dashed: bool = False, style: str = "") -> None:
        """A line over corners, each straight across or straight down from the one before."""
        for here, there in _steps(corners):
            way = _way(here, there)
            for cell, led in ((here, way), (there, _BACK[way])):
                found = self._lines.setdefault(cell, _Line(style=style))
                found.ways |= led
                found.dashed = found.dashed and dashed

    def head(self, cell: Cell, way: int, style: str = "") -> None:
        """The head of an arrow."""
        self._texts[cell] = (_HEADS[way], style)

    def text(self, x: int, y: int, text: str, style: str = "") -> None:
        """A text from a cell on to the right."""
        for character in text:
            self._texts[x, y] = (character, style)
            for _ in range(1, cell_len(character)):
                x += 1
                self._texts[x, y] = ("", style)
            x += 1

    @property
    def top(self) -> int:
        """The row of the topmost cell."""
        return min((y for _, y in (*self._lines, *self._texts)), default=0)

    def rows(self) -> list[Text]:
        """All that was drawn, from its leftmost and topmost cell on."""
        cells = [*self._lines, *self._texts]
        if not cells:
            return []
        left, right = min(x for x, _ in cells), max(x for x, _ in cells)
        top, bottom = min(y for _, y in cells), max(y for _, y in cells)
        return [
            Text.assemble(*(self._at(x, y) for x in range(left, right + 1)), no_wrap=True)
            for y in range(top, bottom + 1)
        ]

    def _at(self, x: int, y: int) -> tuple[str, str]:
        if (x, y) in self._texts:
            return self._texts[x, y]
        line = self._lines.get((x, y))
        if line is None:
            return " ", ""
        sign = _JOINED[line.ways]
        return (_DASHED.get(sign, sign) if line.dashed else sign), line.style


def _steps(corners: Sequence[Cell]) -> Iterable[tuple[Cell, Cell]]:
    """From each cell of a line to the next."""
    here = corners[0]
    for corner in corners[1:]:
        while here != corner:
            dx, dy = _sign(corner[0] - here[0]), _sign(corner[1] - here[1])
            # One after the other: a step aslant has no sign.
            there = (here[0] + dx, here[1]) if dx else (here[0], here[1] + dy)
            yield here, there
            here = there


def _way(here: Cell, there: Cell) -> int:
    if there[0] != here[0]:
        return RIGHT if there[0] > here[0] else LEFT
    return DOWN if there[1] > here[1] else UP


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def cells_of(corners: Sequence[Cell]) -> list[Cell]:
    """Every cell that a line goes through."""
    return [corners[0], *(there for _, there in _steps(corners))]


def way_of(cells: Sequence[Cell]) -> int:
    """The way in which a line of cells ends."""
    return _way(cells[-2], cells[-1]) if len(cells) > 1 else DOWN
