"""One job from all sides: overview, graph, steps, events, checkpoints, state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane, Tree

from ucop.engine.errors import JobNotFound
from ucop.engine.jobs.status import ACTIVE, JobStatus
from ucop.graphs.pictures.picture import picture_of_kept
from ucop.graphs.workflow import COMPILER_FORMAT

from ...view.jobs.checkpoints import differences
from ...view.jobs.follow import nodes_of
from ...view.jobs.job_facts import facts, reason_of, run_seconds
from ...view.jobs.progress import Progress
from ...view.jobs.questions import asked_as_text
from ...view.jobs.why import Explanation, explain
from ...view.tables import duration, plural
from ..drawing.drawing import Drawing
from ..forms.confirmation import Confirmation
from ..job_commands import SHORT, JobCommands
from ..signs import clean, marked, one_line, written
from ..widgets.listing import Listing
from ..widgets.state_tree import StateTree
from .graph_view import GraphView
from .job_lists import CheckpointsListing, EventsListing, StepsListing
from .text_screen import TextScreen

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Checkpoint, Event, Job, Question
    from ucop.engine.reading.reader import Reader

PAGE = 1000
"""Events read at once."""
CUT = 400
"""Characters of a value of a state before it is cut."""

TABS = ("Overview", "Graph", "Steps", "Events", "Checkpoints", "State")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one look at the database brought."""

    job: Job
    events: Sequence[Event]
    questions: Sequence[Question]
    explanation: Explanation | None
    checkpoints: Sequence[Checkpoint] | None
    forks: Sequence[tuple[str, str]]


