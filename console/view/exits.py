"""Exit codes: how a command tells a script what happened.

| code | meaning |
|---|---|
| 0 | done |
| 1 | the job failed or was cancelled, or the database or a model is unavailable |
| 2 | usage, an invalid workflow, an input or a change that is refused |
| 3 | not found: a job, a checkpoint, a workflow, an agent, a schedule, a delivery |
| 4 | the job waits for a person |
| 5 | the job is paused, for example by its budget |
| 70 | a defect of ucop |
| 130 | interrupted |
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ucop.engine.errors import (
    AgentInputError,
    ApiKeyExists,
    ApiKeyNotFound,
    CheckpointNotFound,
    DeliveryNotFound,
    InvalidDefinition,
    InvalidInput,
    InvalidJobFile,
    InvalidSettings,
    JobExists,
    JobNotFound,
    KeyConflict,
    RefusedChange,
    ScheduleExists,
    ScheduleNotFound,
    ThreadBusy,
    UcopError,
    UnknownAgent,
    UnknownWorkflow,
)
from ucop.engine.jobs.status import JobStatus


class Exit(IntEnum):
    """What `$?` is."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    WAITS = 4
    PAUSED = 5
    DEFECT = 70
    INTERRUPTED = 130


class UsageProblem(UcopError):
    """What was typed cannot be acted on."""


class OutputLost(UcopError):
    """Stdout cannot be written."""


_REFUSED: Final = (
    AgentInputError,
    ApiKeyExists,
    InvalidDefinition,
    InvalidInput,
    InvalidJobFile,
    InvalidSettings,
    JobExists,
    KeyConflict,
    RefusedChange,
    ThreadBusy,
    ScheduleExists,
    UsageProblem,
)
_NOT_FOUND: Final = (
    ApiKeyNotFound,
    CheckpointNotFound,
    DeliveryNotFound,
    JobNotFound,
    ScheduleNotFound,
    UnknownAgent,
    UnknownWorkflow,
)

_OF_STATUS: Final = {
    JobStatus.COMPLETED: Exit.OK,
    JobStatus.FAILED: Exit.FAILED,
    JobStatus.CANCELLED: Exit.FAILED,
    JobStatus.WAITING: Exit.WAITS,
    JobStatus.PAUSED: Exit.PAUSED,
}


def exit_of_error(error: UcopError) -> Exit:
    """The exit code of a command that ended with `error`."""
    if isinstance(error, _NOT_FOUND):
        return Exit.NOT_FOUND
    return Exit.USAGE if isinstance(error, _REFUSED) else Exit.FAILED


def exit_of_job(status: JobStatus) -> Exit:
    """The exit code of a command that saw a job come to rest."""
    return _OF_STATUS[status]
