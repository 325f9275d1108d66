"""A thread as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from ..errors import InvalidInput
from ..job_error import JobError
from ..record import Record


class ThreadStatus(StrEnum):
    """Where a thread stands, by its newest job."""

    IDLE = "idle"
    """Nothing runs, and nothing is due: it can be gone on with."""
    BUSY = "busy"
    """Jobs of it are queued or run."""
    INTERRUPTED = "interrupted"
    """Its newest job waits for a person, or is paused."""
    ERROR = "error"
    """Its newest job failed."""


class Thread(Record):
    """What is known of a thread beside its states."""

    id: str
    tenant: str | None = None
    status: ThreadStatus
    metadata: dict[str, Any] = Field(default_factory=dict)
    workflow: str | None = None
    """Of its newest job, or what it was created for."""
    job: str | None = None
    """Its newest job."""
    error: JobError | None = None
    """Of its newest job, where that failed."""
    created_at: datetime
    updated_at: datetime
    """When it was changed last: noted, edited, or gone on with."""
    expires_at: datetime | None = None
    """When it is deleted; None where nobody said so."""
    cursor: str
    """Where it stands in a list that is sorted by `updated_at`; see Engine.threads."""


SORTS = ("updated_at", "created_at", "id", "status")


@dataclass(frozen=True, kw_only=True)
class ThreadFilter:
    """Threads that have all of what is given. Raises InvalidInput."""

    ids: frozenset[str] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Names with their values; a thread may have more."""
    status: str | None = None
    workflow: str | None = None
    tenant: str | None = None
    """None means all."""
    cursor: str | None = None
    """Behind the thread that has this cursor."""

    def __post_init__(self) -> None:
        if self.status is not None and self.status not in tuple(ThreadStatus):
            known = ", ".join(ThreadStatus)
            raise InvalidInput(f"status: {self.status!r} is none; there is {known}")
        self.place  # noqa: B018 - raises

    @property
    def place(self) -> tuple[float, str] | None:
        """The time and the id of the cursor."""
        if self.cursor is None:
            return None
        time, _, id = self.cursor.partition(" ")
        try:
            return float(time), id
        except ValueError:
            raise InvalidInput(f"cursor: {self.cursor!r} is that of no thread") from None
