"""Jobs that wait beside the one that a command runs: it leaves them alone, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.status import JobStatus

from ..view.jobs.questions import JOB
from ..view.output import note
from ..view.tables import plural

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job

    from ..view.place import Place

MOST = 1_000
"""Pending jobs that are looked at."""


def tell_others(place: Place, id: str) -> None:
    """List pending jobs that no worker runs, and those that job `id` waits for."""
    with place.reader() as reader:
        if reader.workers():
            return
        own = reader.job(id)
        pending = reader.jobs(Filter(status=JobStatus.PENDING), limit=MOST)
    others = [job for job in pending if job.id != id]
    if ahead := _ahead(own, others):
        note(f"it waits for job {ahead.id}, which is before it on thread {own.thread_id!r}:")
        note(f"  {place.command(f'jobs resume {ahead.id}')}")
    elif len(others) == 1:
        note(f"job {others[0].id[:JOB]} is pending and is left alone; run it with:")
        note(f"  {place.command(f'jobs resume {others[0].id}')}")
    elif others:
        number = f"{MOST}+ jobs" if len(pending) == MOST else plural(len(others), "other job")
        note(f"{number} are pending and are left alone; run them with: {place.command('worker')}")


def _ahead(own: Job, others: Sequence[Job]) -> Job | None:
    """The first of those that are in line before it on its thread."""
    line = [job for job in others if job.thread_id == own.thread_id]
    return min(line, key=lambda job: job.created_at, default=None)