class JobScreen(JobCommands):
    """A head that says where the job stands, and a tab for each side of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", tooltip="Back to the list"),
        *(
            Binding(str(number), f"tab('{name.lower()}')", name, show=False)
            for number, name in enumerate(TABS, 1)
        ),
        Binding("left_square_bracket", "turn(-1)", "Tab before", show=False, key_display="["),
        Binding("right_square_bracket", "turn(1)", "Tab after", show=False, key_display="]"),
        *JobCommands.JOB_KEYS,
        Binding("m", "mark", "Mark", tooltip="Compare other checkpoints with this one"),
        Binding("d", "changes", "Changes", tooltip="State of a checkpoint, or what it changed"),
        Binding("b", "restore", "Set back", tooltip="Set the job back to this checkpoint"),
    ]

    def __init__(self, job: str) -> None:
        super().__init__()
        self._given = job
        self._job_id: str | None = None
        self._seen_last: Seen | None = None
        self._definition: Mapping[str, Any] = {}
        self._drawing: Drawing | None = None
        self._progress = Progress()
        self._changes = False

    def body(self) -> ComposeResult:
        yield Static("", id="facts", markup=False)
        with TabbedContent(id="tabs"):
            for number, name in enumerate(TABS, 1):
                with TabPane(f"{number} {name}", id=name.lower()):
                    yield from self._pane(name)

    def _pane(self, name: str) -> ComposeResult:
        match name:
            case "Overview":
                with VerticalScroll(id="overview-scroll"):
                    yield Static("", id="overview-text", markup=False)
            case "Graph":
                yield GraphView()
            case "Steps":
                yield StepsListing()
            case "Events":
                yield EventsListing()
            case "Checkpoints":
                yield CheckpointsListing()
                with VerticalScroll(id="checkpoint-scroll"):
                    yield Static("", id="checkpoint-text", markup=False)
            case "State":
                yield StateTree()

    @property
    def chosen(self) -> Job | None:
        return self._seen_last.job if self._seen_last else None

    @property
    def tab(self) -> str:
        return self.query_one(TabbedContent).active

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("mark", "changes", "restore"):
            shown = self.is_mounted and self.tab == "checkpoints" and self._checkpoint is not None
            job = self.chosen
            rests = job is not None and job.status in (JobStatus.PAUSED, JobStatus.FAILED)
            return shown and (action != "restore" or rests)
        return super().check_action(action, parameters)

    # ------------------------------------------------------------ reading

    def on_screen_resume(self) -> None:
        self.changed()

    async def load(self) -> None:
        after = self._progress_after
        # Checkpoints hold whole states: they are read where somebody looks at them.
        whole = self.tab in ("checkpoints", "state")
        try:
            seen = await self.console.read(lambda reader: self._ask(reader, after, whole))
        except JobNotFound as error:
            # Where a form stands before it, it stays until that is closed: to dismiss it now
            # would take the form away. (Textual calls it current all the while.)
            if self.is_active:
                self.console.tell(str(error), failed=True)
                self.dismiss()
            return
        self._show(seen)

    @property
    def _progress_after(self) -> int:
        events = self.query_one(EventsListing).events
        return events[-1].seq if events else 0

    def _ask(self, reader: Reader, after: int, whole: bool) -> Seen:
        if self._job_id is None:
            self._job_id = reader.find(self._given)
        id = self._job_id
        if not self._definition:
            self._definition = reader.definition(id)
            self._drawing = _drawing(self._definition)
            self._progress = Progress(nodes_of(self._definition))
        events: list[Event] = []
        while page := reader.events(id, after=after, limit=PAGE):
            events += page
            after = page[-1].seq
        job = reader.job(id)
        before = self._seen_last
        if job.status is JobStatus.COMPLETED:
            explanation = None
        elif before is None or events or job.status in ACTIVE:
            explanation = explain(self.console.source.place, reader, job, reader.now())
        else:
            explanation = before.explanation
        return Seen(
            job=job,
            events=events,
            questions=[q for q in reader.questions(id) if q.is_open],
            explanation=explanation,
            checkpoints=reader.checkpoints(id) if whole else None,
            forks=reader.forks(id) if whole else (),
        )

    def tick(self) -> None:
        if self._seen_last is None or self._seen_last.job.status not in ACTIVE:
            return
        self._show_head(self._seen_last)
        self.query_one(StepsListing).refresh()
        self._show_graph()

    # ------------------------------------------------------------ showing

    def _show(self, seen: Seen) -> None:
        self._seen_last = seen
        for event in seen.events:
            self._progress.apply(event)
        self._show_head(seen)
        self.query_one("#overview-text", Static).update(self._overview(seen))
        self._show_graph()
        self.query_one(StepsListing).show(seen.job.steps)
        self.query_one(EventsListing).add(seen.events)
        if seen.checkpoints is not None:
            self.query_one(CheckpointsListing).show(seen.checkpoints, seen.forks)
            self._show_checkpoint()
            self._show_state(seen)
        self.refresh_bindings()

    def _show_head(self, seen: Seen) -> None:
        job, now = seen.job, datetime.now(UTC)
        top = Text("ucop  ", style="bold", no_wrap=True, overflow="ellipsis")
        top.append(f"job {job.id}  ")
        top.append(one_line(job.workflow), style="bold")
        self.query_one("#top", Static).update(top)
        head = Text.assemble(marked(job.status.value), no_wrap=True, overflow="ellipsis")
        for part in self._amounts(job, now):
            head.append(f"  {part}")
        if reason := self._reason(seen):
            head.append(f"\n{one_line(reason)}", style="bold")
        self.query_one("#facts", Static).update(head)

    def _amounts(self, job: Job, now: datetime) -> list[str]:
        usage = job.usage
        found = [f"attempt {job.attempt}"]
        if (seconds := run_seconds(job, now)) is not None:
            found.append(duration(seconds))
        if usage.model_calls:
            found.append(plural(usage.model_calls, "model call"))
            found.append(f"{usage.tokens_in:,} tokens in, {usage.tokens_out:,} out")
            if usage.cost:
                found.append(f"${usage.cost:.4f}")
        return found

    def _reason(self, seen: Seen) -> str:
        if seen.questions:
            question = seen.questions[0]
            return f"{question.node} asks: {asked_as_text(question)}"
        if seen.explanation is not None and seen.job.status is not JobStatus.RUNNING:
            return seen.explanation.causes[0] if seen.explanation.causes else ""
        return reason_of(seen.job)

    def _overview(self, seen: Seen) -> Text:
        text = Text()
        for question in seen.questions:
            text.append("? ", style="bold yellow")
            text.append(clean(f"{question.node} asks: {asked_as_text(question)}\n"), style="bold")
            text.append("  a answers it\n\n")
        if seen.explanation is not None:
            for line in seen.explanation.lines()[1:]:
                text.append(clean(f"{line}\n"))
            text.append("\n")
        shown = facts(seen.job, datetime.now(UTC))
        parent = seen.job.parent
        if parent is not None:
            shown["fork of"] = f"job {parent.job_id} at {parent.checkpoint_id}"
        for name, value in shown.items():
            text.append(f"{name:<11}", style="dim")
            text.append(f"{written(value, 4_000)}\n")
        return text

    def _show_graph(self) -> None:
        if self.tab != "graph" or self._seen_last is None:
            return
        if self._drawing is None:
            self.query_one(GraphView).say("Another version of ucop made this job's workflow.")
            return
        rows = {row.node: row for row in self._progress.rows(datetime.now(UTC))}
        self.query_one(GraphView).show(self._drawing, rows)

    @property
    def _checkpoint(self) -> Checkpoint | None:
        return self.query_one(CheckpointsListing).chosen

    def _show_checkpoint(self) -> None:
        listing, chosen = self.query_one(CheckpointsListing), self._checkpoint
        text = Text()
        if chosen is None:
            text.append("No state is saved yet.")
        elif (other := listing.checkpoint(listing.marked_id)) is not None and other != chosen:
            text.append(f"from {other.id} to {chosen.id}\n", style="bold")
            _put_changes(text, other.values, chosen.values)
        elif self._changes:
            before = listing.checkpoint(chosen.parent_id)
            who = f" by {', '.join(chosen.nodes)}" if chosen.nodes else ""
            text.append(clean(f"changed{who}\n"), style="bold")
            _put_changes(text, before.values if before else {}, chosen.values)
        else:
            for name, value in chosen.values.items():
                text.append(f"{clean(name)}: ", style="bold")
                text.append(f"{written(value, CUT)}\n")
        self.query_one("#checkpoint-text", Static).update(text)

    def _show_state(self, seen: Seen) -> None:
        last = next(iter(seen.checkpoints or ()), None)
        parts: dict[str, Any] = {"input": seen.job.input}
        if last is not None:
            parts["state"] = last.values
        if seen.job.output is not None:
            parts["output"] = seen.job.output
        self.query_one(StateTree).show(parts)

    # ------------------------------------------------------------ keys

    def action_back(self) -> None:
        self.dismiss()

    def action_tab(self, name: str) -> None:
        tabs = self.query_one(TabbedContent)
        tabs.active = name

    def action_turn(self, by: int) -> None:
        names = [name.lower() for name in TABS]
        self.action_tab(names[(names.index(self.tab) + by) % len(names)])

    @on(TabbedContent.TabActivated)
    def _on_tab(self) -> None:
        first = next(iter(self.query_one(f"#{self.tab}").query("*").results(Widget)), None)
        if first is not None and first.can_focus:
            first.focus()
        self._show_graph()
        self.changed()
        self.refresh_bindings()

    @on(Listing.Moved, "#checkpoints")
    def _on_checkpoint(self) -> None:
        self._show_checkpoint()

    @on(Listing.Chosen, "#steps")
    def _open_step(self, event: Listing.Chosen) -> None:
        step = self.query_one(StepsListing).steps[event.index]
        self.app.push_screen(TextScreen(f"step {step.node}", step.model_dump_json(indent=2)))

    @on(Listing.Chosen, "#events")
    def _open_event(self, event: Listing.Chosen) -> None:
        found = self.query_one(EventsListing).events[event.index]
        title = f"event {found.seq}: {found.type}"
        self.app.push_screen(TextScreen(title, found.model_dump_json(indent=2)))

    @on(Listing.Chosen, "#checkpoints")
    def _open_checkpoint(self) -> None:
        if (found := self._checkpoint) is not None:
            self.app.push_screen(
                TextScreen(f"checkpoint {found.id}", written(found.values, 1_000_000))
            )

    @on(Tree.NodeSelected)
    def _open_value(self, event: Tree.NodeSelected[Any]) -> None:
        if not event.node.allow_expand and event.node.data is not None:
            name, value = event.node.data
            self.app.push_screen(TextScreen(name, written(value, 1_000_000)))

    def action_mark(self) -> None:
        listing = self.query_one(CheckpointsListing)
        chosen = self._checkpoint
        same = chosen is None or chosen.id == listing.marked_id
        listing.marked_id = None if same or chosen is None else chosen.id
        listing.refresh()
        self._show_checkpoint()

    def action_changes(self) -> None:
        self._changes = not self._changes
        self._show_checkpoint()

    def action_fork(self) -> None:
        at = self._checkpoint if self.tab == "checkpoints" else None
        self._give(lambda job: self._fork(job, at))

    def action_restore(self) -> None:
        at = self._checkpoint
        if at is not None:
            self._give(lambda job: self._restore(job, at))

    async def _restore(self, job: Job, at: Checkpoint) -> None:
        due = ", ".join(at.next) or "its end"
        question = f"set job {job.id[:SHORT]} ({job.workflow}) back, to before {due}?"
        follows = "What it did after that stays to be read, as a branch."
        if not await self.app.push_screen_wait(Confirmation(question, follows)):
            return

        def restore(engine: Any) -> JobStatus:
            handle = engine.job(job.id)
            handle.restore(at.id)
            status: JobStatus = handle.status
            return status

        if await self._done(restore) is not None:
            self.console.tell(f"job {job.id[:SHORT]} is set back to before {due}; r resumes it")

    def forked(self, job: str) -> None:
        self.app.push_screen(JobScreen(job))


def _drawing(definition: Mapping[str, Any]) -> Drawing | None:
    """Laid out here, on a thread; None where only another version can read the definition."""
    if definition["kind"] == "yaml" and definition["format"] != COMPILER_FORMAT:
        return None
    drawing = Drawing(picture_of_kept(definition))
    drawing.lay_out()
    return drawing


def _put_changes(text: Text, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    found = list(differences(before, after))
    for path, old, new in found:
        text.append(f"{clean(path)}\n", style="bold")
        text.append(f"  - {written(old, CUT)}\n", style="red")
        text.append(f"  + {written(new, CUT)}\n", style="green")
    if not found:
        text.append("the states are the same")
