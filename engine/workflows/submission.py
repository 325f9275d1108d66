"""From what a caller says of a job to the row that is submitted. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ucop.agents.text.duration import LONGEST, seconds_of
from ucop.graphs.workflow import Workflow

from ..declared.queue_limits import undeclared
from ..errors import InvalidInput
from ..jobs.budget import read_budget
from ..jobs.job import OnBusy, Terms, ThreadId, new_job_id
from ..jobs.run_options import (
    NO_CONFIG,
    RunConfig,
    check_breakpoints,
    for_factory,
    names_secrets,
    new_run_options,
    read_config,
)
from ..ledger.records import NewJob
from ..values.inputs import kept_input
from ..values.json_text import to_json

if TYPE_CHECKING:
    from ..settings import Settings

Time = float | str
"""Seconds, or a text such as `90s`, `30m` or `2h`."""


def read_terms(
    *,
    delay: Time | None = None,
    start_at: datetime | None = None,
    on_busy: str = OnBusy.ENQUEUE,
    thread_id: str | None = None,
    **given: Any,
) -> Terms:
    """What is said of a job beside its input. Raises InvalidInput naming everything wrong."""
    wrong = []
    if on_busy not in tuple(OnBusy):
        wrong.append(f"on_busy: must be one of {', '.join(OnBusy)}, not {on_busy!r}")
        on_busy = OnBusy.ENQUEUE
    elif thread_id is None and on_busy != OnBusy.ENQUEUE:
        wrong.append("on_busy: only a thread that is named can be busy; give thread_id")
    start: dict[str, float] = {}
    try:
        start = _start(delay, start_at)
    except ValueError as error:
        wrong.append(str(error))
    read = {**start, "on_busy": OnBusy(on_busy), "thread_id": thread_id}
    try:
        terms = Terms.model_validate({**given, **read})
    except ValidationError as error:
        wrong += [f"{_path(e['loc'])}: {e['msg']}" for e in error.errors()]
    if wrong:
        raise InvalidInput(f"the job cannot be submitted so: {'; '.join(wrong)}") from None
    return terms


def _start(delay: Time | None, at: datetime | None) -> dict[str, float]:
    """What the terms say of it."""
    if delay is None and at is None:
        return {}
    if delay is not None and at is not None:
        raise ValueError("delay, start_at: give one of the two")
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise ValueError(f"start_at: must be a datetime with a time zone, not {at!r}")
        if at.timestamp() - time.time() > LONGEST:
            raise ValueError(f"start_at: must be within a thousand years, not {at!r}")
        return {"start_at": at.timestamp()}
    if delay == 0 and not isinstance(delay, bool):
        return {}
    seconds = seconds_of(delay)
    if seconds is None:
        raise ValueError(f"delay: must be a time such as 90s, 30m or 2h, not {delay!r}")
    return {"delay": seconds}


def read_limits(
    budget: Mapping[str, Any] | None, deadline: Time | datetime | None
) -> dict[str, float]:
    """A job's budget with its deadline: a time from now, or `ends_at`, a moment. Raises
    InvalidInput."""
    given = dict(budget or {})
    if deadline is None:
        return read_budget(given)
    if "deadline" in given:
        raise InvalidInput("deadline: give it once, by itself or in the budget")
    if isinstance(deadline, datetime):
        if deadline.tzinfo is None:
            raise InvalidInput(f"deadline: must have a time zone, not {deadline!r}")
        return {**read_budget(given), "ends_at": deadline.timestamp()}
    return read_budget({**given, "deadline": deadline})


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What a caller says of a job beside its workflow and its input."""

    terms: Terms
    limits: Mapping[str, float]
    """Its budget with its deadline, as `read_limits` returns them."""
    context: Any = None
    config: RunConfig = NO_CONFIG


def read_submission(
    *,
    budget: Mapping[str, Any] | None = None,
    deadline: Time | datetime | None = None,
    context: Any = None,
    config: Mapping[str, Any] | None = None,
    **terms: Any,
) -> Submission:
    """From the arguments of `Engine.submit`. Raises InvalidInput."""
    return Submission(
        terms=read_terms(**terms),
        limits=read_limits(budget, deadline),
        context=context,
        config=read_config(config),
    )


def job_of(workflow: Workflow, input: Any, settings: Settings, **said: Any) -> NewJob:
    """The job that `Engine.submit` would make of a workflow of the project, without an engine.
    Raises as it does."""
    if settings.mode == "production":
        from ucop.graphs.workflows.gate import refuse_doubles

        refuse_doubles(workflow)
    submission = read_submission(**said)
    configured = workflow.configured(for_factory(submission.config))
    return new_job(configured, input, submission, settings)


def new_job(
    workflow: Workflow,
    input: Any,
    submission: Submission,
    settings: Settings,
    notice: str | None = None,
) -> NewJob:
    """A job of a workflow that is configured and may run. Raises InvalidInput."""
    terms, config = submission.terms, submission.config
    if terms.queue not in (declared := settings.declared):
        raise undeclared(terms.queue, declared)
    check_breakpoints(config, workflow)
    run = new_run_options(
        workflow.accept_context(submission.context, names_secrets), config, notice
    )
    text, typed = kept_input(workflow, input, settings.state.types)
    if typed is not None:
        run = run.model_copy(update={"typed_input": typed})
    id, limits = new_job_id(time.time()), {**workflow.limits.given(), **submission.limits}
    ends_at = limits.pop("ends_at", None)
    return NewJob(
        id=id,
        workflow=workflow.name,
        fingerprint=workflow.fingerprint,
        definition=to_json(workflow.stored),
        needs=to_json(list(workflow.needs)),
        input=text,
        run=run.to_json(),
        thread_id=ThreadId(terms.thread_id or id),
        key=terms.key,
        queue=terms.queue,
        priority=terms.priority,
        tenant=terms.tenant,
        labels=to_json(terms.labels),
        budget=to_json(limits),
        delay=terms.delay,
        start_at=terms.start_at,
        deadline=limits.get("deadline"),
        ends_at=ends_at,
        on_busy=terms.on_busy,
    )


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)
