"""What a running attempt writes: steps and events, behind the fence. An operation as in lifecycle.py."""

from __future__ import annotations

import time
from collections.abc import Sequence
from operator import attrgetter

from ..errors import Superseded
from . import questions
from .events import noted_events
from .operation import Many, One, Operation, Params
from .records import NewEvent, StepRow

_TELL = """
update jobs set seq = seq + :events, progress = progress + :saved,
    checkpoint_id = coalesce(:checkpoint, checkpoint_id)
where id = :job and attempt = :attempt and status = 'running' returning seq"""

_PUT_STEP = """
insert into steps (job_id, task_id, attempt, node, status, started_at, finished_at, input,
    output, error, model_calls, tokens_in, tokens_out, tokens_cached, tokens_reasoning,
    seconds_waited, seconds_generating, cached_calls, cost, models, cached, tries)
values (:job, :task_id, :attempt, :node, :status, {now} - cast(:started_at as double precision),
    {now} - cast(:finished_at as double precision), :input,
    :output, :error, :model_calls, :tokens_in, :tokens_out, :tokens_cached, :tokens_reasoning,
    :seconds_waited, :seconds_generating, :cached_calls, :cost, :models, :cached, :tries)
on conflict (job_id, task_id, attempt) do update set status = excluded.status,
    started_at = coalesce(excluded.started_at, steps.started_at),
    finished_at = excluded.finished_at, input = coalesce(steps.input, excluded.input),
    output = excluded.output, error = excluded.error, model_calls = excluded.model_calls,
    tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out,
    tokens_cached = excluded.tokens_cached, tokens_reasoning = excluded.tokens_reasoning,
    seconds_waited = excluded.seconds_waited, seconds_generating = excluded.seconds_generating,
    cached_calls = excluded.cached_calls,
    cost = excluded.cost, models = excluded.models, cached = excluded.cached,
    tries = excluded.tries
where steps.status <> 'completed'"""


def tell(
    job: str,
    attempt: int,
    *,
    steps: Sequence[StepRow] = (),
    events: Sequence[NewEvent] = (),
    saved: int = 0,
    checkpoint: str | None = None,
    consumed: Sequence[str] = (),
    rejected: Sequence[str] = (),
) -> Operation[None]:
    """The fence, and what the attempt has to tell, as one: raises Superseded if the
    attempt is no longer current, else writes its steps and events.

    `saved` counts checkpoint writes of the same transaction, `checkpoint` is the newest;
    `consumed` and `rejected` are questions whose answers a task of it took, or could not take.
    """
    mark = {"events": len(events), "saved": saved, "checkpoint": checkpoint}
    rows = yield One(_TELL, {"job": job, "attempt": attempt, **mark})
    if not rows:
        raise superseded(job, attempt)
    if events:
        first = rows[0]["seq"] - len(events) + 1
        yield noted_events(job, first, events)
    if steps:
        moment = time.monotonic()
        yield Many(_PUT_STEP, [_step_params(job, attempt, step, moment) for step in steps])
    yield from questions.consume(job, consumed)
    yield from questions.reopen(job, rejected)


def superseded(job: str, attempt: int) -> Superseded:
    return Superseded(
        f"attempt {attempt} of job {job} is no longer current: another attempt owns the job, "
        "or it was stopped; nothing of this attempt was written after that. "
        f"`ucop jobs show {job}` tells who has it"
    )


_STEP_FIELDS = tuple(StepRow.__dataclass_fields__)
_step_values = attrgetter(*_STEP_FIELDS)


def _step_params(job: str, attempt: int, step: StepRow, moment: float) -> Params:
    """Times as seconds before `moment`: the database knows what time it is."""
    params = dict(zip(_STEP_FIELDS, _step_values(step), strict=True))
    params["started_at"] = step.started_at and moment - step.started_at
    params["finished_at"] = step.finished_at and moment - step.finished_at
    params["status"] = step.status.value
    params["job"], params["attempt"] = job, attempt
    return params
