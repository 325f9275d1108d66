"""SQL of the ledger for those who only read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..database.read_only import NoDatabase as NoDatabase
from ..job_error import JobError, StepError
from ..jobs.job import (
    Job,
    Parent,
    Step,
    Usage,
)
from ..jobs.run_options import masked, run_options, shown_config, shown_run
from ..jobs.status import JobStatus, StepStatus
from ..ledger.operation import Row


def job_of(row: Row, steps: Sequence[Step] = (), usage: Usage | None = None) -> Job:
    parent = row["parent_job_id"]
    run = run_options(row["run"])
    return Job(
        id=row["id"],
        workflow=row["workflow"],
        status=JobStatus(row["status"]),
        reason=row["reason"],
        input=json.loads(row["input"]),
        context=masked(run.context),
        config=shown_config(run.config),
        run=shown_run(run),
        notice=run.notice,
        output=json.loads(row["output"]) if row["output"] is not None else None,
        error=error_of(row["error"]),
        thread_id=row["thread_id"],
        attempt=row["attempt"],
        queue=row["queue"],
        priority=row["priority"],
        tenant=row["tenant"],
        start_at=time_of(row["not_before"]) if row["not_before"] else None,
        labels=json.loads(row["labels"]),
        key=row["key"],
        parent=parent and Parent(job_id=parent, checkpoint_id=row["parent_checkpoint_id"]),
        created_at=time_of(row["created_at"]),
        started_at=time_or_none(row["started_at"]),
        finished_at=time_or_none(row["finished_at"]),
        steps=tuple(steps),
        usage=usage_of_steps(steps) if usage is None else usage,
        budget=json.loads(row["budget"]),
        archived_at=time_or_none(row["archived_at"]),
    )


def usage_of_steps(steps: Sequence[Step]) -> Usage:
    costs = [step.cost for step in steps if step.model_calls]
    known = [cost for cost in costs if cost is not None]
    return Usage(
        model_calls=sum(step.model_calls for step in steps),
        tokens_in=sum(step.tokens_in for step in steps),
        tokens_out=sum(step.tokens_out for step in steps),
        tokens_cached=sum(step.tokens_cached for step in steps),
        tokens_reasoning=sum(step.tokens_reasoning for step in steps),
        seconds_waited=round(sum(step.seconds_waited for step in steps), 6),
        seconds_generating=round(sum(step.seconds_generating for step in steps), 6),
        cached_calls=sum(step.cached_calls for step in steps),
        # One unknown price makes the sum unknown; no calls cost nothing.
        cost=sum(known) if len(known) == len(costs) else None,
        seconds=round(sum(_seconds(step) for step in _outermost(steps)), 6),
    )


def usage_of(nodes: Sequence[Row]) -> Usage:
    """`usage_of_steps` of a job from the sums of its nodes."""

    def total(name: str) -> Any:
        return sum(row[name] or 0 for row in nodes)

    names = {row["node"] for row in nodes}
    outermost = (row for row in nodes if row["node"].rpartition("/")[0] not in names)
    return Usage(
        model_calls=total("model_calls"),
        tokens_in=total("tokens_in"),
        tokens_out=total("tokens_out"),
        tokens_cached=total("tokens_cached"),
        tokens_reasoning=total("tokens_reasoning"),
        seconds_waited=round(total("seconds_waited"), 6),
        seconds_generating=round(total("seconds_generating"), 6),
        cached_calls=total("cached_calls"),
        cost=None if total("unpriced") else total("cost"),
        seconds=round(sum(row["seconds"] or 0 for row in outermost), 6),
    )


def _outermost(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps that run inside no other: an outer step's time holds that of its inner ones."""
    nodes = {step.node for step in steps}
    return (step for step in steps if step.node.rpartition("/")[0] not in nodes)


def _seconds(step: Step) -> float:
    if step.started_at is None or step.finished_at is None:
        return 0.0
    return (step.finished_at - step.started_at).total_seconds()


def step_of(row: Row) -> Step:
    return Step(
        node=row["node"],
        task_id=row["task_id"],
        status=StepStatus(row["status"]),
        attempt=row["attempt"],
        started_at=time_or_none(row["started_at"]),
        finished_at=time_or_none(row["finished_at"]),
        model_calls=row["model_calls"],
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        tokens_cached=row["tokens_cached"],
        tokens_reasoning=row["tokens_reasoning"],
        seconds_waited=row["seconds_waited"],
        seconds_generating=row["seconds_generating"],
        cached_calls=row["cached_calls"],
        cost=row["cost"],
        models=tuple(json.loads(row["models"])),
        cached=row["cached"],
        output=json.loads(row["output"]) if row["output"] is not None else None,
        error=_step_error(row["error"]),
        tries=row["tries"],
    )


def error_of(text: str | None) -> JobError | None:
    if text is None:
        return None
    found: Mapping[str, Any] = json.loads(text)
    return JobError.model_validate({name: found[name] for name in _OF_ERROR if name in found})


def _step_error(text: str | None) -> StepError | None:
    error = error_of(text)
    if text is None or error is None:
        return None
    return StepError(**error.model_dump(), caught=json.loads(text).get("caught", False))


_OF_ERROR = tuple(JobError.model_fields)


def time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else time_of(seconds)


def json_of(text: str | None) -> Any:
    return None if text is None else json.loads(text)
