"""Jobs: the ledger, the queue, workers, the runner, checkpoints, events.

The names are loaded when they are first used, so that reading commands stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ucop.engine.actions import Changed
    from ucop.engine.engine import Engine
    from ucop.engine.errors import (
        DatabaseError,
        ForeignThread,
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
        UcopError,
        UnknownWorkflow,
    )
    from ucop.engine.filter import Filter
    from ucop.engine.handle import JobHandle
    from ucop.engine.job import (
        Attempt,
        Checkpoint,
        Event,
        Job,
        JobError,
        Question,
        Step,
        StepError,
        Usage,
    )
    from ucop.engine.live_parts import Omitted
    from ucop.engine.live_stream import LiveStream
    from ucop.engine.schedules import Schedule
    from ucop.engine.settings import Settings
    from ucop.engine.states import JobStatus, StepStatus
    from ucop.engine.subscriptions import Subscription

__all__ = [
    "Attempt",
    "Changed",
    "Checkpoint",
    "DatabaseError",
    "Engine",
    "Event",
    "Filter",
    "ForeignThread",
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
    "ThreadBusy",
    "UcopError",
    "UnknownWorkflow",
    "Usage",
]

_PLACES = {
    "actions": ("Changed",),
    "engine": ("Engine",),
    "filter": ("Filter",),
    "handle": ("JobHandle",),
    "job": (
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
    "live_parts": ("Omitted",),
    "live_stream": ("LiveStream",),
    "schedules": ("Schedule",),
    "settings": ("Settings",),
    "states": ("JobStatus", "StepStatus"),
    "subscriptions": ("Subscription",),
}
_PLACE = {name: place for place, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ucop.engine.{_PLACE.get(name, 'errors')}"), name)
