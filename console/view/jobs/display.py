"""Showing progress on stderr: a table that moves on a terminal, a line an event elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from ..output import harmless, note
from ..tables import COLOURS, duration, first_line, plural
from .progress import Progress, Row, Spending

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ucop.engine.jobs.job import Event

Spent = Callable[[], Mapping[str, Spending]]


class Display(Protocol):
    """Shows events while they come; leave it before other things are written."""

    title: str

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def apply(self, event: Event) -> None: ...


def display_for(title: str, nodes: Sequence[str], spent: Spent = dict) -> Display:
    """A moving table where stderr can show one, else plain lines."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb"):
        return LiveTable(title, nodes, spent)
    return Lines(title)


class Lines:
    """One line for each event that tells a person something."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def apply(self, event: Event) -> None:
        if line := describe(event):
            note(line)


class LiveTable:
    """One row a node, with ticking times."""

    def __init__(self, title: str, nodes: Sequence[str], spent: Spent) -> None:
        from rich.console import Console
        from rich.live import Live

        self.title, self._spent = title, spent
        self._begun = False
        self._progress = Progress(nodes)
        self._live = Live(
            console=Console(stderr=True, highlight=False, markup=False, emoji=False),
            get_renderable=self._draw,
            refresh_per_second=8,
            # What nodes print, and warnings, go above the table; data has a stream of its own.
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *_: object) -> None:
        # A table in which nothing happened only stands in the way of what went wrong.
        self._live.transient = not self._begun
        self._live.stop()

    def apply(self, event: Event) -> None:
        self._begun = True
        self._progress.apply(event)

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        progress = self._progress
        head = [Text(_headline(self.title, progress), style="bold")]
        head += [Text(harmless(f"model: {sentence}"), style="dim") for sentence in progress.models]
        rows = progress.rows(datetime.now(UTC), self._spent())
        return Group(*head, _table_of(rows)) if rows else Group(*head)


def _headline(title: str, progress: Progress) -> str:
    words = [title, progress.status]
    if progress.attempt > 1:
        words.append(f"attempt {progress.attempt}")
    if progress.reason:
        words.append(first_line(progress.reason))
    return harmless("  ".join(words))


def _table_of(rows: list[Row]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("node", no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=8)
    if any(row.runs > 1 for row in rows):
        table.add_column("runs", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True, min_width=8)
    table.add_column("tokens in", justify="right", no_wrap=True)
    table.add_column("out", justify="right", no_wrap=True, min_width=5)
    table.add_column("", overflow="ellipsis", no_wrap=True)
    for row in rows:
        runs = [str(row.runs) if row.runs > 1 else ""] if "runs" in _titles(table) else []
        table.add_row(
            row.node,
            Text(row.state, style=COLOURS.get(row.state, "")),
            *runs,
            duration(row.seconds),
            f"{row.tokens_in:,}" if row.tokens_in else "",
            f"{row.tokens_out:,}" if row.tokens_out else "",
            harmless(" ".join(part for part in (row.items, first_line(row.note)) if part)),
        )
    return table


def _titles(table: Any) -> list[str]:
    return [str(column.header) for column in table.columns]


def describe(event: Event) -> str:
    """An event as a line; "" for one that tells a person nothing new."""
    data = event.data
    match event.type:
        case "job.submitted":
            return f"job {event.job_id}: queued ({data.get('workflow')})"
        case "job.running":
            return f"job {event.job_id}: running, attempt {data.get('attempt')}"
        case "model.used":
            return f"model: {data.get('note') or data.get('name')}"
        case "progress":
            return _says(data)
        case kind if kind.startswith("step."):
            return _step_line(kind.removeprefix("step."), data)
        case kind if kind.startswith("job."):
            because = _because(data)
            return f"job {event.job_id}: {kind.removeprefix('job.')}" + (
                f": {because}" if because else ""
            )
    return ""


def _says(data: Mapping[str, Any]) -> str:
    if "node" in data:
        return f"{data['node']}: {data.get('text')}"
    return first_line(json.dumps(data.get("data"), ensure_ascii=False))


def _step_line(what: str, data: Mapping[str, Any]) -> str:
    node = data.get("node")
    match what:
        case "started":
            return f"{node}: running"
        case "pending":
            return f"{node}: waits for an answer"
        case "failed" if (data.get("error") or {}).get("caught"):
            return f"{node}: failed, and the job goes on: {_because(data)}"
        case "failed":
            return f"{node}: failed: {_because(data)}"
        case "skipped":
            return f"{node}: skipped"
        case "retried":
            return f"{node}: try {data.get('try')}, after {_because(data)}"
    words = [f"{node}: done in {duration(data.get('seconds'))}"]
    if calls := data.get("model_calls"):
        words.append(plural(calls, "model call"))
        words.append(f"{data.get('tokens_in')} tokens in, {data.get('tokens_out')} out")
    return ", ".join(words)


def _because(data: Mapping[str, Any]) -> str:
    error = data.get("error") or {}
    if error:
        return first_line(f"{error.get('type')}: {error.get('message')}", 300)
    return str(data.get("reason") or "")
