"""The life of a job: one enum, one transition table, one function that applies it.

Nothing else in the repository decides whether a status may follow another.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final


class JobStatus(StrEnum):
    """Where a job stands. `completed` and `cancelled` are final."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(StrEnum):
    """How one run of one node went."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Change(StrEnum):
    """What happens to a job. Each change leads from some statuses to one other."""

    CLAIM = "claim"
    """A worker takes the queued attempt."""
    RELEASE = "release"
    """The worker drains or is lost: the next attempt is queued."""
    COMPLETE = "complete"
    FAIL = "fail"
    ASK = "ask"
    """The graph interrupts: a person's answer is due."""
    PAUSE = "pause"
    CANCEL = "cancel"
    RESUME = "resume"
    """Paused or waiting goes on: the next attempt is queued."""
    RETRY = "retry"
    """Failed goes on from its last checkpoint, because a person says so."""
    HAND_ON = "hand on"
    """Paused or waiting, it leaves its thread to who goes on with that; it has come as far as it
    ever will."""
    EXPIRE = "expire"
    """A time is over while nobody works on the job: its deadline's, or that of a question that
    has no default."""


_S = JobStatus

TRANSITIONS: Final = MappingProxyType(
    {
        Change.CLAIM: (frozenset({_S.PENDING}), _S.RUNNING),
        Change.RELEASE: (frozenset({_S.RUNNING}), _S.PENDING),
        Change.COMPLETE: (frozenset({_S.RUNNING}), _S.COMPLETED),
        Change.FAIL: (frozenset({_S.RUNNING}), _S.FAILED),
        Change.ASK: (frozenset({_S.RUNNING}), _S.WAITING),
        Change.PAUSE: (frozenset({_S.PENDING, _S.RUNNING}), _S.PAUSED),
        Change.CANCEL: (
            frozenset({_S.PENDING, _S.RUNNING, _S.PAUSED, _S.WAITING}),
            _S.CANCELLED,
        ),
        Change.RESUME: (frozenset({_S.PAUSED, _S.WAITING}), _S.PENDING),
        Change.RETRY: (frozenset({_S.FAILED}), _S.PENDING),
        Change.HAND_ON: (frozenset({_S.PAUSED, _S.WAITING}), _S.COMPLETED),
        Change.EXPIRE: (frozenset({_S.PENDING, _S.PAUSED, _S.WAITING}), _S.FAILED),
    }
)

ACTIVE: Final = frozenset({_S.PENDING, _S.RUNNING})
"""The job goes on by itself; in every other status it rests."""

FINAL: Final = frozenset({_S.COMPLETED, _S.CANCELLED})
"""Never left again."""

SETTLED: Final = frozenset({_S.COMPLETED, _S.CANCELLED, _S.FAILED})
"""Nothing more happens unless a person retries: `result()` returns or raises."""


def follow(status: JobStatus, change: Change) -> JobStatus | None:
    """The status after `change`, or None where the table does not allow it."""
    sources, target = TRANSITIONS[change]
    return target if status in sources else None


def sources(change: Change) -> frozenset[JobStatus]:
    """The statuses that `change` may leave: what a compare-and-set expects."""
    return TRANSITIONS[change][0]


def target(change: Change) -> JobStatus:
    """The status that `change` leads to."""
    return TRANSITIONS[change][1]
