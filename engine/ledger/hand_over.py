"""A job that waits, or is paused, gives its thread to whoever goes on with it.

What it had come to is its output, and what it asked is closed. Without that it would wait for ever:
its state is no longer the newest of its thread.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..jobs.job import JobId
from ..jobs.status import Change, JobStatus, sources
from . import questions, thread_rows
from .commands import changed_meanwhile
from .lifecycle import existing, settle
from .operation import Operation


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the newest job of a thread stands that rests and has not ended."""

    job: JobId
    attempt: int
    status: JobStatus
    fingerprint: str
    checkpoint: str | None


def standing(thread: str) -> Operation[Standing | None]:
    """The job that would have to give its thread away."""
    row = yield from thread_rows.newest(thread)
    if row is None or row["status"] not in sources(Change.HAND_ON):
        return None
    return Standing(
        job=JobId(row["id"]),
        attempt=row["attempt"],
        status=JobStatus(row["status"]),
        fingerprint=row["fingerprint"],
        checkpoint=row["checkpoint_id"],
    )


def hand_over(before: Standing, output: str | None, reason: str) -> Operation[None]:
    """End the job that stood on the thread before, with `output` (JSON text). Raises RefusedChange
    where it stands there no longer."""
    state = yield from existing(before.job)
    unchanged = (state["status"], state["attempt"]) == (before.status, before.attempt)
    if not unchanged or not (
        yield from settle(before.job, state, Change.HAND_ON, reason, output=output)
    ):
        raise changed_meanwhile(before.job)
    yield from questions.withdraw(before.job)


def unchanged(thread: str, before: Standing | None) -> Operation[bool]:
    """Whether the same job still stands on the thread, at the same place, or still none."""
    return (yield from standing(thread)) == before
