"""A state to edit before a job goes on from it, as a new job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Select, Static, TextArea

from ..signs import clean

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Checkpoint, Job

LONGEST = 20_000
"""Characters of a value that is still put before a person to edit."""


@dataclass(frozen=True, kw_only=True)
class Fork:
    """What is to be put in place of what the state has, and as which node."""

    replace: Mapping[str, Any] = field(default_factory=dict)
    as_node: str | None = None


class ForkForm(ModalScreen[Fork | None]):
    """The state as JSON; what is changed in it is what the fork begins with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("ctrl+s", "fork", "Fork", priority=True),
    ]

    def __init__(self, job: Job, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._job, self._checkpoint = job, checkpoint
        texts = {name: _text(value) for name, value in checkpoint.values.items()}
        self._long = [name for name, text in texts.items() if len(text) > LONGEST]
        self._shown = {
            name: value for name, value in checkpoint.values.items() if name not in self._long
        }

    def compose(self) -> ComposeResult:
        at = self._checkpoint
        due = ", ".join(at.next) or "its end"
        with Vertical(classes="dialog whole"):
            yield Static(
                clean(f"A new job from {self._job.workflow} {self._job.id[:12]}, before {due}"),
                classes="question",
                markup=False,
            )
            if len(at.nodes) > 1:
                yield Select(
                    [(f"edit as {node}", node) for node in at.nodes],
                    prompt="edit as the node …",
                    id="as",
                    compact=True,
                )
            yield TextArea(clean(_text(self._shown)), id="state", compact=True)
            if self._long:
                listed = ", ".join(self._long)
                yield Static(clean(f"too long to be edited here: {listed}"), markup=False)
            yield Static("", id="wrong", classes="wrong", markup=False)
            yield Static("Edit the state or leave it. Ctrl-S: fork   Esc: back", classes="hint")

    def on_mount(self) -> None:
        self.query_one("#state").focus()

    def action_fork(self) -> None:
        try:
            typed = json.loads(self.query_one("#state", TextArea).text or "{}")
        except ValueError as error:
            self._say(f"not JSON: {error}")
            return
        if not isinstance(typed, dict):
            self._say("must be an object of the state's names and values")
            return
        # As it was shown: what the terminal cannot show must not count as a change.
        before = json.loads(clean(_text(self._shown)))
        missing = [name for name in before if name not in typed]
        if missing:
            self._say(f"a name cannot be taken out of the state: {', '.join(missing)}; say null")
            return
        changed = {
            name: value
            for name, value in typed.items()
            if name not in before or before[name] != value
        }
        chosen = self.query("#as")
        node = chosen.first(Select).value if chosen else None
        self.dismiss(Fork(replace=changed, as_node=node if isinstance(node, str) else None))

    def _say(self, wrong: str) -> None:
        self.query_one("#wrong", Static).update(clean(wrong))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
