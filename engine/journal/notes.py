"""Notes of an attempt: what waits for a transaction, what rides in one, and what one has taken."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..ledger.records import NewEvent, StepRow
from ..values.json_text import to_json
from .replies import Reply

Writes = Sequence[tuple[str, Any]]

Call = tuple[Literal["put", "put_writes"], tuple[Any, ...]]
"""A method of a saver, and its arguments."""


@dataclass(slots=True)
class Notes:
    """Steps and events, and what is saved along with them."""

    steps: list[StepRow] = field(default_factory=list)
    events: list[NewEvent] = field(default_factory=list)
    consumed: list[str] = field(default_factory=list)
    """Questions whose answers nodes have gone past."""
    rejected: list[str] = field(default_factory=list)
    """Questions whose answers did not fit."""
    held: list[Call] = field(default_factory=list)
    """What is saved together with what follows at once."""

    def add(self, more: Notes) -> None:
        self.steps += more.steps
        self.events += more.events
        self.consumed += more.consumed
        self.rejected += more.rejected
        self.held += more.held

    def add_reply(self, reply: Reply) -> None:
        """What became of the answers that a node was given."""
        self.consumed += reply.consumed
        self.rejected += reply.rejected
        self.events += [
            NewEvent(type="question.rejected", at=time.monotonic(), data=to_json({"question": id}))
            for id in reply.rejected
        ]
