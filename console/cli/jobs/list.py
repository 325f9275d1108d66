"""`ucop jobs list`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ucop.engine.jobs.filter import Filter

from ...view.jobs.job_facts import lasted, reason_of
from ...view.output import note, put_records
from ...view.place import place_of
from ...view.tables import Column, Table, duration, first_line, moment, short_enough
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
        note(f"no jobs{' yet' if filter.is_empty else ' like that'}; `ucop run NAME` starts one")
    _jobs_table(found, datetime.now(UTC)).show()


def _jobs_table(jobs: list[Job], now: datetime) -> Table:
    table = Table(
        [
            Column(title="id"),
            Column(title="workflow"),
            Column(title="status", status=True),
            Column(title="created"),
            Column(title="duration", numbers=True),
            Column(title="attempts", numbers=True),
            Column(title="reason", long=True),
        ]
    )
    length = short_enough([job.id for job in jobs], SHORT)
    for job in jobs:
        table.rows.append(
            (
                job.id[:length],
                job.workflow,
                job.status.value,
                moment(job.created_at, now),
                duration(lasted(job, now)),
                str(job.attempt),
                first_line(reason_of(job)),
            )
        )
    return table
