"""All jobs, the newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from ucop.agents.text.secret_url import shown_url
from ucop.engine.jobs.status import JobStatus
from ucop.engine.reading.reader import NoDatabase

from ...view.jobs.job_facts import reason_of, run_seconds
from ...view.tables import COLOURS, ago, duration, first_line, plural
from ..forms.filter_form import FilterForm, Wanted
from ..job_commands import SHORT, JobCommands
from ..signs import SIGNS, marked, one_line
from ..widgets.listing import Cells, Column, Listing

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job
    from ucop.engine.reading.reader import Reader

MARGIN = 40
"""Rows that are read above and below those in sight."""


class JobsListing(Listing):
    """Knows the jobs around those in sight; the others are read when they come into it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "space",
            "mark",
            "Mark",
            show=False,
            tooltip="Mark the job, or take its mark away: p P r t c then change all that are marked",
        )
    ]
    COLUMNS: ClassVar[Sequence[Column]] = (
        Column(title=" ", least=1, most=1),
        Column(title="status", least=11, most=11),
        Column(title="job", least=SHORT, most=SHORT),
        Column(title="workflow", least=12, most=24),
        Column(title="created", least=10, most=10, right=True),
        Column(title="time", least=11, most=11, right=True, from_width=100),
        Column(title="try", least=3, most=3, right=True, from_width=100),
        Column(title="tenant", least=8, most=16, from_width=120),
        Column(title="reason", least=20, most=None),
    )

    class Wanting(Message):
        """Rows came into sight that are not known."""

    class Marked(Message):
        """Other jobs are marked now."""

    def __init__(self) -> None:
        super().__init__(id="jobs")
        self._from = 0
        self._jobs: Sequence[Job] = ()
        self.marked: dict[str, Job] = {}
        """As they were seen last, by their ids."""

    @property
    def chosen(self) -> Job | None:
        return self.job_at(self.cursor)

    def job_at(self, index: int) -> Job | None:
        at = index - self._from
        return self._jobs[at] if 0 <= at < len(self._jobs) else None

    @property
    def known(self) -> int:
        """How many jobs it holds."""
        return len(self._jobs)

    def wanted(self) -> tuple[int, int]:
        """(first, how many) of the rows to read."""
        first = max(0, min(self.first_shown, self.cursor) - MARGIN)
        return first, self.page_size + 2 * MARGIN

    def show(self, total: int, first: int, jobs: Sequence[Job]) -> None:
        """Take what was read. The cursor stays on its job, also where others came before it."""
        before, row = self.chosen, self.cursor - self.first_shown
        self._from, self._jobs = first, jobs
        self.marked.update({job.id: job for job in jobs if job.id in self.marked})
        self.count = total
        if before is not None and (now := self._find(before.id)) is not None:
            at_top = self.first_shown == 0
            moved = now != self.cursor
            self.cursor = now
            if moved and not at_top:
                self.scroll_to(y=max(0, now - row), animate=False, force=True)
        self.refresh()

    def action_mark(self) -> None:
        if (job := self.chosen) is None:
            return
        if self.marked.pop(job.id, None) is None:
            self.marked[job.id] = job
        self.cursor += 1
        self.remarked()

    def remarked(self) -> None:
        """Marks came or went."""
        self.refresh()
        self.post_message(self.Marked())

    def _find(self, id: str) -> int | None:
        found = (at for at, job in enumerate(self._jobs, self._from) if job.id == id)
        return next(found, None)

    def cells(self, index: int) -> Cells | None:
        job = self.job_at(index)
        if job is None:
            return None
        now = datetime.now(UTC)
        return (
            "•" if job.id in self.marked else "",
            marked(job.status.value),
            job.id[:SHORT],
            one_line(job.workflow),
            ago((now - job.created_at).total_seconds()),
            duration(run_seconds(job, now)),
            str(job.attempt),
            one_line(job.tenant or ""),
            one_line(first_line(reason_of(job), 400)),
        )

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        last = min(self.count, self.first_shown + self.page_size) - 1
        if self.count and (
            self.job_at(self.first_shown) is None or self.job_at(max(0, last)) is None
        ):
            self.post_message(self.Wanting())


