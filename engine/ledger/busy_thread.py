"""A new job on a thread where others are queued or run: wait, refuse, or make way.

In LangGraph Platform this is the `multitask_strategy` of a run. Whatever it does is part of
the transaction that adds the job.
"""

from __future__ import annotations

from ..dialect import Tables
from ..errors import ThreadBusy
from ..jobs.job import JobId, OnBusy, ThreadId
from ..jobs.status import ACTIVE, Change
from . import commands, lifecycle, reads
from .operation import Alone, One, Operation
from .records import NewJob
from .threads import delete_for_job

_ACTIVE = """
select id from jobs where thread_id = :thread and status = 'running' and id <> :job
union all
select id from jobs where thread_id = :thread and status = 'pending' and id <> :job"""


def submit(job: NewJob, tables: Tables) -> Operation[tuple[JobId, bool]]:
    """`ledger.submit`, and what `job.on_busy` asks for. Raises KeyConflict, ThreadBusy."""
    if job.on_busy is not OnBusy.ENQUEUE:
        yield Alone(f"thread {job.thread_id}")
    id, new = yield from lifecycle.submit(job)
    if new and job.on_busy is not OnBusy.ENQUEUE:
        yield from _make_way(job, tables)
    return id, new


def _make_way(job: NewJob, tables: Tables) -> Operation[None]:
    rows = yield One(_ACTIVE, {"thread": job.thread_id, "job": job.id})
    active = [JobId(row["id"]) for row in rows]
    if active and job.on_busy is OnBusy.REJECT:
        raise ThreadBusy(job.thread_id, active)
    for other in active:
        yield from _cancel(other, job)
        if job.on_busy is OnBusy.ROLLBACK:
            yield from _forget(other, job.thread_id, tables)


def _cancel(other: JobId, job: NewJob) -> Operation[None]:
    """Until it rests: what ended, or was handed back, at the same moment is looked at again."""
    reason = f"job {job.id} took its thread ({job.on_busy})"
    while True:
        state = yield from lifecycle.existing(other)
        if state["status"] not in ACTIVE:
            return
        if (yield from lifecycle.settle(other, state, Change.CANCEL, reason)):
            return


def roll_back(job: JobId, tables: Tables) -> Operation[None]:
    """Cancel a job, and delete what it saved: nothing of a running attempt is committed after this.
    Raises JobNotFound or RefusedChange."""
    yield from commands.cancel(job, "rolled back")
    submitted = yield from reads.submitted(job)
    yield from _forget(job, submitted.thread_id, tables)


_NO_CHECKPOINT = "update jobs set checkpoint_id = null where id = :job"


def _forget(job: JobId, thread: ThreadId, tables: Tables) -> Operation[None]:
    yield from delete_for_job(tables, thread, job)
    yield One(_NO_CHECKPOINT, {"job": job})
