"""One job's graph, larger than the screen where it must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ...view.jobs.progress import NodeState, Row
from ..drawing.drawing import Drawing

HAPPENING = (NodeState.RUNNING, NodeState.ASKS, NodeState.FAILED)


class GraphView(ScrollView, can_focus=True):
    """Scrolls by arrow keys."""

    DEFAULT_CSS = "GraphView { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", show=False),
        Binding("j", "scroll_down", show=False),
        Binding("h", "scroll_left", show=False),
        Binding("l", "scroll_right", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="graph")
        self._rows: Sequence[Text] = ()
        self._width = 0
        self._found = False

    def show(self, drawing: Drawing, states: Mapping[str, Row]) -> None:
        """Draw a job's graph with its nodes' states."""
        self._rows = drawing.rows(states)
        self._width = max((row.cell_len for row in self._rows), default=0)
        self.virtual_size = Size(self._width, len(self._rows))
        self.refresh()
        if not self._found and self.size.height:
            self._found = True
            self._find(drawing, states)

    def say(self, text: str) -> None:
        """Why there is nothing to draw."""
        self._rows = [Text(text)]
        self._width = self._rows[0].cell_len
        self.refresh()

    def _find(self, drawing: Drawing, states: Mapping[str, Row]) -> None:
        """Show first what happens: a node that runs, asks or has failed."""
        busy = [
            node for node in drawing.nodes if node in states and states[node].state in HAPPENING
        ]
        if busy:
            middle = drawing.row_of(busy[0]) + 1 - self.size.height // 2
            self.scroll_to(y=max(0, middle), animate=False)

    def render_line(self, y: int) -> Strip:
        x, first = round(self.scroll_offset.x), round(self.scroll_offset.y)
        width, index = self.size.width, first + y
        if index >= len(self._rows):
            return Strip.blank(width, self.rich_style)
        row = self._rows[index]
        indent = max(0, (width - self._width) // 2)
        segments = [Segment(" " * indent), *row.render(self.app.console)]
        strip = Strip([segment for segment in segments if segment.text != "\n"])
        return strip.crop_extend(x, x + width, self.rich_style).apply_style(self.rich_style)
