"""The roster of workers: who lives, who was declared lost, and what each one runs.

Operations of the ledger's database, like those in lifecycle.py; `{now}` stands for the
database's own clock, because workers' clocks need not agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..jobs.job import DEFAULT_QUEUE, WorkerId
from ..values.json_text import to_json
from .operation import One, Operation, Row

_ADD_WORKER = """
insert into workers (id, host, pid, started_at, beat_at, lost, knows, serves)
values (:worker, :host, :pid, {now}, {now}, 0, :knows, :serves)"""

_BEAT = """
update workers set beat_at = {now}, blocked = null where id = :worker and lost = 0 returning id"""

_SPEAK = """
update workers set beat_at = {now}, blocked = :blocked
where id = :worker and lost = 0 returning id"""

_LEARN = "update workers set knows = :knows where id = :worker"

_MARK_LOST = "update workers set lost = 1 where id = :worker and lost = 0 returning id"

_REMOVE_WORKER = "delete from workers where id = :worker"

_RUNNING_ON = "select id, attempt from jobs where status = 'running' and worker = :worker"


_DEFAULT = to_json([DEFAULT_QUEUE])


def join(
    worker: WorkerId, host: str, pid: int, knows: str, serves: str = _DEFAULT
) -> Operation[None]:
    """Register a worker; its id is new at every start. `serves` lists its queues, in JSON."""
    at = {"worker": worker, "host": host, "pid": pid}
    yield One(_ADD_WORKER, {**at, "knows": knows, "serves": serves})


def beat(worker: WorkerId) -> Operation[bool]:
    """Say that this worker lives. False: it was declared lost and must stop."""
    return bool((yield One(_BEAT, {"worker": worker})))


def speak(worker: WorkerId, blocked: str) -> Operation[bool]:
    """`beat`, for a worker whose loop is blocked, with what blocks it, in JSON (pulse.py)."""
    return bool((yield One(_SPEAK, {"worker": worker, "blocked": blocked})))


def learn(worker: WorkerId, knows: str) -> Operation[None]:
    """Tell what a worker can supply from now on."""
    yield One(_LEARN, {"worker": worker, "knows": knows})


def mark_lost(worker: str) -> Operation[bool]:
    """From now on this worker can claim nothing; its jobs may be taken over."""
    return bool((yield One(_MARK_LOST, {"worker": worker})))


def leave(worker: WorkerId) -> Operation[None]:
    """Strike a worker that has no running job off the list."""
    yield One(_REMOVE_WORKER, {"worker": worker})


def running_on(worker: str) -> Operation[list[tuple[str, int]]]:
    """Jobs and attempts that a worker has."""
    rows = yield One(_RUNNING_ON, {"worker": worker})
    return [(row["id"], row["attempt"]) for row in rows]


_WANTED = "select id, attempt, want from jobs where status = 'running' and worker = :worker"


def wanted(worker: str) -> Operation[dict[str, tuple[int, str | None]]]:
    """Of each job that a worker has: its attempt, and what it is asked for."""
    rows = yield One(_WANTED, {"worker": worker})
    return {row["id"]: (row["attempt"], row["want"]) for row in rows}


_WORKING = """
select distinct worker from jobs where status = 'running' and worker is not null"""

_LOST = "select lost from workers where id = :worker"

_WHERE_IS = "select host, pid, beat_at from workers where id = :worker"

_WORKERS_AT = "select host, pid, beat_at from workers where host = :host and pid = :pid"


def working() -> Operation[list[str]]:
    """Workers that have a running job."""
    return [row["worker"] for row in (yield One(_WORKING, {}))]


def is_lost(worker: str) -> Operation[bool]:
    """Whether a worker was declared lost, or has signed off."""
    rows = yield One(_LOST, {"worker": worker})
    return not rows or bool(rows[0]["lost"])


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerAt:
    """A worker's process."""

    host: str
    pid: int
    beat_at: float
    """When it last said that it lives, on the database's clock."""


def where_is(worker: str) -> Operation[WorkerAt | None]:
    """A worker's process, None where it has signed off."""
    rows = yield One(_WHERE_IS, {"worker": worker})
    return _worker_at(rows[0]) if rows else None


def workers_at(host: str, pid: int) -> Operation[list[WorkerAt]]:
    """The workers that a process has, or had before they were declared lost."""
    rows = yield One(_WORKERS_AT, {"host": host, "pid": pid})
    return [_worker_at(row) for row in rows]


def _worker_at(row: Row) -> WorkerAt:
    return WorkerAt(host=row["host"], pid=row["pid"], beat_at=float(row["beat_at"]))
