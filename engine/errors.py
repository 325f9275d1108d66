"""Every error of ucop, as one tree.

UcopError                     agents/errors.py: base of all; says what, where, what to do next
├── InvalidDefinition         agents/errors.py: a file or spec is wrong; lists every finding
│   └── DoublesRefused        agents/errors.py: test doubles in production mode
├── UnknownAgent              agents/errors.py
├── UnknownMerge              agents/errors.py
├── ToolUnavailable           agents/errors.py
├── AgentInputError           agents/errors.py
├── AgentOutputError          agents/errors.py
├── ModelError                agents/errors.py
│   ├── ModelUnavailable
│   ├── ModelTimeout
│   └── ModelResponseError
├── UnknownWorkflow           graphs/errors.py
├── InvalidInput              graphs/errors.py: a job's input does not fit the workflow
├── WorkflowChanged           graphs/errors.py: a Python graph no longer fits a checkpoint
├── InvalidSettings
├── JobNotFound
├── CheckpointNotFound
├── JobFailed                 what `result()` raises for a failed job
├── JobStopped                what `result()` raises for a job that waits, is paused or cancelled
├── ResultTimeout             `result(timeout=…)`: the job goes on
├── KeyConflict               another input under a key that is in use
├── RefusedChange             the job's status does not allow it
├── LimitReached              a limit of the workflow, or of the job, ended it
│   ├── DeadlinePassed
│   └── StepsUsedUp
├── Superseded                this attempt is no longer current: it may write nothing
├── EngineClosed
└── DatabaseError             the database cannot be used
    ├── DatabaseBusy          another process holds the write lock
    ├── DatabaseDamaged
    └── DatabaseTooNew        written by a later version of ucop

A floor raises only errors of its own file or a lower one; this page draws them together.
"""

from __future__ import annotations

from ucop.agents.errors import (
    AgentInputError,
    AgentOutputError,
    DoublesRefused,
    InvalidDefinition,
    ModelError,
    ModelResponseError,
    ModelTimeout,
    ModelUnavailable,
    ToolUnavailable,
    UcopError,
    UnknownAgent,
)
from ucop.graphs.errors import InvalidInput, UnknownWorkflow, WorkflowChanged

__all__ = [
    "AgentInputError",
    "AgentOutputError",
    "CheckpointNotFound",
    "DatabaseBusy",
    "DatabaseDamaged",
    "DatabaseError",
    "DatabaseTooNew",
    "DeadlinePassed",
    "DoublesRefused",
    "EngineClosed",
    "InvalidDefinition",
    "InvalidInput",
    "InvalidSettings",
    "JobFailed",
    "JobNotFound",
    "JobStopped",
    "KeyConflict",
    "LimitReached",
    "ModelError",
    "ModelResponseError",
    "ModelTimeout",
    "ModelUnavailable",
    "RefusedChange",
    "ResultTimeout",
    "StepsUsedUp",
    "Superseded",
    "ToolUnavailable",
    "UcopError",
    "UnknownAgent",
    "UnknownWorkflow",
    "WorkflowChanged",
]


class InvalidSettings(UcopError):
    """A setting, or the file that holds it, cannot be used."""


class JobNotFound(UcopError):
    """No job has this id, or several ids begin with it."""


class CheckpointNotFound(UcopError):
    """The job has no such checkpoint, or several begin so."""


class JobFailed(UcopError):
    """The job failed; `type`, `node` and `message` tell of the error that ended it."""

    def __init__(self, job_id: str, type: str, message: str, node: str | None) -> None:
        self.job_id, self.type, self.message, self.node = job_id, type, message, node
        place = f" in node {node!r}" if node else ""
        super().__init__(
            f"job {job_id} failed{place}: {type}: {message}. "
            f"It keeps what it finished: `ucop jobs resume {job_id}` goes on from there"
        )


class JobStopped(UcopError):
    """The job has no result, because it is paused, waits for a person or was cancelled."""

    def __init__(self, job_id: str, status: str, reason: str | None) -> None:
        self.job_id, self.status, self.reason = job_id, status, reason
        super().__init__(f"job {job_id} is {status}" + (f": {reason}" if reason else ""))


class ResultTimeout(UcopError, TimeoutError):
    """The job did not end in the time that the caller gave; it goes on."""


class KeyConflict(UcopError):
    """A job with this key exists, with another workflow or input."""


class RefusedChange(UcopError):
    """The job's status does not allow this change."""


class LimitReached(UcopError):
    """The job may not go on: it has used what it was allowed."""

    ends_attempt = True


class DeadlinePassed(LimitReached):
    """The job did not end in the time that it was given."""


class StepsUsedUp(LimitReached):
    """The job would run more nodes than it may."""


class Superseded(UcopError):
    """This attempt is no longer current: another owns the job, or the job was stopped."""

    ends_attempt = True


class EngineClosed(UcopError):
    """The engine was closed; open a new one."""


class DatabaseError(UcopError):
    """The database cannot be used."""

    ends_attempt = True


class DatabaseBusy(DatabaseError):
    """Another process holds the database's write lock."""


class DatabaseDamaged(DatabaseError):
    """The file is damaged, or no database."""


class DatabaseTooNew(DatabaseError):
    """A later version of ucop wrote this database."""
