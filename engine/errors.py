"""Every error of ucop, as one tree.

UcopError                     agents/errors.py: base of all; says what, where, what to do next
├── InvalidDefinition         agents/errors.py: a file or spec is wrong; lists every finding
│   └── DoublesRefused        agents/errors.py: test doubles in production mode
├── UnknownAgent              agents/errors.py
├── UnknownMerge              agents/errors.py
├── MemoryUnavailable         agents/errors.py
├── ToolUnavailable           agents/errors.py
├── AgentInputError           agents/errors.py
├── AgentOutputError          agents/errors.py
├── NobodyToAsk               agents/errors.py
├── ModelError                agents/errors.py
│   ├── ModelUnavailable
│   ├── ModelTimeout
│   └── ModelResponseError
├── UnknownWorkflow           graphs/errors.py
├── InvalidInput              graphs/errors.py: a job's input does not fit the workflow
├── WorkflowChanged           graphs/errors.py: a Python graph no longer fits a checkpoint
├── MeshStopped               graphs/errors.py: a mesh ended before there was an answer
│   ├── MeshCycle             whoever could answer waits for an answer itself
│   ├── MeshAgentDead         whoever could answer failed, or is not asked for now
│   ├── MissingCapability     nobody in the mesh declares what was asked for
│   ├── MeshInputRefused      nobody who declares it takes what came with the question
│   └── TooManyHops           the mesh asked as often as it may
├── InvalidSettings
├── JobNotFound
├── CheckpointNotFound
├── ScheduleNotFound
├── ScheduleExists            another schedule has this name
├── DeliveryNotFound
├── ApiKeyNotFound
├── ApiKeyExists              another key has this name
├── JobFailed                 what `result()` raises for a failed job
├── JobStopped                what `result()` raises for a job that waits, is paused or cancelled
├── ResultTimeout             `result(timeout=…)`: the job goes on
├── InvalidJobFile            a file that `ucop jobs import` cannot use
├── JobExists                 the job of that file is in this database already
├── KeyConflict               another input under a key that is in use
├── RefusedChange             the job's status does not allow it
├── ThreadBusy                jobs are queued or run on the thread, and `on_busy` is "reject"
├── ThreadNotFound            no such thread, or it belongs to another tenant
├── ThreadExists              a thread of this name is there already
├── MissingSecret             a secret that the job names is not set where it runs
├── Unstorable                a value that a node gave cannot be stored, or not come back
├── LimitReached              a limit of the workflow, or of the job, ended it
│   ├── DeadlinePassed
│   └── StepsUsedUp
├── AnswerIgnored             the graph that asked cannot take answers
├── Superseded                this attempt is no longer current: it may write nothing
├── EngineClosed
└── DatabaseError             the database cannot be used
    ├── DatabaseBusy          another process holds the write lock
    ├── DatabaseRefusal       it works, and refuses a value: too large, or not to be stored
    ├── DatabaseDamaged
    └── DatabaseTooNew        written by a later version of ucop

A floor raises only errors of its own file or a lower one; this page draws them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ucop.agents.errors import (
    AgentInputError,
    AgentOutputError,
    DoublesRefused,
    InvalidDefinition,
    MemoryUnavailable,
    ModelError,
    ModelResponseError,
    ModelTimeout,
    ModelUnavailable,
    NobodyToAsk,
    ToolUnavailable,
    UcopError,
    UnknownAgent,
)
from ucop.graphs.errors import (
    InvalidInput,
    MeshAgentDead,
    MeshCycle,
    MeshInputRefused,
    MeshStopped,
    MissingCapability,
    TooManyHops,
    UnknownWorkflow,
    WorkflowChanged,
)

if TYPE_CHECKING:
    from .job_error import JobError

__all__ = [
    "AgentInputError",
    "AgentOutputError",
    "AnswerIgnored",
    "ApiKeyExists",
    "ApiKeyNotFound",
    "CheckpointNotFound",
    "DatabaseBusy",
    "DatabaseDamaged",
    "DatabaseError",
    "DatabaseRefusal",
    "DatabaseTooNew",
    "DeadlinePassed",
    "DeliveryNotFound",
    "DoublesRefused",
    "EngineClosed",
    "InvalidDefinition",
    "InvalidInput",
    "InvalidJobFile",
    "InvalidSettings",
    "JobExists",
    "JobFailed",
    "JobNotFound",
    "JobStopped",
    "KeyConflict",
    "LimitReached",
    "MemoryUnavailable",
    "MeshAgentDead",
    "MeshCycle",
    "MeshInputRefused",
    "MeshStopped",
    "MissingCapability",
    "MissingSecret",
    "ModelError",
    "ModelResponseError",
    "ModelTimeout",
    "ModelUnavailable",
    "NobodyToAsk",
    "RefusedChange",
    "ResultTimeout",
    "ScheduleExists",
    "ScheduleNotFound",
    "StepsUsedUp",
    "Superseded",
    "ThreadBusy",
    "ThreadExists",
    "ThreadNotFound",
    "TooManyHops",
    "ToolUnavailable",
    "UcopError",
    "UnknownAgent",
    "UnknownWorkflow",
    "Unstorable",
    "WorkflowChanged",
]


class InvalidSettings(UcopError):
    """A setting, or the file that holds it, cannot be used."""


class JobNotFound(UcopError):
    """No job has this id, or several ids begin with it."""


class CheckpointNotFound(UcopError):
    """The job has no such checkpoint, or several begin so."""


class ScheduleNotFound(UcopError):
    """No schedule has this name."""


class ScheduleExists(UcopError):
    """Another schedule has this name."""


class DeliveryNotFound(UcopError):
    """No webhook has such a delivery."""


class ApiKeyNotFound(UcopError):
    """No key of the HTTP API has this name."""


class ApiKeyExists(UcopError):
    """Another key of the HTTP API has this name."""


class JobFailed(UcopError):
    """The job failed; `type`, `node` and `message` tell of the error that ended it, and `error`
    (a JobError) where in the user's code it was raised, and what it came from."""

    def __init__(
        self,
        job_id: str,
        type: str,
        message: str,
        node: str | None,
        *,
        error: JobError | None = None,
    ) -> None:
        self.job_id, self.type, self.message, self.node = job_id, type, message, node
        self.error = error
        place = f" in node {node!r}" if node else ""
        more = "".join(f"\n  {line}" for line in error.details()) if error else ""
        super().__init__(
            f"job {job_id} failed{place}: {type}: {message}. "
            f"It keeps what it finished: `ucop jobs resume {job_id}` goes on from there{more}"
        )


