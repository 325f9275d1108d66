"""Going on from an earlier checkpoint: in a new job, or in the same one.

A fork is one transaction: the new job, a copy of its parent's thread up to the checkpoint, and
the edited state, which the superstep that made the checkpoint would have left. The parent is only
read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..checkpoints.savers import save_on
from ..dialect import Tables
from ..errors import JobNotFound, RefusedChange
from ..jobs.job import JobId, ThreadId
from ..jobs.status import Change, JobStatus, sources
from ..journal.notes import Call
from ..ledger import questions
from ..ledger.commands import MARK_PASSED, RESTS, NewTerms, changed_meanwhile, check_edit, go_on
from ..ledger.events import event
from ..ledger.lifecycle import ADD_ATTEMPT, existing
from ..ledger.operation import Enqueue, One, Operation, Row, Save
from ..ledger.threads import copy_branch

if TYPE_CHECKING:
    from .successor import Successor


# ---------------------------------------------------------------- what is to be saved


def newest(draft: Sequence[Call], otherwise: str) -> str:
    """The checkpoint that a thread stands at once the draft is saved."""
    ids = [arguments[1]["id"] for method, arguments in draft if method == "put"]
    return ids[-1] if ids else otherwise


def _to(job: JobId, thread: ThreadId, draft: Sequence[Call]) -> Save:
    """The calls of a draft, for the thread of the job that they are to belong to."""

    def placed(config: Any) -> Any:
        where = {**config["configurable"], "thread_id": thread}
        return {"configurable": where, "metadata": {"ucop_job": job}}

    calls = [(method, (placed(first), *rest)) for method, (first, *rest) in draft]
    return Save(partial(save_on, calls))


# ---------------------------------------------------------------- operations

_ADD_FORK = """
insert into jobs (id, workflow, fingerprint, needs, status, attempt, thread_id, queue, tenant,
    priority, input, run, labels, budget, parent_job_id, parent_checkpoint_id, checkpoint_id, seq,
    progress, stalls, not_before, expires_at, created_at, queued_at)
select cast(:id as text), coalesce(cast(:workflow as text), workflow),
    coalesce(cast(:fingerprint as text), fingerprint), coalesce(cast(:needs as text), needs),
    'pending', 1, cast(:id as text), queue, tenant, priority,
    coalesce(cast(:input as text), input), coalesce(cast(:run as text), run), labels, budget, id,
    cast(:checkpoint as text),
    cast(:newest as text), 1, 0, 0, 0, expires_at - created_at + {now},
    {now}, {now}
from jobs where id = :parent returning workflow, priority"""


def fork(
    tables: Tables,
    parent: JobId,
    thread: ThreadId,
    checkpoint: str,
    id: JobId,
    draft: Sequence[Call],
    *,
    standing: bool,
    successor: Successor | None = None,
    run: str | None = None,
) -> Operation[JobId]:
    """A new job that goes on from a checkpoint of `parent`, maybe under another definition.
    `run` is its context and config, if they are to be others. Raises JobNotFound,
    CheckpointNotFound."""
    fields = ("workflow", "fingerprint", "needs", "input")
    other = {name: getattr(successor, name, None) for name in fields}
    new = {"id": id, "parent": parent, "checkpoint": checkpoint, "run": run, **other}
    if successor is not None:
        yield from successor.kept()
    rows = yield One(_ADD_FORK, {**new, "newest": newest(draft, checkpoint)})
    if not rows:
        raise JobNotFound(f"no job {parent}")
    yield from copy_branch(tables, thread, id, checkpoint, standing=standing)
    yield _to(id, ThreadId(id), draft)
    yield One(MARK_PASSED, {"job": id})
    yield One(ADD_ATTEMPT, {"job": id, "attempt": 1})
    told = {"workflow": rows[0]["workflow"], "parent": parent, "checkpoint": checkpoint}
    yield event(id, 1, "job.submitted", told)
    yield Enqueue(id, 1, rows[0]["priority"])
    return id


def restore(
    job: JobId,
    attempt: int,
    thread: ThreadId,
    checkpoint: str,
    draft: Sequence[Call],
    *,
    retry: NewTerms | None = None,
) -> Operation[JobStatus]:
    """Set a paused or failed job back to a checkpoint; with `retry`, a failed one goes on from
    there at once. `attempt` is the one that the draft was made after.

    Raises JobNotFound or RefusedChange.
    """
    state = yield from existing(job)
    status = JobStatus(state["status"])
    if status not in (RESTS if retry is None else sources(Change.RETRY)):
        what = "paused or failed job can be set back" if retry is None else "failed job is retried"
        raise RefusedChange(f"job {job} is {status}; only a {what}")
    yield from _stand(job, state, attempt, thread, newest(draft, checkpoint), draft)
    yield from _tell(job, "job.restored", {"checkpoint": checkpoint})
    if retry is None:
        return status
    return (yield from go_on(job, state, Change.RETRY, "retried", retry))


def resume_edited(
    job: JobId,
    attempt: int,
    thread: ThreadId,
    checkpoint: str,
    draft: Sequence[Call],
    names: Sequence[str],
    terms: NewTerms,
) -> Operation[JobStatus]:
    """Let a job that rests go on from its last checkpoint with an edited state; `names` are those
    that changed. Raises JobNotFound or RefusedChange."""
    state = yield from existing(job)
    status = JobStatus(state["status"])
    yield from check_edit(job, state)
    yield from _stand(job, state, attempt, thread, newest(draft, checkpoint), draft)
    yield from _tell(job, "job.edited", {"checkpoint": checkpoint, "names": list(names)})
    if status in sources(Change.RETRY):
        return (yield from go_on(job, state, Change.RETRY, "retried", terms))
    return (yield from go_on(job, state, Change.RESUME, "resumed", terms))


_STAND = """
update jobs set checkpoint_id = :newest, stalls = 0
where id = :job and attempt = :attempt and status = :from_status returning id"""

_BUSY = """
select id, status from jobs where thread_id = :thread and id <> :job
    and status in ('pending', 'running') limit 1"""

_LAST = """
select max(checkpoint_id) as id from checkpoints
where thread_id = :thread and checkpoint_ns = ''"""


def _stand(
    job: JobId,
    state: Row,
    attempt: int,
    thread: ThreadId,
    newest: str,
    draft: Sequence[Call],
) -> Operation[None]:
    """The job stands at what the draft saves. Raises RefusedChange if it was changed since."""
    for row in (yield One(_BUSY, {"job": job, "thread": thread})):
        raise RefusedChange(
            f"job {row['id']} is {row['status']} on thread {thread}, and would go on from the state "
            f"of job {job}; wait for it, or fork job {job}, which gets a thread of its own"
        )
    (known,) = yield One(_LAST, {"thread": thread})
    if (known["id"] or "") > newest:
        raise changed_meanwhile(job)  # or its thread
    which = {"job": job, "attempt": attempt, "from_status": state["status"]}
    if not (yield One(_STAND, {**which, "newest": newest})):
        raise changed_meanwhile(job)
    yield from questions.withdraw(job)
    yield _to(job, thread, draft)


_COUNT_EVENT = "update jobs set seq = seq + 1 where id = :job returning seq"


def _tell(job: JobId, type: str, data: Mapping[str, Any]) -> Operation[None]:
    rows = yield One(_COUNT_EVENT, {"job": job})
    yield event(job, rows[0]["seq"], type, data)
