"""Jobs: the ledger, the queue, workers, the runner, checkpoints, events.

The names are loaded when they are first used, so that reading commands stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine
    from .errors import (
        DatabaseError,
        InvalidDefinition,
        InvalidInput,
        JobFailed,
        JobNotFound,
        JobStopped,
        KeyConflict,
        ResultTimeout,
        ScheduleExists,
        ScheduleNotFound,
        ThreadBusy,
        ThreadExists,
        ThreadNotFound,
        UcopError,
        UnknownWorkflow,
    )
    from .events.subscriptions import Subscription
    from .handle import JobHandle
    from .job_error import JobError, StepError
    from .jobs.command import Changed
    from .jobs.filter import Filter
    from .jobs.job import Attempt, Checkpoint, Event, Job, Question, Step, Usage
    from .jobs.status import JobStatus, StepStatus
    from .jobs.thread_run import ThreadRun, thread_run
    from .live.parts import Omitted
    from .live.stream import LiveStream
    from .schedules.schedules import Schedule
    from .settings import Settings
    from .threads.handle import ThreadHandle
    from .threads.thread import Thread, ThreadStatus

__all__ = [
    "Attempt",
    "Changed",
    "Checkpoint",
    "DatabaseError",
    "Engine",
    "Event",
    "Filter",
    "InvalidDefinition",
    "InvalidInput",
    "Job",
    "JobError",
    "JobFailed",
    "JobHandle",
    "JobNotFound",
    "JobStatus",
    "JobStopped",
    "KeyConflict",
    "LiveStream",
    "Omitted",
    "Question",
    "ResultTimeout",
    "Schedule",
    "ScheduleExists",
    "ScheduleNotFound",
    "Settings",
    "Step",
    "StepError",
    "StepStatus",
    "Subscription",
    "Thread",
    "ThreadBusy",
    "ThreadExists",
    "ThreadHandle",
    "ThreadNotFound",
    "ThreadRun",
    "ThreadStatus",
    "UcopError",
    "UnknownWorkflow",
    "Usage",
    "thread_run",
]

_PLACES = {
    "jobs.command": ("Changed",),
    "engine": ("Engine",),
    "jobs.filter": ("Filter",),
    "handle": ("JobHandle",),
    "jobs.job": (
        "Attempt",
        "Checkpoint",
        "Event",
        "Job",
        "JobError",
        "Question",
        "Step",
        "StepError",
        "Usage",
    ),
    "live.parts": ("Omitted",),
    "live.stream": ("LiveStream",),
    "schedules.schedules": ("Schedule",),
    "settings": ("Settings",),
    "jobs.status": ("JobStatus", "StepStatus"),
    "jobs.thread_run": ("ThreadRun", "thread_run"),
    "threads.handle": ("ThreadHandle",),
    "threads.thread": ("Thread", "ThreadStatus"),
    "events.subscriptions": ("Subscription",),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ucop.engine.{_PLACE.get(name, 'errors')}"), name)
