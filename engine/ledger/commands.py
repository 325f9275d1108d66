"""Commands to a job: pause, cancel, answer, resume, retry. Each is one operation of the ledger, and
refuses what the job's status does not allow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidInput, RefusedChange
from ..jobs.budget import read_budget
from ..jobs.run_options import AS_IT_IS, Regiven, read_regiven
from ..jobs.status import ACTIVE, Change, JobStatus, sources
from ..values.json_text import to_json
from .events import event
from .lifecycle import existing, next_attempt, settle
from .operation import One, Operation, Row
from .records import PAUSE, PAUSE_NOW

TRIES = 20
"""How often a pause or a cancel looks again at a job that is changed under it: on PostgreSQL a
worker may claim it, or give it back, between the look and the change."""

RESTS = frozenset({JobStatus.PAUSED, JobStatus.FAILED})
"""The statuses in which what a job goes on with may be edited."""


@dataclass(frozen=True, kw_only=True)
class NewTerms:
    """What is to hold from now on, of a job that goes on."""

    budget: Mapping[str, float] = field(default_factory=dict)
    """Limits that are to be others."""
    priority: int | None = None
    """None leaves it as it is."""
    given: Regiven = AS_IT_IS
    """Of its context and config what is to be another."""
    run: str | None = None
    """The whole of them, as JSON, once that was checked; None leaves them as they are."""
    at_once: bool = False
    """Whether it need not wait for its time any more, where it was delayed."""


def read_new_terms(
    budget: Mapping[str, float | str] | None = None,
    priority: int | None = None,
    *,
    at_once: bool = False,
    context: Any = None,
    config: Mapping[str, Any] | None = None,
) -> NewTerms:
    """As a caller gave it. Raises InvalidInput."""
    if priority is not None and (
        not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) >= 2**31
    ):
        raise InvalidInput(f"priority: a whole number of 32 bits, not {priority!r}")
    return NewTerms(
        budget=read_budget(budget or {}),
        priority=priority,
        at_once=at_once,
        given=read_regiven(context, config),
    )


_WANT = """
update jobs set want = :want, seq = seq + 1
where id = :job and attempt = :attempt and status = 'running' returning seq"""


def pause(job: str, *, at_once: bool = False) -> Operation[JobStatus]:
    """Ask a job to pause. A pending one is paused when this returns; a running one when its
    worker has stopped it: at the next superstep, or, `at_once`, in the middle of its nodes,
    which run again later. Returns the status now. Raises JobNotFound or RefusedChange.
    """
    for _ in range(TRIES):
        state = yield from existing(job)
        if state["status"] == JobStatus.PENDING:
            if paused := (yield from settle(job, state, Change.PAUSE, "asked to pause")):
                return paused
        elif state["status"] == JobStatus.RUNNING:
            if (yield from _want(job, state, PAUSE_NOW if at_once else PAUSE)):
                return JobStatus.RUNNING
        else:
            raise RefusedChange(
                f"job {job} is {state['status']}; only a pending or running job can be paused"
            )
    raise changed_meanwhile(job)


def _want(job: str, state: Row, want: str) -> Operation[bool]:
    """Ask a running attempt for something; False where it was changed meanwhile."""
    params = {"job": job, "attempt": state["attempt"], "want": want}
    rows = yield One(_WANT, params)
    if not rows:
        return False
    yield event(job, rows[0]["seq"], "job.pausing", {"at_once": want == PAUSE_NOW})
    return True


def cancel(job: str) -> Operation[JobStatus]:
    """End a job for ever. Nothing of a running attempt is committed after this; its worker
    stops it within its poll. Raises JobNotFound or RefusedChange.
    """
    for _ in range(TRIES):
        state = yield from existing(job)
        if state["status"] not in sources(Change.CANCEL):
            raise RefusedChange(f"job {job} is {state['status']}; it cannot be cancelled any more")
        if cancelled := (yield from settle(job, state, Change.CANCEL, "cancelled")):
            return cancelled
    raise changed_meanwhile(job)


_ANSWER = """
update questions set answer = :answer, answered_at = {now}, by_default = 0
where job_id = :job and id = :question and answered_at is null and withdrawn_at is null returning id"""

_ANSWER_ANEW = """
update questions set answer = :answer, answered_at = {now}, by_default = 0
where job_id = :job and id = :question and consumed_at is null and withdrawn_at is null returning id"""


def answer(job: str, question: str, answer: str) -> Operation[JobStatus]:
    """Answer an open question of a waiting job; `answer` is JSON text. The job goes on; where
    other questions are open it comes back to them. A failed job takes another answer in place of
    one that no node has gone past, since it may have failed because of it, and is retried. Raises
    JobNotFound or RefusedChange: a question that is no longer open was answered, withdrawn, or
    never asked.
    """
    state = yield from existing(job)
    status = JobStatus(state["status"])
    given = {"job": job, "question": question, "answer": answer}
    if status is JobStatus.WAITING and (yield One(_ANSWER, given)):
        return (yield from go_on(job, state, Change.RESUME, "answered"))
    if status is JobStatus.FAILED and (yield One(_ANSWER_ANEW, given)):
        return (yield from go_on(job, state, Change.RETRY, "answered"))
    raise RefusedChange((yield from _why_not_open(job, question, status)))


_FOUND = """
select answered_at, by_default, withdrawn_at from questions
where job_id = :job and id = :question"""


def _why_not_open(job: str, question: str, status: str) -> Operation[str]:
    rows = yield One(_FOUND, {"job": job, "question": question})
    if rows and rows[0]["withdrawn_at"] is not None:
        return f"question {question} of job {job} is not open; the job does not ask it any more"
    if not rows or rows[0]["answered_at"] is None:
        return f"job {job} is {status}; it waits for no answer to {question}"
    late, before = "it was not answered in time, so its default was used", "it was answered before"
    how = late if rows[0]["by_default"] else before
    return f"question {question} of job {job} is not open; {how}"


_COUNT_OPEN = "select count(*) as open from questions where job_id = :job and answered_at is null and withdrawn_at is null"


_SET_INPUT = """
update jobs set input = :input, seq = seq + 1
where id = :job and attempt = :attempt and checkpoint_id is null
    and status in ('paused', 'failed', 'waiting') returning seq"""


def resume_anew(
    job: str,
    attempt: int,
    input: str,
    names: Sequence[str],
    terms: NewTerms = NewTerms(),
) -> Operation[JobStatus]:
    """`resume` a paused or failed job that has saved nothing yet, with another input (JSON text);
    `names` are those that changed. Raises JobNotFound or RefusedChange."""
    state = yield from existing(job)
    yield from check_edit(job, state)
    rows = yield One(_SET_INPUT, {"job": job, "attempt": attempt, "input": input})
    if not rows:
        raise changed_meanwhile(job)
    yield event(job, rows[0]["seq"], "job.edited", {"names": list(names)})
    return (yield from resume(job, terms))


def check_edit(job: str, state: Row) -> Operation[None]:
    """Raises RefusedChange unless what the job goes on with may be edited: it is paused or failed,
    or waits at a breakpoint and not for an answer."""
    status = JobStatus(state["status"])
    if status in RESTS:
        return
    if status is not JobStatus.WAITING:
        raise RefusedChange(
            f"job {job} is {status}; only a job that is paused, failed, or stopped at a "
            "breakpoint is edited"
        )
    if (yield from _asks(job)):
        raise RefusedChange(
            f"job {job} waits for an answer, and is not edited before: `ucop jobs answer {job} …`"
        )


def _asks(job: str) -> Operation[bool]:
    rows = yield One(_COUNT_OPEN, {"job": job})
    return bool(rows[0]["open"])


def resume(
    job: str,
    terms: NewTerms = NewTerms(),
) -> Operation[JobStatus]:
    """Let a paused, waiting or failed job go on from its last checkpoint, as `terms` says: not
    before its time, where it was delayed, unless that says `at_once`, which a pending job takes too.

    Raises JobNotFound or RefusedChange; a job with open questions goes on by `answer` alone.
    """
    state = yield from existing(job)
    status = JobStatus(state["status"])
    if status is JobStatus.WAITING and (yield from _asks(job)):
        raise RefusedChange(f"job {job} waits for an answer: `ucop jobs answer {job} …`")
    if status in sources(Change.RESUME):
        return (yield from go_on(job, state, Change.RESUME, "resumed", terms))
    if status in sources(Change.RETRY):
        return (yield from go_on(job, state, Change.RETRY, "retried", terms))
    if status is JobStatus.PENDING and terms.at_once and state["wait"] > 0:
        return (yield from go_on(job, state, None, "asked to run at once", terms))
    raise RefusedChange(_why_not_on(job, state, terms))


def _why_not_on(job: str, state: Row, terms: NewTerms) -> str:
    stands = f"job {job} is {state['status']}"
    if state["status"] != JobStatus.PENDING:
        return f"{stands}; only a paused, waiting or failed job can go on"
    if terms.at_once:
        return f"{stands}, and not for a time of its own; `ucop jobs why {job}` tells what for"
    if state["wait"] > 0:
        return f"{stands} until its time; `ucop jobs resume {job} --now` runs it at once"
    return f"{stands}, which is to say that it goes on; `ucop jobs why {job}` tells when"


def retry(
    job: str,
    terms: NewTerms = NewTerms(),
) -> Operation[JobStatus]:
    """`resume`, for a failed job alone. Raises JobNotFound or RefusedChange."""
    state = yield from existing(job)
    if state["status"] not in sources(Change.RETRY):
        raise RefusedChange(f"job {job} is {state['status']}; only a failed job can be retried")
    return (yield from go_on(job, state, Change.RETRY, "retried", terms))


# States of workflows inside count too: a breakpoint may stand in one.
MARK_PASSED = """
update jobs set passed = (
    select max(checkpoint_id) from checkpoints where checkpoints.thread_id = jobs.thread_id)