class JobsScreen(JobCommands):
    """The list, how many there are of each status, and which of them are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "slash", "filter", "Filter", key_display="/", tooltip="Choose which jobs are shown"
        ),
        Binding("s", "status", "Status", tooltip="Show the next status only, at last all again"),
        Binding("x", "clear", "All", tooltip="Show all jobs again; take marks away"),
        *JobCommands.JOB_KEYS,
    ]

    def __init__(self) -> None:
        super().__init__()
        self._wanted = Wanted()

    def body(self) -> ComposeResult:
        yield Static("", id="filter", markup=False)
        yield JobsListing()
        with VerticalScroll(id="empty"):
            yield Static("", markup=False)

    @property
    def listing(self) -> JobsListing:
        return self.query_one(JobsListing)

    @property
    def chosen(self) -> Job | None:
        return self.listing.chosen if self.is_mounted else None

    @property
    def marked(self) -> Sequence[Job]:
        return list(self.listing.marked.values()) if self.is_mounted else ()

    def unmark(self) -> None:
        self.listing.marked.clear()
        self.listing.remarked()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "clear":
            return self._wanted != Wanted() or bool(self.marked)
        return super().check_action(action, parameters)

    # ------------------------------------------------------------ reading

    async def load(self) -> None:
        filter, (first, limit) = self._wanted.filter(), self.listing.wanted()

        def ask(reader: Reader) -> tuple[Mapping[JobStatus, int], int, int, Sequence[Job]]:
            counts = reader.counts()
            total = sum(counts.values()) if filter.is_empty else reader.total(filter)
            start = max(0, min(first, total - limit))
            return counts, total, start, reader.page(filter, offset=start, limit=limit)

        try:
            counts, total, start, jobs = await self.console.read(ask)
        except NoDatabase:
            counts, total, start, jobs = {}, 0, 0, []
        self._show_counts(counts)
        self.listing.show(total, start, jobs)
        self._show_filter(total)
        self._show_emptiness(empty=not total, none=not counts)
        self.refresh_bindings()

    def tick(self) -> None:
        self.listing.refresh()

    @on(Listing.Moved)
    def _on_moved(self) -> None:
        self.refresh_bindings()

    @on(JobsListing.Marked)
    def _on_marked(self) -> None:
        self._show_filter(self.listing.count)
        self.refresh_bindings()

    @on(JobsListing.Wanting)
    def _on_wanting(self) -> None:
        self.changed()

    # ------------------------------------------------------------ showing

    def _show_counts(self, counts: Mapping[JobStatus, int]) -> None:
        top = Text("ucop  ", style="bold", no_wrap=True, overflow="ellipsis")
        total = sum(counts.values())
        top.append(f"{plural(total, 'job').replace(str(total), f'{total:,}')}  ")
        for status in JobStatus:
            if counts.get(status):
                top.append(
                    f"{SIGNS[status]} {counts[status]:,} {status}  ", COLOURS.get(status, "")
                )
        top.append(one_line(shown_url(self.console.source.url)), style="dim")
        self.query_one("#top", Static).update(top)

    def _show_filter(self, total: int) -> None:
        line = self.query_one("#filter", Static)
        said, number = str(self._wanted), len(self.marked)
        parts = [f"• {number} marked"] if number else []
        parts += [f"{total:,} with {said}"] if said else []
        line.display = bool(parts)
        line.update(one_line(f"{'; '.join(parts)}; x shows all") if said else "".join(parts))

    def _show_emptiness(self, *, empty: bool, none: bool) -> None:
        box = self.query_one("#empty")
        self.listing.display, box.display = not empty, empty
        if empty and none:
            command = self.console.source.place.command
            text = (
                "No jobs yet.\n\nIn another terminal, type\n\n"
                f"  {command('run NAME')}      to run a workflow,\n"
                f"  {command('workflows list')}   to see which there are.\n\n"
                "The job appears here by itself."
            )
        else:
            text = "No matching jobs. x shows all, / changes the filter."
        box.query_one(Static).update(text)
        if self.focused is None and not empty:
            self.listing.focus()

    # ------------------------------------------------------------ keys

    @on(Listing.Chosen)
    def _open(self) -> None:
        from .job_screen import JobScreen

        if (job := self.chosen) is not None:
            self.app.push_screen(JobScreen(job.id))

    def action_filter(self) -> None:
        self.app.push_screen(FilterForm(self._wanted), self._apply)

    def action_status(self) -> None:
        statuses = [None, *JobStatus]
        after = (statuses.index(self._wanted.status) + 1) % len(statuses)
        self._apply(replace(self._wanted, status=statuses[after]))

    def action_clear(self) -> None:
        self.unmark()
        self._apply(Wanted())

    def _apply(self, wanted: Wanted | None) -> None:
        if wanted is not None:
            self._wanted = wanted
            self.listing.cursor = 0
            self.changed()

    def forked(self, job: str) -> None:
        from .job_screen import JobScreen

        self.app.push_screen(JobScreen(job))
