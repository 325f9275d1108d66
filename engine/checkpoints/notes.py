"""Notes of an attempt: what rides in one transaction, and what it has taken out of the journal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..ledger.records import NewEvent, StepRow
from ..values.json_text import to_json
from .replies import Reply

Writes = Sequence[tuple[str, Any]]


Call = tuple[Literal["put", "put_writes"], tuple[Any, ...]]
"""A method of a saver, and its arguments."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Notes that ride in one transaction."""

    steps: tuple[StepRow, ...]
    events: tuple[NewEvent, ...]
    consumed: tuple[str, ...] = ()
    """Questions whose answers nodes have gone past."""
    rejected: tuple[str, ...] = ()
    """Questions whose answers did not fit."""


NO_NOTES = Batch((), ())


@dataclass(frozen=True, slots=True)
class Load:
    """What a transaction has taken out of the journal: nobody else writes it meanwhile."""

    steps: list[StepRow]
    events: list[NewEvent]
    held: list[Call]
    consumed: tuple[str, ...]
    rejected: tuple[str, ...]


def with_reply(notes: Batch, reply: Reply | None) -> Batch:
    """The notes of a node's end, with what became of the answers that it was given."""
    if reply is None or not (reply.consumed or reply.rejected):
        return notes
    told = [
        NewEvent(type="question.rejected", at=time.monotonic(), data=to_json({"question": id}))
        for id in reply.rejected
    ]
    return replace(
        notes,
        events=(*notes.events, *told),
        consumed=reply.consumed,
        rejected=reply.rejected,
    )
