"""Rows under titles: only those in sight are drawn, so that thousands cost no more than twenty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

GAP = 2
"""Cells between two columns."""

Cells = Sequence[Text | str]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of `least` cells, and up to `most` where there is room; None takes what is left.
    It is left out where the whole list has less than `from_width` cells."""

    title: str
    least: int
    most: int | None = 0
    right: bool = False
    from_width: int = 0


class Listing(ScrollView, can_focus=True):
    """A list with a cursor. What its rows are, and how many, its heirs say."""

    DEFAULT_CSS = """
    Listing { height: 1fr; overflow-x: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", show=False),
        Binding("home,g", "first", "First", show=False),
        Binding("end,G", "last", "Last", show=False),
        Binding("enter", "choose", "Open"),
    ]

    COLUMNS: ClassVar[Sequence[Column]] = ()

    count: reactive[int] = reactive(0, init=False)
    cursor: reactive[int] = reactive(0, init=False)

    class _About(Message):
        """About a row."""

        def __init__(self, listing: Listing, index: int) -> None:
            super().__init__()
            self.listing, self.index = listing, index

        @property
        def control(self) -> Listing:
            return self.listing

    class Chosen(_About):
        """Enter was pressed on a row."""

    class Moved(_About):
        """The cursor stands on another row."""

    def cells(self, index: int) -> Cells | None:
        """A row's cells, one for each column; None while they are not known."""
        raise NotImplementedError

    # ------------------------------------------------------------ what is in sight

    @property
    def page_size(self) -> int:
        """How many rows fit below the titles."""
        return max(1, self.size.height - 1)

    @property
    def first_shown(self) -> int:
        return round(self.scroll_offset.y)

    def watch_count(self) -> None:
        self.virtual_size = Size(self.size.width, self.count + 1)
        self.cursor = self.validate_cursor(self.cursor)
        self.refresh()

    def validate_cursor(self, cursor: int) -> int:
        return max(0, min(cursor, self.count - 1))

    def watch_cursor(self) -> None:
        self.show_cursor()
        self.post_message(self.Moved(self, self.cursor))
        self.refresh()

    def show_cursor(self) -> None:
        """Scroll as far as the cursor's row asks for."""
        first = self.first_shown
        if self.cursor < first:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= first + self.page_size:
            self.scroll_to(y=self.cursor - self.page_size + 1, animate=False, force=True)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, self.count + 1)
        self.show_cursor()

    # ------------------------------------------------------------ keys

    def action_move(self, by: int) -> None:
        self.cursor += by

    def action_page(self, by: int) -> None:
        self.cursor += by * self.page_size

    def action_first(self) -> None:
        self.cursor = 0

    def action_last(self) -> None:
        self.cursor = self.count - 1

    def action_choose(self) -> None:
        if self.count:
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: object) -> None:
        y = getattr(event, "y", 0)
        if 0 < y <= self.page_size and self.first_shown + y - 1 < self.count:
            self.cursor = self.first_shown + y - 1

    # ------------------------------------------------------------ drawing

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        columns = widths(self.COLUMNS, width)
        if y == 0:
            titles = [Text(column.title, style="bold") for column, _ in columns]
            return self._strip(titles, columns, Style())
        index = self.first_shown + y - 1
        if index >= self.count:
            return Strip.blank(width, self.rich_style)
        found = self.cells(index)
        shown: list[Text | str] = []
        if found is None:
            shown = [Text("…", style="dim"), *[""] * (len(columns) - 1)]
        else:
            shown = [found[self.COLUMNS.index(column)] for column, _ in columns]
        # Reversed, not coloured: it is seen on every terminal.
        on_cursor = index == self.cursor and self.has_focus
        return self._strip(
            shown, columns, Style(reverse=True) if on_cursor else self._row_style(index)
        )

    def _row_style(self, index: int) -> Style:
        return Style(bold=index == self.cursor)

    def _strip(
        self, shown: Sequence[Text | str], columns: Sequence[tuple[Column, int]], style: Style
    ) -> Strip:
        line = Text(no_wrap=True, end="")
        for number, ((column, width), cell) in enumerate(zip(columns, shown, strict=True)):
            text = cell.copy() if isinstance(cell, Text) else Text(cell)
            text.truncate(width, overflow="ellipsis")
            text.align("right" if column.right else "left", width)
            line.append(" " * GAP if number else "")
            line.append_text(text)
        segments = [
            Segment(segment.text, (segment.style or Style()) + style)
            for segment in line.render(self.app.console)
        ]
        strip = Strip(segments).adjust_cell_length(self.size.width, style)
        return strip.apply_style(self.rich_style)


def widths(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """The columns that are shown in so many cells, and how wide each is."""
    shown = [column for column in columns if width >= column.from_width]
    left = width - GAP * (len(shown) - 1) - sum(column.least for column in shown)
    found = []
    for column in shown:
        more = 0 if column.most is None else max(0, min(left, column.most - column.least))
        left -= more
        found.append((column, column.least + more))
    return [
        (column, size + max(0, left)) if column.most is None else (column, size)
        for column, size in found
    ]
