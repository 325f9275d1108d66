"""Letting a job go on, with more than it had where that is wanted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from ucop.engine.errors import UcopError

from ...view.inputs import read_budget
from ...view.jobs.why import LIMITS, twice, used_up
from ...view.tables import limit
from ..signs import clean

if TYPE_CHECKING:
    from ucop.engine.jobs.command import Command
    from ucop.engine.jobs.job import Job


class BudgetForm(ModalScreen[Mapping[str, float] | None]):
    """Gives the limits that are to hold from now on; None where the job is to stay."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Back")]

    def __init__(self, job: Job, action: Command) -> None:
        super().__init__()
        self._job, self._action = job, action

    def compose(self) -> ComposeResult:
        job = self._job
        has = ", ".join(limit(name, most) for name, most in job.budget.items()) or "no limits"
        with Vertical(classes="dialog"):
            yield Static(
                clean(f"{self._action} job {job.id[:12]} ({job.workflow})?"),
                classes="question",
                markup=False,
            )
            if job.reason:
                yield Static(clean(job.reason), markup=False)
            yield Static(f"It has {has}. Limits to change, or nothing:", markup=False)
            yield Input(_more(job), placeholder="tokens=400000 deadline=2h", compact=True)
            yield Static("", id="wrong", classes="wrong", markup=False)
            yield Static("Enter: go on   Esc: leave it", classes="hint", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self.dismiss(read_budget(shlex.split(event.value)))
        except (UcopError, ValueError) as error:
            self.query_one("#wrong", Static).update(clean(str(error)))


def _more(job: Job) -> str:
    """Twice the limit that stopped it, as `ucop jobs why` says."""
    stopped = LIMITS.get(job.error.type) if job.error else used_up(job)
    if stopped is None or stopped not in job.budget:
        return ""
    return f"{stopped}={twice(stopped, job.budget[stopped])}"
