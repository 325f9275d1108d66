"""Which jobs the list shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Select, Static

from ucop.engine.errors import UcopError
from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.status import JobStatus

from ...view.inputs import read_filter
from ..signs import SIGNS, clean

if TYPE_CHECKING:
    from ..source_app import SourceApp


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A filter as it was typed: an age is one of the moment in which the list is read."""

    text: str = ""
    status: JobStatus | None = None
    queue: str = ""
    workflow: str = ""
    tenant: str = ""
    labels: tuple[str, ...] = field(default=())
    older_than: str = ""
    newer_than: str = ""

    def filter(self) -> Filter:
        """Raises UsageProblem."""
        from dataclasses import replace

        found = read_filter(
            (self.status,) if self.status else None,
            self.queue or None,
            self.workflow or None,
            self.tenant or None,
            self.labels,
            self.older_than or None,
            self.newer_than or None,
        )
        return replace(found, text=self.text or None)

    def __str__(self) -> str:
        """As the list's head says it."""
        said = {
            "status": self.status and f"{SIGNS[self.status]} {self.status}",
            "queue": self.queue,
            "workflow": self.workflow,
            "tenant": self.tenant,
            "label": " ".join(self.labels),
            "older than": self.older_than,
            "newer than": self.newer_than,
            "text": self.text and f"“{self.text}”",
        }
        return ", ".join(f"{name} {value}" for name, value in said.items() if value)


class FilterForm(ModalScreen[Wanted | None]):
    """Enter applies what is typed; None where nothing is to change."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("ctrl+s", "apply", "Apply", priority=True),
    ]

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self._wanted = wanted

    def compose(self) -> ComposeResult:
        wanted = self._wanted
        with VerticalScroll(classes="dialog"):
            yield Static("Show jobs with all of this", classes="question")
            yield from _field("Text", Input(wanted.text, id="text", compact=True))
            yield from _field(
                "Status",
                Select(
                    [(f"{SIGNS[each]} {each}", each.value) for each in JobStatus],
                    value=wanted.status.value if wanted.status else Select.NULL,
                    prompt="any",
                    id="status",
                    compact=True,
                ),
            )
            yield from _field("Queue", Input(wanted.queue, id="queue", compact=True))
            yield from _field("Workflow", Input(wanted.workflow, id="workflow", compact=True))
            yield from _field("Tenant", Input(wanted.tenant, id="tenant", compact=True))
            yield from _field(
                "Labels",
                Input(
                    " ".join(wanted.labels),
                    placeholder="team=docs kind=report",
                    id="labels",
                    compact=True,
                ),
            )
            yield from _field(
                "Older than",
                Input(
                    wanted.older_than,
                    placeholder="30m, 2h, 7d, or a date: 2026-11-28",
                    id="older",
                    compact=True,
                ),
            )
            yield from _field("Newer than", Input(wanted.newer_than, id="newer", compact=True))
            yield Static("", id="wrong", classes="wrong", markup=False)
            yield Static("Enter: show them   Esc: back", classes="hint")

    def on_mount(self) -> None:
        self.query_one("#text").focus()

    async def on_input_submitted(self) -> None:
        await self.action_apply()

    async def action_apply(self) -> None:
        status = self.query_one("#status", Select).value
        wanted = Wanted(
            text=self._text_of("text"),
            status=JobStatus(status) if isinstance(status, str) else None,
            queue=self._text_of("queue"),
            workflow=self._text_of("workflow"),
            tenant=self._text_of("tenant"),
            labels=tuple(self._text_of("labels").split()),
            older_than=self._text_of("older"),
            newer_than=self._text_of("newer"),
        )
        try:
            wanted.filter()
            await self._check_queue(wanted.queue)
        except UcopError as error:
            self.query_one("#wrong", Static).update(clean(str(error)))
        else:
            self.dismiss(wanted)

    async def _check_queue(self, name: str) -> None:
        """Raises UcopError."""
        if name:
            console = cast("SourceApp", self.app)
            declared = console.source.place.settings.declared
            await console.read(lambda reader: reader.check_queue(name, declared))

    def _text_of(self, id: str) -> str:
        return self.query_one(f"#{id}", Input).value.strip()


def _field(label: str, widget: Input | Select[str]) -> ComposeResult:
    with Horizontal(classes="field"):
        yield Label(label)
        yield widget
