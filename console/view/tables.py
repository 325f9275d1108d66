"""Rows: aligned columns on a terminal, tab-separated fields everywhere else."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from . import streams
from .output import harmless, put

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

COLOURS = {
    "completed": "green",
    "done": "green",
    "failed": "red",
    "running": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
    "asks": "yellow",
    "cancelled": "dim",
    "skipped": "dim",
    "stopped": "dim",
    "not run": "dim",
    "answered": "green",
    "open": "red",
    "half-open": "yellow",
}
"""Colours of states. The word is always there too."""


class Table:
    """Rows of text under titles. Columns of `numbers` stand to the right, those of `status` are
    coloured, and those of `long` may wrap."""

    def __init__(
        self,
        *titles: str,
        numbers: Collection[str] = (),
        status: Collection[str] = (),
        long: Collection[str] = (),
    ) -> None:
        self.titles, self.rows = titles, list[Sequence[str]]()
        self._numbers, self._status, self._long = numbers, status, long

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def show(self, *, titles: bool = False) -> None:
        """Print to stdout: aligned under titles on a terminal, else a line with tabs a row.

        With `titles` the titles stand off the terminal too, where the table is not all there is.
        """
        if not on_terminal():
            for row in [self.titles, *self.rows] if titles else self.rows:
                if not put("\t".join(" ".join(cell.split()) for cell in row)):
                    return
        elif self.rows:
            self._draw()

    def _draw(self) -> None:
        from rich.table import Table as Drawing

        drawing = Drawing(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for title in self.titles:
            drawing.add_column(
                title,
                justify="right" if title in self._numbers else "left",
                no_wrap=title not in self._long,
                overflow="fold" if title in self._long else "ellipsis",
            )
        for row in self.rows:
            cells = zip(self.titles, row, strict=True)
            drawing.add_row(*(self._text(title, cell) for title, cell in cells))
        stdout_console().print(drawing)

    def _text(self, title: str, cell: str) -> Text:
        from rich.text import Text

        return Text(harmless(cell), style=COLOURS.get(cell, "") if title in self._status else "")


def on_terminal() -> bool:
    """Whether a person sees stdout."""
    return streams.stdout().isatty()


def stdout_console() -> Console:
    from rich.console import Console

    return Console(file=streams.stdout(), highlight=False, markup=False, emoji=False)


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 4 h`."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def count(number: int) -> str:
    """A number with thousands set apart on a terminal; bare for programs."""
    return f"{number:,}" if on_terminal() else str(number)


def limit(name: str, most: float) -> str:
    """A limit of a job: `deadline 30 min 00 s`, `model calls 50`, `cost $1.5`."""
    time = duration(most)
    shown = {"deadline": time, "seconds": time, "cost": f"${most:g}"}.get(name, f"{most:.0f}")
    return f"{name.replace('_', ' ')} {shown}"


def plural(number: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment(at: datetime | None, now: datetime | None = None) -> str:
    """A time: how long ago on a terminal, ISO 8601 in UTC for programs."""
    if at is None:
        return ""
    if not on_terminal():
        return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return ago(((now or datetime.now(UTC)) - at).total_seconds())


def ago(seconds: float) -> str:
    """How long ago something was."""
    if seconds < 1:
        return "now"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def until(at: datetime, now: datetime) -> str:
    """A time to come: in how long on a terminal, ISO 8601 in UTC for programs."""
    if not on_terminal():
        return moment(at)
    left = (at - now).total_seconds()
    return f"in {duration(left)}" if left > 0 else "now"


def first_line(text: str | None, width: int = 100) -> str:
    """The first line of a text, cut where it is long."""
    line = (text or "").strip().partition("\n")[0]
    return line if len(line) <= width else line[: width - 1] + "…"


def short_enough(ids: Sequence[str], least: int) -> int:
    """The shortest length, from `least` on, at which the ids differ."""
    length = least
    while len({id[:length] for id in ids}) < len(ids):
        length += 1
    return length
