"""What is told of a job and of its steps, in a few words."""

from __future__ import annotations

import json as json_text
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ucop.engine.jobs.command import Command
from ucop.engine.jobs.status import ACTIVE

from ..tables import (
    count,
    duration,
    limit,
    moment,
    plural,
)

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job, Step


def run_seconds(job: Job, now: datetime) -> float | None:
    """Seconds since it was started, until now or its end."""
    if job.started_at is None:
        return None
    end = job.finished_at or (now if job.status in ACTIVE else None)
    return (end - job.started_at).total_seconds() if end else None


def reason_of(job: Job) -> str:
    """Its error, or why else it stands where it stands."""
    return f"{job.error.type}: {job.error.message}" if job.error else job.reason or ""


def facts(job: Job, now: datetime) -> dict[str, str]:
    """What is known about a job, by name; what it lacks is left out."""
    found: dict[str, Any] = {
        "id": job.id,
        "workflow": job.workflow,
        "status": job.status.value,
        "reason": job.reason,
        "error": job.error and _error(job),
        "created": moment(job.created_at, now),
        "started": moment(job.started_at, now),
        "finished": moment(job.finished_at, now),
        "archived": moment(job.archived_at, now),
        "duration": duration(run_seconds(job, now)),
        "attempts": str(job.attempt),
        "used": _usage_text(job),
        "budget": _budget(job),
        "key": job.key,
        "labels": " ".join(f"{key}={value}" for key, value in job.labels.items()),
        "notice": job.notice,
        "input": _value(job.input),
        "context": None if job.context is None else _value(job.context),
        "config": _value(job.config) if job.config else None,
        "output": None if job.output is None else _value(job.output),
    }
    return {name: value for name, value in found.items() if value}


def _error(job: Job) -> str:
    assert job.error is not None
    node = f" (node {job.error.node})" if job.error.node else ""
    first = f"{job.error.type}: {job.error.message}{node}"
    return "\n".join([first, *(f"  {line}" for line in job.error.details())])


SHOWN_WAIT = 0.1
"""Shorter waiting for models is not worth a word, in seconds."""


def _usage_text(job: Job) -> str:
    usage = job.usage
    if not usage.model_calls and not usage.cached_calls:
        return ""
    tokens = f"{count(usage.tokens_in)} tokens in, {count(usage.tokens_out)} out"
    cost = f", {usage.cost:.4f} USD" if usage.cost else ""
    cached = f" ({usage.cached_calls} more from the cache)" if usage.cached_calls else ""
    waited = usage.seconds_waited
    wait = f", {duration(waited)} waiting for models" if waited >= SHOWN_WAIT else ""
    return f"{plural(usage.model_calls, 'model call')}{cached}, {tokens}{cost}{wait}"


def _budget(job: Job) -> str:
    return ", ".join(limit(name, most) for name, most in job.budget.items())


def _value(value: Any) -> str:
    text = json_text.dumps(value, ensure_ascii=False)
    if len(text) <= 100:
        return text
    return "\n" + "\n".join(
        f"  {line}" for line in json_text.dumps(value, ensure_ascii=False, indent=2).splitlines()
    )


def remark_on(step: Step) -> str:
    """Its error, whether the job went on after it, how often it was tried, and its warnings."""
    told = step.error.message if step.error else ""
    if step.error and step.error.caught:
        told = f"caught: {told}"
    if step.tries > 1:
        told = f"{step.tries} tries{': ' if told else ''}{told}"
    return "; ".join(part for part in (told, *step.warnings) if part)


def step_seconds(step: Step) -> float | None:
    """Seconds that a step ran."""
    if step.started_at is None or step.finished_at is None:
        return None
    return (step.finished_at - step.started_at).total_seconds()


DONE = {
    Command.PAUSE: "asked to pause",
    Command.RESUME: "queued",
    Command.CANCEL: "cancelled",
    Command.RETRY: "queued",
    Command.ARCHIVE: "archived",
    Command.UNARCHIVE: "put back",
    Command.DELETE: "deleted",
}