class JobStopped(UcopError):
    """The job has no result, because it is paused, waits for a person or was cancelled."""

    def __init__(self, job_id: str, status: str, reason: str | None) -> None:
        self.job_id, self.status, self.reason = job_id, status, reason
        super().__init__(f"job {job_id} is {status}" + (f": {reason}" if reason else ""))


class ResultTimeout(UcopError, TimeoutError):
    """The job did not end in the time that the caller gave; it goes on."""


class InvalidJobFile(UcopError):
    """The file is none that `ucop jobs export` wrote, or it was changed since."""


class JobExists(UcopError):
    """A job with this id is in the database already."""


class KeyConflict(UcopError):
    """A job with this key exists, with another workflow or input."""


class RefusedChange(UcopError):
    """The job's status does not allow this change."""


class ThreadBusy(UcopError):
    """Jobs of the thread are queued or run; `jobs` are their ids."""

    def __init__(self, thread: str, jobs: Sequence[str]) -> None:
        self.thread, self.jobs = thread, tuple(jobs)
        super().__init__(
            f"thread {thread!r} is busy with job {', '.join(jobs)}; submit again when that has "
            'ended, or with on_busy="enqueue", "interrupt" or "rollback"'
        )


class ThreadExists(UcopError):
    """A thread of this name is there already."""

    def __init__(self, thread: str) -> None:
        self.thread = thread
        super().__init__(f"thread {thread!r} exists already; take another name")


class ThreadNotFound(UcopError):
    """No such thread, or it belongs to another tenant: who asks for a thread of another learns no
    more than that."""

    def __init__(self, thread: str, tenant: str | None) -> None:
        self.thread = thread
        whose = "a caller without a tenant" if tenant is None else f"tenant {tenant!r}"
        super().__init__(f"thread {thread!r} does not exist, or does not belong to {whose}")


class MissingSecret(UcopError):
    """The job names a secret that is not set in the environment of its worker."""


class Unstorable(UcopError):
    """A value cannot be stored, or would not come back as it went in.

    A serializer raises it with `kind` and `why`; the saver, which knows where the value comes
    from, raises it again by `at`.

    Args:
        kind: The type of the value, as `module.Class`.
        why: What is wrong with it and, where there is something to do, what.
        node: The node that gave it.
        channel: The channel that it was written to.
    """

    def __init__(
        self, kind: str, why: str, *, node: str | None = None, channel: str | None = None
    ) -> None:
        self.kind = kind = kind.removeprefix("builtins.")
        self.why, self.node, self.channel = why, node, channel
        giver = f"node {node!r} gave a value" if node else "there is a value"
        place = f" for channel {channel!r}" if channel else ""
        super().__init__(f"{giver} of type {kind}{place} that cannot be stored: {why}")

    def at(self, node: str | None, channel: str | None) -> Unstorable:
        """The same, with what was not known yet of where the value comes from."""
        return Unstorable(
            self.kind, self.why, node=self.node or node, channel=self.channel or channel
        )


class LimitReached(UcopError):
    """The job may not go on: it has used what it was allowed."""

    ends_attempt = True


class AnswerIgnored(UcopError):
    """A question was answered, and asked again as if it had not been."""


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
    place: str | None = None
    """Which one, where that is known: a node may use another one than its job's."""


class DatabaseBusy(DatabaseError):
    """Another process holds the database's write lock."""


class DatabaseRefusal(DatabaseError):
    """The database works, and refuses what it was given."""

    ends_attempt = False


class DatabaseDamaged(DatabaseError):
    """The file is damaged, or no database."""


class DatabaseTooNew(DatabaseError):
    """A later version of ucop wrote this database."""
