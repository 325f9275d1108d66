"""The tables of what running jobs emit, `live`, and of who listens, `live_listeners`.

A job has one writer at a time, its current attempt, and its rows are numbered by it: (attempt, n)
is their order, also where transactions become visible in another. Operations, as in lifecycle.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import JobNotFound
from ..jobs.job import JobId
from ..jobs.status import JobStatus
from .operation import Many, One, Operation

LISTEN_LEASE = 15.0
"""Seconds for which a listener counts that does not respond."""

PAGE = 50
"""Rows read at once."""


class Place(NamedTuple):
    """Which row of a job: its attempt, and its number there, from 1."""

    attempt: int = 0
    n: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveRow:
    """A batch of parts; see live/batch.py."""

    job: str
    attempt: int
    n: int
    body: bytes

    @property
    def place(self) -> Place:
        return Place(self.attempt, self.n)


@dataclass(frozen=True, slots=True)
class LivePage:
    rows: Sequence[LiveRow]
    status: JobStatus
    """Read before the rows: where the job rested then, no row can follow these but those of a
    further attempt."""


# Fenced: nothing of an attempt that lost its job is told. Written again where nobody knows
# whether a commit arrived.
_PUT = """
insert into live (job_id, attempt, n, at, size, body)
select cast(:job as text), cast(:attempt as integer), cast(:n as integer),
    {now}, cast(:size as integer), :body
where exists (select 1 from jobs
    where id = :job and attempt = :attempt and status = 'running')
on conflict (job_id, attempt, n) do nothing"""

_TRIM = """
delete from live where job_id = :job and id <= (
    select coalesce(max(id), 0) from (
        select id, sum(size) over (order by id desc) as bytes, count(*) over (order by id desc) as nth
        from live where job_id = :job) kept
    where nth > 1 and (bytes > :bytes or nth > :rows))"""

_STATUS = "select status from jobs where id = :job"

_PAGE = """
select attempt, n, body from live
where job_id = :job and (attempt > :attempt or (attempt = :attempt and n > :n))
order by attempt, n limit :limit"""

_JOIN = """
insert into live_listeners (id, job_id, modes, until)
values (:id, :job, :modes, {now} + :lease)
on conflict (id) do update set until = excluded.until"""

_LEAVE = "delete from live_listeners where id = :id"

_OF_JOB = "select modes from live_listeners where job_id = :job and until > {now}"

_OF_WORKER = """
select live_listeners.job_id, live_listeners.modes from live_listeners
join jobs on jobs.id = live_listeners.job_id
where jobs.worker = :worker and jobs.status = 'running' and live_listeners.until > {now}"""

_STALE = """
select distinct job_id from live
where at < {now} - :keep and not exists (select 1 from attempts where attempts.job_id = live.job_id
    and (attempts.finished_at is null or attempts.finished_at > {now} - :keep))
limit :limit"""

_DROP = "delete from live where job_id = :job"

_GONE = "select 1 from live_listeners where until < {now} - :grace limit 1"

_DROP_GONE = "delete from live_listeners where until < {now} - :grace"

_NEWEST = "select coalesce(max(id), 0) as id from live"

_SINCE = "select distinct job_id from live where id > :id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much is kept of one job; the oldest goes."""

    rows: int = 10_000
    bytes: int = 16 << 20


def put(rows: Sequence[LiveRow], full: Collection[str], keep: Bounds) -> Operation[None]:
    """Add rows of current attempts; of the jobs `full` only as much is kept as may be."""
    fields = [
        {
            "job": row.job,
            "attempt": row.attempt,
            "n": row.n,
            "size": len(row.body),
            "body": row.body,
        }
        for row in rows
    ]
    yield Many(_PUT, fields)
    for job in full:
        yield One(_TRIM, {"job": job, "bytes": keep.bytes, "rows": keep.rows})


def page(job: str, after: Place, limit: int = PAGE) -> Operation[LivePage]:
    """The rows of a job behind a place, and its status. Raises JobNotFound."""
    found = yield One(_STATUS, {"job": job})
    if not found:
        raise JobNotFound(f"no job {job!r}: it was deleted")
    status = JobStatus(found[0]["status"])
    at = {"job": job, "attempt": after.attempt, "n": after.n, "limit": limit}
    rows = yield One(_PAGE, at)
    return LivePage(
        [
            LiveRow(job=job, attempt=row["attempt"], n=row["n"], body=bytes(row["body"]))
            for row in rows
        ],
        status,
    )


def join(
    id: str, job: str, modes: Collection[str], *, lease: float = LISTEN_LEASE
) -> Operation[None]:
    """Listen to a job, or go on with it, for a lease."""
    named = json.dumps(sorted(modes))
    yield One(_JOIN, {"id": id, "job": job, "modes": named, "lease": lease})


def followed(
    submit: Callable[[], Operation[tuple[JobId, bool]]], modes: Collection[str]
) -> Operation[tuple[JobId, bool]]:
    """A submission, and a listener for who will follow the job in a moment: so nothing is missed
    between the two."""
    id, new = yield from submit()
    yield from join(f"s-{id}", id, modes, lease=2 * LISTEN_LEASE)
    return id, new


def leave(id: str) -> Operation[None]:
    yield One(_LEAVE, {"id": id})


def modes_of(job: str) -> Operation[frozenset[str]]:
    """What those who listen to a job want of it."""
    rows = yield One(_OF_JOB, {"job": job})
    return frozenset(mode for row in rows for mode in json.loads(row["modes"]))


def modes_on(worker: str) -> Operation[dict[JobId, frozenset[str]]]:
    """The same for all jobs of a worker to which somebody listens."""
    found: dict[JobId, frozenset[str]] = {}
    for row in (yield One(_OF_WORKER, {"worker": worker})):
        job = JobId(row["job_id"])
        found[job] = found.get(job, frozenset()) | frozenset(json.loads(row["modes"]))
    return found


def stale(keep: float, limit: int = 100) -> Operation[tuple[list[str], bool]]:
    """Jobs that have rested for `keep` seconds and still have rows, and whether listeners are
    gone for good. Takes no lock."""
    rows = yield One(_STALE, {"keep": keep, "limit": limit})
    gone = yield One(_GONE, {"grace": LISTEN_LEASE})
    return [row["job_id"] for row in rows], bool(gone)


def drop(jobs: Sequence[str]) -> Operation[None]:
    """Delete the rows of jobs, and the listeners that are gone."""
    if jobs:
        yield Many(_DROP, [{"job": job} for job in jobs])
    yield One(_DROP_GONE, {"grace": LISTEN_LEASE})


def newest() -> One:
    return One(_NEWEST, {})


def since(id: int) -> One:
    return One(_SINCE, {"id": id})
