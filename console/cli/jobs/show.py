"""`ucop jobs show`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from ...view.jobs.follow import next_steps
from ...view.jobs.job_facts import facts, remark_on, step_seconds
from ...view.jobs.questions import state_of
from ...view.output import note, put, put_json
from ...view.place import place_of, reader_for
from ...view.tables import Table, count, duration, first_line
from .. import options

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job


def show(
    ctx: typer.Context,
    id: options.JobId,
    json: options.Json = False,
) -> None:
    """Show one job in full: input, output, steps, usage."""
    place = place_of(ctx)
    with reader_for(place, id) as reader:
        job = reader.job(id)
        asked = reader.questions(job.id)
    if json:
        told = [question.model_dump(mode="json") for question in asked]
        put_json({**job.model_dump(mode="json"), "questions": told})
        return
    shown = [*facts(job, datetime.now(UTC)).items()]
    shown += [("question", state_of(question)) for question in asked]
    if all(put(f"{name:<9} {value}") for name, value in shown):
        _steps(job)
    for line in [*next_steps(place, job)[:-2], place.command(f"jobs events {job.id}")]:
        note(f"next: {line}")


def _steps(job: Job) -> None:
    numbers = ("attempt", "time", "calls", "cached", "tokens in", "out")
    titles = ("step", "status", *numbers, "error")
    table = Table(*titles, numbers=numbers, status=["status"], long=["error"])
    for step in job.steps:
        table.add(
            step.node,
            step.status.value,
            str(step.attempt),
            duration(step_seconds(step)),
            str(step.model_calls),
            str(step.cached + step.cached_calls),
            count(step.tokens_in),
            count(step.tokens_out),
            first_line(remark_on(step)),
        )
    if job.steps and put(""):
        table.show(titles=True)
