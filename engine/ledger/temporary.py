"""Threads that last as long as their one job: its end deletes their states."""

from __future__ import annotations

from ..dialect import POSTGRES, SQLITE
from .operation import One, Operation
from .threads import delete_threads

KEEP = 600.0
"""Seconds for which the job itself is kept: who waits for it is to find how it ended."""

_APART = "select {apart} as apart"

_EXPIRE = "update threads set expires_at = {now} + :keep, updated_at = {now} where id = :thread"


def end(thread: str) -> Operation[None]:
    """Delete the states of a temporary thread whose job has ended."""
    (row,) = yield One(_APART, {})
    yield from delete_threads((POSTGRES if row["apart"] else SQLITE).tables, [thread])
    yield One(_EXPIRE, {"thread": thread, "keep": KEEP})
