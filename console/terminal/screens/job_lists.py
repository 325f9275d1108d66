"""What a job did and saved, as lists: its steps, events and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from textual.reactive import reactive

from ucop.engine.jobs.status import StepStatus

from ...view.jobs.checkpoints import tree
from ...view.jobs.job_facts import remark_on, step_seconds
from ...view.jobs.lines import details
from ...view.tables import ago, duration
from ..signs import marked, one_line
from ..widgets.listing import Cells, Column, Listing

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Checkpoint, Event, Step


class StepsListing(Listing):
    """Node runs in the order in which they began."""

    COLUMNS: ClassVar[Sequence[Column]] = (
        Column(title="node", least=14, most=30),
        Column(title="status", least=11, most=11),
        Column(title="try", least=3, most=3, right=True, from_width=100),
        Column(title="time", least=10, most=11, right=True),
        Column(title="calls", least=5, most=5, right=True, from_width=100),
        Column(title="in", least=7, most=9, right=True),
        Column(title="out", least=7, most=9, right=True),
        Column(title="cost", least=8, most=8, right=True, from_width=100),
        Column(title="model", least=12, most=24, from_width=120),
        Column(title="remark", least=16, most=None),
    )

    def __init__(self) -> None:
        super().__init__(id="steps")
        self.steps: Sequence[Step] = ()

    def show(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.count = len(steps)
        self.refresh()

    def cells(self, index: int) -> Cells:
        step = self.steps[index]
        calls = bool(step.model_calls)
        cached = f"{step.cached} from the cache" if step.cached else ""
        return (
            one_line(step.node),
            marked(step.status.value),
            str(step.attempt),
            duration(_runs(step)),
            f"{step.model_calls:,}" if calls else "",
            f"{step.tokens_in:,}" if calls else "",
            f"{step.tokens_out:,}" if calls else "",
            "" if step.cost is None or not calls else f"${step.cost:.4f}",
            one_line(" ".join(step.models)),
            one_line(" ".join(part for part in (remark_on(step), cached) if part)),
        )


def _runs(step: Step) -> float | None:
    if step.status is StepStatus.RUNNING and step.started_at is not None:
        return (datetime.now(UTC) - step.started_at).total_seconds()
    return step_seconds(step)


KEPT = 20_000
"""Events that the list holds; of more, the newest."""


class EventsListing(Listing):
    """What happened. While the cursor stands on the last event, it goes on with new ones."""

    COLUMNS: ClassVar[Sequence[Column]] = (
        Column(title="no", least=5, most=6, right=True),
        Column(title="time", least=12, most=12),
        Column(title="event", least=14, most=16),
        Column(title="", least=10, most=None),
    )

    def __init__(self) -> None:
        super().__init__(id="events")
        self.events: list[Event] = []

    def add(self, events: Sequence[Event]) -> None:
        at_end = self.cursor >= len(self.events) - 1
        self.events += events
        if (old := len(self.events) - KEPT) > 0:
            del self.events[:old]
            self.cursor -= old
        self.count = len(self.events)
        if at_end:
            self.cursor = self.count - 1
        self.refresh()

    def cells(self, index: int) -> Cells:
        event = self.events[index]
        return (
            str(event.seq),
            event.at.astimezone().strftime("%H:%M:%S.%f")[:-3],
            event.type,
            one_line(details(event.data)),
        )


class CheckpointsListing(Listing):
    """Saved states from the oldest on; where the job was set back, what it left is indented."""

    COLUMNS: ClassVar[Sequence[Column]] = (
        Column(title=" ", least=1, most=1),
        Column(title="checkpoint", least=18, most=18),
        Column(title="step", least=4, most=4, right=True),
        Column(title="ran", least=10, most=30),
        Column(title="due", least=10, most=30),
        Column(title="saved", least=10, most=10, right=True),
        Column(title="forks", least=12, most=None),
    )

    marked_id: reactive[str | None] = reactive(None)
    """The one that others are compared with."""

    def __init__(self) -> None:
        super().__init__(id="checkpoints")
        self._rows: Sequence[tuple[int, Checkpoint]] = ()
        self._forks: Sequence[tuple[str, str]] = ()

    @property
    def chosen(self) -> Checkpoint | None:
        return self._rows[self.cursor][1] if self.cursor < len(self._rows) else None

    def checkpoint(self, id: str | None) -> Checkpoint | None:
        return next((each for _, each in self._rows if each.id == id), None)

    def show(self, found: Sequence[Checkpoint], forks: Sequence[tuple[str, str]]) -> None:
        before, at_end = self.chosen, self.cursor >= len(self._rows) - 1
        self._rows, self._forks = list(tree(found)), forks
        self.count = len(self._rows)
        ids = [checkpoint.id for _, checkpoint in self._rows]
        if before is None or at_end or before.id not in ids:
            self.cursor = self.count - 1
        else:
            self.cursor = ids.index(before.id)
        self.refresh()

    def cells(self, index: int) -> Cells:
        depth, checkpoint = self._rows[index]
        now = datetime.now(UTC)
        forks = [job[:12] for job, at in self._forks if at == checkpoint.id]
        return (
            "•" if checkpoint.id == self.marked_id else "",
            "│ " * depth + checkpoint.id,
            str(checkpoint.step),
            one_line(", ".join(checkpoint.nodes)),
            one_line(", ".join(checkpoint.next)),
            ago((now - checkpoint.created_at).total_seconds()),
            ", ".join(forks),
        )