where id = :job"""

_SET_PRIORITY = """
update jobs set priority = :priority
where id = :job and attempt = :attempt and status = :from_status returning id"""

_BUDGET = "select budget from jobs where id = :job"

_SET_BUDGET = """
update jobs set budget = :budget, expires_at = created_at + cast(:deadline as double precision)
where id = :job"""


_SET_RUN = "update jobs set run = :run where id = :job"


def go_on(
    job: str,
    state: Row,
    change: Change | None,
    why: str,
    terms: NewTerms = NewTerms(),
    *,
    passes: bool = True,
) -> Operation[JobStatus]:
    """Queue the next attempt because a person says so; where the job waits at a breakpoint, it
    `passes`. `change` is None where one was queued already. Raises RefusedChange."""
    if change is not None and (overtaker := (yield from overtaken(job))):
        raise RefusedChange(overtaker.refusal)
    if terms.priority is not None:
        where = {"job": job, "attempt": state["attempt"], "from_status": state["status"]}
        if not (yield One(_SET_PRIORITY, {**where, "priority": terms.priority})):
            raise changed_meanwhile(job)
        state = yield from existing(job)  # the queue is told the new one
    wait = 0.0 if terms.at_once else max(0.0, state["wait"])
    new = yield from next_attempt(job, state, change, why, wait=wait)
    if new is None:
        raise changed_meanwhile(job)
    if passes and state["status"] == JobStatus.WAITING:
        yield One(MARK_PASSED, {"job": job})
    if terms.budget:
        yield from _change_budget(job, terms.budget)
    if terms.run is not None:
        yield One(_SET_RUN, {"job": job, "run": terms.run})
    return new


@dataclass(frozen=True, kw_only=True)
class Overtaker:
    """The job `by`, which has taken over the thread of `job`."""

    job: str
    by: str
    does: str
    thread: str

    @property
    def refusal(self) -> str:
        return (
            f"job {self.job} cannot go on: job {self.by} {self.does} with thread {self.thread}, "
            f"whose state would be taken for this one's. `ucop checkpoints list {self.job}` shows "
            f"where it stood; `ucop checkpoints fork {self.job} CHECKPOINT` goes on from there on "
            "a thread of its own"
        )


# Ids of checkpoints grow with time. A job has a thread of its own name, or shares one.
_OVERTAKEN = """
select other.id, other.status, mine.thread_id from jobs mine join jobs other
    on other.id = mine.thread_id
    or (other.thread_id = mine.thread_id and other.thread_id <> other.id)
where mine.id = :job and other.id <> mine.id and mine.checkpoint_id is not null
    and (other.checkpoint_id > mine.checkpoint_id or other.status in ('pending', 'running')) limit 1"""


def overtaken(job: str) -> Operation[Overtaker | None]:
    """The job for which one cannot go on from its own last state, where there is one: an attempt
    goes on from the newest state of its thread, and that job has gone on with it, or is about to."""
    for row in (yield One(_OVERTAKEN, {"job": job})):
        return Overtaker(
            job=job,
            by=row["id"],
            does="is about to go on" if row["status"] in ACTIVE else "has gone on",
            thread=row["thread_id"],
        )
    return None


def changed_meanwhile(job: str) -> RefusedChange:
    return RefusedChange(f"job {job} was changed at the same moment; look at it, then try again")


def _change_budget(job: str, budget: Mapping[str, float]) -> Operation[None]:
    rows = yield One(_BUDGET, {"job": job})
    changed = {**json.loads(rows[0]["budget"]), **budget}
    new = {"budget": to_json(changed), "deadline": changed.get("deadline")}
    yield One(_SET_BUDGET, {"job": job, **new})
