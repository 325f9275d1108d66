"""How long jobs are kept: archived, deleted with all that belongs to them, pruned.

A deleted job leaves nothing behind: rows of every table that names it, its thread (unless another
job uses that, or somebody created it), its place in DBOS's tables. What stays belongs to no single
job: definitions, and kept answers, which have a time of their own. Files that agents wrote are the
project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..dialect import Tables
from ..errors import RefusedChange
from ..jobs.job import JobId, ThreadId
from ..jobs.status import SETTLED, JobStatus
from . import thread_rows
from .commands import changed_meanwhile
from .events import event
from .lifecycle import existing
from .operation import One, Operation
from .pruning import Pruning, prune
from .threads import delete_threads, grows

if TYPE_CHECKING:
    from ..declared.retention import Retention


OWNED = ("questions", "steps", "deliveries", "events", "attempts", "live", "live_listeners")
"""The tables whose rows belong to a job, by their `job_id`."""

BATCH = 20
"""Jobs that one sweep sees to for each rule, each in a transaction of its own: between two of them
the others get their turn."""


# ---------------------------------------------------------------- one job

_ARCHIVE = """
update jobs set archived_at = case when :undo = 0 then {now} end, seq = seq + 1
where id = :job and attempt = :attempt and status = :from_status returning seq"""

_IS_ARCHIVED = "select archived_at is not null as archived from jobs where id = :job"


def archive(job: str, *, undo: bool = False) -> Operation[JobStatus]:
    """Take a job that has ended out of the lists, or put it back; everything about it stays. One
    that is where it is to be stays as it is. Raises JobNotFound or RefusedChange."""
    state = yield from existing(job)
    status = JobStatus(state["status"])
    if status not in SETTLED:
        raise RefusedChange(f"job {job} is {status}; only one that has ended is archived")
    if bool((yield One(_IS_ARCHIVED, {"job": job}))[0]["archived"]) is not undo:
        return status
    where = {"job": job, "attempt": state["attempt"], "from_status": status.value}
    rows = yield One(_ARCHIVE, {**where, "undo": int(undo)})
    if not rows:
        raise changed_meanwhile(job)
    type = "job.unarchived" if undo else "job.archived"
    yield event(job, rows[0]["seq"], type)
    return status


_LOCK = """
update jobs set seq = seq where id = :job and attempt = :attempt and status = :from_status
returning thread_id"""

_KEPT = """
select 1 from jobs where thread_id = :thread and id <> :job
union all select 1 from threads where id = :thread and lasting = 1 limit 1"""

_DISPATCHED = """
delete from dbos.workflow_status
where workflow_uuid in (select :job || '/' || number from attempts where job_id = :job)"""


def delete(tables: Tables, job: str) -> Operation[None]:
    """Delete a job that has ended, and all that belongs to it. Its thread stays while another job
    uses it, or if somebody created it. Raises JobNotFound or RefusedChange."""
    state = yield from existing(job)
    status = JobStatus(state["status"])
    if status not in SETTLED:
        raise RefusedChange(
            f"job {job} is {status}; only one that has ended is deleted: "
            f"`ucop jobs cancel {job}` ends it"
        )
    where = {"job": job, "attempt": state["attempt"], "from_status": status.value}
    rows = yield One(_LOCK, where)
    if not rows:
        raise changed_meanwhile(job)
    thread = rows[0]["thread_id"]
    yield from thread_rows.hold(thread)
    if not (yield One(_KEPT, {"thread": thread, "job": job})):
        yield from delete_threads(tables, [thread])
        yield from thread_rows.drop(thread)
    if tables.apart:
        yield One(_DISPATCHED, {"job": job})
    for table in OWNED:
        yield One(f"delete from {table} where job_id = :job", {"job": job})  # noqa: S608 - ours
    yield One("delete from jobs where id = :job", {"job": job})


# ---------------------------------------------------------------- many, by their age


class Rule(StrEnum):
    """What is done to a job whose time has come."""

    DELETE = "delete"
    ARCHIVE = "archive"
    PRUNE = "prune"


@dataclass(frozen=True, kw_only=True)
class Due:
    """Jobs that a rule means now."""

    rule: Rule
    jobs: tuple[JobId, ...]


_ENDED = "status = '{status}' and finished_at < {{now}} - :{status}"

_DUE = """
select id from jobs where ({ended}) and {open} order by finished_at{limit}"""

_OPEN = {
    Rule.DELETE: "1 = 1",
    Rule.ARCHIVE: "archived_at is null",
    Rule.PRUNE: "(pruned_at is null or pruned_at < finished_at)",
}
"""What is not done yet. A job that was retried after its states were pruned has new ones."""


def due(retention: Retention, limit: int | None) -> Operation[list[Due]]:
    """Up to `limit` jobs for each rule, those that ended first before others."""
    found, most = [], "" if limit is None else " limit :limit"
    for rule, ages in _ages(retention).items():
        ended = " or ".join(_ENDED.format(status=status) for status in ages)
        sql = _DUE.format(ended=ended, open=_OPEN[rule], limit=most)
        rows = yield One(sql, {**ages, "limit": limit})
        if rows:
            found.append(Due(rule=rule, jobs=tuple(JobId(row["id"]) for row in rows)))
    return found


def _ages(retention: Retention) -> Mapping[Rule, Mapping[str, float]]:
    """Of each rule that is set: after how many seconds it means jobs of a status."""
    ended = sorted(status.value for status in SETTLED)
    kept: dict[str, float | None] = {status: getattr(retention, status) for status in ended}
    every: dict[Rule, dict[str, float | None]] = {
        Rule.DELETE: kept,
        Rule.ARCHIVE: dict.fromkeys(ended, retention.archive),
        Rule.PRUNE: dict.fromkeys(ended, retention.checkpoints),
    }
    given = {
        rule: {status: age for status, age in ages.items() if age is not None}
        for rule, ages in every.items()
    }
    return {rule: ages for rule, ages in given.items() if ages}


_PRUNED = """
update jobs set pruned_at = {now}
where id = :job and status in ('completed', 'failed', 'cancelled') returning thread_id"""


def apply(tables: Tables, rule: Rule, job: JobId) -> Operation[Any]:
    """One rule for one job, in one transaction. Raises JobNotFound or RefusedChange where that
    changed meanwhile."""
    match rule:
        case Rule.DELETE:
            yield from delete(tables, job)
        case Rule.ARCHIVE:
            yield from archive(job)
        case Rule.PRUNE:
            rows = yield One(_PRUNED, {"job": job})
            if rows and not (yield from grows(rows[0]["thread_id"])):
                yield from prune(tables, job, ThreadId(rows[0]["thread_id"]), Pruning())
