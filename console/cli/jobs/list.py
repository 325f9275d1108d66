"""`ucop jobs list`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ucop.engine.jobs.filter import Filter

from ...view.jobs.job_facts import reason_of, run_seconds
from ...view.output import note, put_records
from ...view.place import place_of
from ...view.tables import Table, duration, first_line, moment, short_enough
from .. import options
from .wanted import ask_of

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job

SHORT = 12
"""Characters of an id in lists; any unique beginning is understood."""


@options.filtered
def list_jobs(
    ctx: typer.Context,
    *,
    filter: Filter,
    archived: options.Archived = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N.")] = 50,
    json: options.Json = False,
) -> None:
    """List jobs, newest first."""
    place = place_of(ctx)
    filter = replace(filter, archived=archived)
    found = ask_of(place, filter, lambda reader: reader.jobs(filter, limit=limit))
    if json:
        put_records(found)
        return
    if not found:
        yet = "no jobs yet; start one with: " + place.command("run NAME")
        note(yet if filter.is_empty else "no matching jobs")
    _jobs_table(found, datetime.now(UTC)).show()


def _jobs_table(jobs: list[Job], now: datetime) -> Table:
    titles = ("id", "workflow", "status", "created", "duration", "attempts", "reason")
    table = Table(*titles, numbers=["duration", "attempts"], status=["status"], long=["reason"])
    length = short_enough([job.id for job in jobs], SHORT)
    for job in jobs:
        table.add(
            job.id[:length],
            job.workflow,
            job.status.value,
            moment(job.created_at, now),
            duration(run_seconds(job, now)),
            str(job.attempt),
            first_line(reason_of(job)),
        )
    return table
