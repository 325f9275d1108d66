"""SQL of the ledger for those who only read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..database.read_only import NoDatabase as NoDatabase
from ..job_error import JobError, StepError
from ..jobs.job import (
    Job,
    Parent,
    Step,
    Usage,
)
from ..jobs.run_options import masked, run_options, shown_config
from ..ledger.operation import Row
from ..record import record_of, time_of


def job_of(row: Row, steps: Sequence[Step] = (), usage: Usage | None = None) -> Job:
    parent = row["parent_job_id"]
    run = run_options(row["run"])
    return record_of(
        Job,
        row,
        input=json.loads(row["input"]),
        context=masked(run.context),
        config=shown_config(run.config),
        notice=run.notice,
        output=json_of(row["output"]),
        error=_error(row["error"]),
        start_at=time_of(row["not_before"]) if row["not_before"] else None,
        labels=json.loads(row["labels"]),
        parent=parent and Parent(job_id=parent, checkpoint_id=row["parent_checkpoint_id"]),
        steps=tuple(steps),
        usage=usage_of_steps(steps) if usage is None else usage,
        budget=json.loads(row["budget"]),
    )


def usage_of_steps(steps: Sequence[Step]) -> Usage:
    costs = [step.cost for step in steps if step.model_calls]
    known = [cost for cost in costs if cost is not None]
    # One unknown price makes the sum unknown; no calls cost nothing.
    cost = sum(known) if len(known) == len(costs) else None
    seconds = sum(_seconds(step) for step in _outermost(steps))
    return _usage(lambda name: sum(getattr(step, name) for step in steps), cost, seconds)


def usage_of(nodes: Sequence[Row]) -> Usage:
    """`usage_of_steps` of a job from the sums of its nodes."""

    def total(name: str) -> Any:
        return sum(row[name] or 0 for row in nodes)

    names = {row["node"] for row in nodes}
    outermost = (row for row in nodes if row["node"].rpartition("/")[0] not in names)
    cost = None if total("unpriced") else total("cost")
    return _usage(total, cost, sum(row["seconds"] or 0 for row in outermost))


_TOKENS = ("tokens_in", "tokens_out", "tokens_cached", "tokens_reasoning")
_COUNTS = ("model_calls", "cached_calls", *_TOKENS)
_SECONDS = ("seconds_waited", "seconds_generating")


def _usage(total: Callable[[str], Any], cost: float | None, seconds: float) -> Usage:
    sums = {name: total(name) for name in _COUNTS}
    sums |= {name: round(float(total(name)), 6) for name in _SECONDS}
    cost = None if cost is None else float(cost)
    return Usage.model_construct(**sums, cost=cost, seconds=round(float(seconds), 6))


def _outermost(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps that run inside no other: an outer step's time holds that of its inner ones."""
    nodes = {step.node for step in steps}
    return (step for step in steps if step.node.rpartition("/")[0] not in nodes)


def _seconds(step: Step) -> float:
    if step.started_at is None or step.finished_at is None:
        return 0.0
    return (step.finished_at - step.started_at).total_seconds()


def step_of(row: Row) -> Step:
    return record_of(
        Step,
        row,
        models=tuple(json.loads(row["models"])),
        output=json_of(row["output"]),
        error=_step_error(row["error"]),
    )


def _error(text: str | None) -> JobError | None:
    if text is None:
        return None
    found: Mapping[str, Any] = json.loads(text)
    return JobError.model_validate({name: found[name] for name in _OF_ERROR if name in found})


def _step_error(text: str | None) -> StepError | None:
    error = _error(text)
    if text is None or error is None:
        return None
    return StepError(**error.model_dump(), caught=json.loads(text).get("caught", False))


_OF_ERROR = tuple(JobError.model_fields)


def json_of(text: str | None) -> Any:
    return None if text is None else json.loads(text)
