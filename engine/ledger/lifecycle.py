"""The ledger: every change of a job, each as one operation of one transaction.

The ledger is the truth about jobs. Every change is a compare-and-set on status and attempt,
together with the event that tells of it, the attempt's row and, if a new attempt is
due, its place in the queue. What may follow what is the table in jobs/status.py. What a running attempt
writes is in progress.py, what people ask for in commands.py, whose time is over in overdue.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..errors import ForeignThread, InvalidInput, JobNotFound, KeyConflict
from ..jobs.budget import Spent
from ..jobs.job import JobId, TaskId, ThreadId, WorkerId
from ..jobs.run_options import run_options
from ..jobs.status import SETTLED, Change, JobStatus, StepStatus, target
from ..values.json_text import to_json
from . import live_rows, questions
from .events import event
from .operation import Alone, Enqueue, One, Operation, Params, Row, clock
from .progress import superseded, tell
from .records import PAUSE, PAUSE_NOW, Claimed, NewEvent, NewJob, Outcome, StepRow

POISON_ATTEMPTS = 3
"""Attempts in a row that lost their worker, or broke off, and saved nothing new, before a job is
failed."""

UNBEGUN_ATTEMPTS = 10
"""The same, if the last of them did not even begin a node: then the job is hardly to blame."""

BACK_OFF = 1.0
"""Seconds before the attempt after the first of them; doubles."""


# ---------------------------------------------------------------- submit

ADD_DEFINITION = """
insert into definitions (fingerprint, workflow, body, created_at)
values (:fingerprint, :workflow, :definition, {now}) on conflict (fingerprint) do nothing"""

_ADD_JOB = """
insert into jobs (id, workflow, fingerprint, needs, status, attempt, thread_id, queue, tenant,
    priority, input, run, key, labels, budget, seq, progress, stalls, not_before, expires_at,
    created_at, queued_at)
values (:id, :workflow, :fingerprint, :needs, 'pending', 1, :thread_id, :queue, :tenant,
    :priority, :input, :run, :key, :labels, :budget, 1, 0, 0,
    case when :waits = 1 then coalesce(cast(:start_at as double precision), {now} + :delay) else 0 end,
    {now} + cast(:deadline as double precision),
    {now}, coalesce(cast(:start_at as double precision), {now} + :delay))
on conflict (key) do nothing returning id, not_before - {now} as wait"""

ADD_ATTEMPT = """
insert into attempts (job_id, number, status, progress, queued_at)
values (:job, :attempt, 'queued', (select progress from jobs where id = :job), {now})"""

_BY_KEY = "select id, workflow, input, run, status, tenant from jobs where key = :key"

# A thread belongs to the tenant of its jobs; a job's own thread has the job's name.
_FOREIGN = """
select 1 from jobs where id = :thread and thread_id = id
    and coalesce(tenant, '') <> coalesce(cast(:tenant as text), '')
union all
select 1 from jobs where thread_id = :thread and thread_id <> id
    and coalesce(tenant, '') <> coalesce(cast(:tenant as text), '') limit 1"""


def submit(job: NewJob) -> Operation[tuple[JobId, bool]]:
    """Accept a job. Returns its id and whether it is new.

    Under a key that is in use the job that has it is returned; another workflow or input
    raises KeyConflict. The first event has the number 1. Raises ForeignThread for a thread of
    another tenant, whose state the job would read and change.
    """
    if str(job.thread_id) != str(job.id):
        # One after the other, so that first jobs of two tenants see each other. Before anything
        # else, so that nobody waits for this transaction meanwhile.
        yield Alone(f"thread {job.thread_id}")
        if (yield One(_FOREIGN, {"thread": job.thread_id, "tenant": job.tenant})):
            raise ForeignThread(_foreign(job))
    yield One(
        ADD_DEFINITION,
        {
            "fingerprint": job.fingerprint,
            "workflow": job.workflow,
            "definition": job.definition,
        },
    )
    job = yield from _at_its_time(job)
    new = yield One(_ADD_JOB, {**_fields(job), "waits": int(job.waits)})
    if not new:
        return (yield from _same_key(job)), False
    yield One(ADD_ATTEMPT, {"job": job.id, "attempt": 1})
    yield event(job.id, 1, "job.submitted", {"workflow": job.workflow})
    yield Enqueue(job.id, 1, job.priority, max(0.0, new[0]["wait"]))
    return job.id, True


def _at_its_time(job: NewJob) -> Operation[NewJob]:
    """With times that were given as moments, as the database's clock has them. Raises InvalidInput
    for a deadline that has passed, or would before the job may start."""
    if job.start_at is None and job.ends_at is None:
        wait, deadline = job.delay, job.deadline
    else:
        now = yield from clock()
        wait = job.delay if job.start_at is None else max(0.0, job.start_at - now)
        deadline = job.deadline if job.ends_at is None else job.ends_at - now
        if deadline is not None and deadline <= 0:
            raise InvalidInput("deadline: has passed already")
    if wait and deadline is not None and deadline <= wait:
        raise InvalidInput(
            "the job cannot be submitted so: its deadline would pass before it may start"
        )
    budget = job.budget
    if job.ends_at is not None:
        budget = to_json({**json.loads(budget), "deadline": deadline})
    start_at = job.start_at if wait else None
    return replace(job, start_at=start_at, deadline=deadline, budget=budget)


def _foreign(job: NewJob) -> str:
    asked = "no tenant" if job.tenant is None else f"tenant {job.tenant!r}"
    return (
        f"thread {job.thread_id!r} does not belong to {asked}; use a thread of your own, or leave "
        "thread_id out"
    )


_FIELDS = tuple(name for name in NewJob.__dataclass_fields__ if name not in ("on_busy", "ends_at"))


def _fields(job: NewJob) -> Params:
    return {name: getattr(job, name) for name in _FIELDS}


def _same_key(job: NewJob) -> Operation[JobId]:
    found = yield One(_BY_KEY, {"key": job.key})
    if not found:
        raise KeyConflict(f"job id {job.id} is taken; submit again")
    row = found[0]
    if row["tenant"] != job.tenant:  # of another tenant's job nothing is told
        raise KeyConflict(f"key {job.key!r} is in use by another tenant; use another key")
    if what := _otherwise(row, job):
        raise KeyConflict(
            f"key {job.key!r} belongs to job {row['id']} ({row['workflow']}, {row['status']}), "
            f"which has another {what}; use another key, or submit what it was first used for"
        )
    return JobId(row["id"])


def _otherwise(row: Row, job: NewJob) -> str | None:
    """What a job is given that the one with its key was not."""
    if row["workflow"] != job.workflow:
        return "workflow"
    if json.loads(row["input"]) != json.loads(job.input):
        return "input"
    before, now = run_options(row["run"]), run_options(job.run)
    if before.context != now.context:
        return "context"
    return "config" if before.config != now.config else None


# ---------------------------------------------------------------- claim

_CLAIM = """
update jobs set status = 'running', worker = :worker, seq = seq + 1, reason = null,
    started_at = coalesce(started_at, {now})
where id = :job and attempt = :attempt and status = 'pending'
    and exists (select 1 from workers where id = :worker and lost = 0)
    and not exists (select 1 from jobs other
        where other.thread_id = jobs.thread_id and other.status = 'running')
    and not exists (select 1 from jobs other
        where other.thread_id = jobs.thread_id and other.status = 'pending'
            and (other.queued_at, other.id) < (jobs.queued_at, jobs.id))
returning id, attempt, workflow, fingerprint, thread_id, input, run, checkpoint_id, seq,
    budget, tenant, {now} - created_at as age, passed, exists (select 1 from live_listeners
        where live_listeners.job_id = jobs.id and live_listeners.until > {now}) as listened"""

_START_ATTEMPT = """
update attempts set status = 'running', worker = :worker, started_at = {now}
where job_id = :job and number = :attempt"""


def claim(job: str, attempt: int, worker: WorkerId) -> Operation[Claimed | None]:
    """Take a queued attempt, or None if it is not to be had: another worker has it, its
    thread is busy or another job of it comes first, the job was stopped, or this worker was
    declared lost. Whose turn it is says queue/order.py."""
    params = {"job": job, "attempt": attempt, "worker": worker}
    rows = yield One(_CLAIM, params)
    if not rows:
        return None
    row = rows[0]
    yield One(_START_ATTEMPT, params)
    yield event(job, row["seq"], "job.running", {"attempt": attempt, "worker": worker})
    budget = json.loads(row["budget"])
    return Claimed(
        job_id=JobId(row["id"]),
        attempt=row["attempt"],
        workflow=row["workflow"],
        fingerprint=row["fingerprint"],
        thread_id=ThreadId(row["thread_id"]),
        input=json.loads(row["input"]),
        run=run_options(row["run"]),
        begun=row["checkpoint_id"] is not None,
        answers=(yield from questions.given(job)) if attempt > 1 else (),
        passed=row["passed"],
        budget=budget,
        tenant=row["tenant"],
        submitted_at=time.monotonic() - row["age"],
        spent=(yield from _spent(job)) if budget and attempt > 1 else Spent(),
        listened=(yield from live_rows.modes_of(job)) if row["listened"] else frozenset(),
    )


_SPENT = """
select count(distinct case when status = 'completed' then task_id end) as steps,
    coalesce(sum(model_calls), 0) as model_calls,
    coalesce(sum(tokens_in + tokens_out), 0) as tokens, coalesce(sum(cost), 0) as cost,
    coalesce(sum(seconds_generating), 0) as seconds
from steps where job_id = :job"""


def _spent(job: str) -> Operation[Spent]:
    row = (yield One(_SPENT, {"job": job}))[0]
    return Spent(
        steps=row["steps"],
        model_calls=row["model_calls"],
        tokens=row["tokens"],
        seconds=float(row["seconds"]),
        cost=float(row["cost"]),
    )


# ---------------------------------------------------------------- the end of an attempt

_END_ATTEMPT = """
update attempts set status = 'ended', outcome = :outcome, finished_at = {now}
where job_id = :job and number = :attempt and status <> 'ended'"""

_DROP_RUNNING_STEPS = """
update steps set status = 'failed', finished_at = {now}, error = :error
where job_id = :job and status = 'running'"""


def finish(job: str, attempt: int, outcome: Outcome) -> Operation[JobStatus]:
    """End an attempt whose graph ended; returns the job's status. Raises Superseded."""
    skipped = yield from _skipped(job, outcome)
    skips = [
        NewEvent(type="step.skipped", at=time.monotonic(), data=to_json({"node": step.node}))
        for step in skipped
    ]
    yield from tell(
        job,
        attempt,
        steps=[*outcome.steps, *skipped],
        events=[*outcome.events, *skips],
        consumed=outcome.consumed,
        rejected=outcome.rejected,
    )
    running = {"attempt": attempt, "status": JobStatus.RUNNING}
    told: dict[str, Any] = {}
    if target(outcome.change) is JobStatus.WAITING:
        told["questions"] = yield from questions.ask(job, outcome.questions)
    status = yield from settle(
        job,
        running,
        outcome.change,
        outcome.reason,
        error=outcome.error,
        output=outcome.output,
        told=told,
    )
    if status is None:
        raise superseded(job, attempt)
    if status is JobStatus.COMPLETED:
        yield from questions.withdraw_open(job)
    return status


# A fork of a fork goes on from what all that it came from has run.
_RAN = """
with recursive line (id) as (
    select cast(:job as text)
    union
    select jobs.parent_job_id from jobs join line on jobs.id = line.id
    where jobs.parent_job_id is not null)
select distinct node from steps where job_id in (select id from line) and status <> 'skipped'"""


def _skipped(job: str, outcome: Outcome) -> Operation[list[StepRow]]:
    """Steps for the nodes that a completed job went past."""
    if not outcome.passed_over:
        return []
    ran = {row["node"] for row in (yield One(_RAN, {"job": job}))}
    skipped = [node for node in outcome.passed_over if node not in ran]
    # Of a workflow that never ran, its own steps would tell nothing more.
    whole = [node for node in skipped if node.rpartition("/")[0] not in skipped]
    return [
        StepRow(
            task_id=TaskId(f"skipped:{node}"),
            node=node,
            status=StepStatus.SKIPPED,
            started_at=None,
            finished_at=time.monotonic(),
        )
        for node in whole
    ]


def _end_attempt(job: str, attempt: int, outcome: str) -> Operation[None]:
    yield One(_END_ATTEMPT, {"job": job, "attempt": attempt, "outcome": outcome})
    error = {"type": "Interrupted", "message": f"attempt {attempt} ended first ({outcome})"}
    yield One(_DROP_RUNNING_STEPS, {"job": job, "error": to_json(error)})


_STATE = """
select jobs.status, jobs.attempt, jobs.want, jobs.worker, jobs.priority, jobs.progress,
    jobs.stalls, jobs.not_before - {now} as wait,
    attempts.progress as progress_before
from jobs join attempts on attempts.job_id = jobs.id and attempts.number = jobs.attempt
where jobs.id = :job"""

_NEXT_ATTEMPT = """
update jobs set status = 'pending', attempt = attempt + 1, want = null, worker = null,
    reason = :reason, stalls = :stalls, seq = seq + 1,
    not_before = case when :wait = 1 then {now} + :delay when :keep = 1 then not_before else 0 end,
    queued_at = case when :last = 1 then {now} else queued_at end,
    error = null, finished_at = null, archived_at = null
where id = :job and attempt = :attempt and status = :from_status returning seq"""

_SETTLE = """
update jobs set status = :status, want = null, worker = null, reason = :reason, error = :error,
    output = :output, seq = seq + 1, stalls = 0, finished_at = case when :ended = 1 then {now} end
where id = :job and attempt = :attempt and status = :from_status returning seq"""


_BEGAN = "select 1 from steps where job_id = :job and attempt = :attempt limit 1"


def release(
    job: str, attempt: int, why: str, *, lost: bool, broke_off: bool = False
) -> Operation[JobStatus | None]:
    """End a running attempt that its worker cannot finish, and queue the next.

    `lost`: the worker is gone. `broke_off`: the attempt ended, and could not be brought to an end
    in the ledger. Then attempts that saved nothing new are counted; they wait longer each time,
    and after POISON_ATTEMPTS the job is failed, because it may be what takes the workers down.
    Returns the new status, or None if the attempt is no longer current.
    """
    state = yield from state_of(job)
    if state is None or state["status"] != JobStatus.RUNNING or state["attempt"] != attempt:
        return None
    idle = (lost or broke_off) and state["progress"] == state["progress_before"]
    stalls = state["stalls"] + 1 if idle else 0
    began = stalls and not broke_off and (yield One(_BEGAN, {"job": job, "attempt": attempt}))
    begun = broke_off or bool(began)
    if stalls >= (POISON_ATTEMPTS if begun else UNBEGUN_ATTEMPTS):
        how = "broke off" if broke_off else "lost their worker"
        reason = _POISON.format(stalls=stalls, how=how, why=why)
        error = to_json({"type": "PoisonJob", "message": reason, "node": None})
        return (yield from settle(job, state, Change.FAIL, reason, error=error))
    if state["want"] in (PAUSE, PAUSE_NOW):
        return (yield from settle(job, state, Change.PAUSE, "asked to pause"))
    delay = BACK_OFF * 2 ** min(stalls - 1, 5) if stalls else 0.0
    return (yield from next_attempt(job, state, Change.RELEASE, why, stalls=stalls, delay=delay))


_POISON = (
    "{stalls} attempts in a row {how} and saved nothing new ({why}); "
    "the job itself may take its worker down"
)


def settle(
    job: str,
    state: Row,
    change: Change,
    reason: str | None,
    *,
    error: str | None = None,
    output: str | None = None,
    told: Mapping[str, Any] | None = None,
) -> Operation[JobStatus | None]:
    """The job rests, and no attempt follows. None where its status changed meanwhile. `error` and
    `output` are JSON; its event has `told` besides."""
    status, attempt = target(change), state["attempt"]
    params = {
        "status": status.value,
        "reason": reason,
        "error": error,
        "output": output,
        "ended": int(status in SETTLED),
    }
    where = {"job": job, "attempt": attempt, "from_status": state["status"]}
    rows = yield One(_SETTLE, {**params, **where})
    if not rows:
        return None
    yield from _end_attempt(job, attempt, reason if error and reason else status.value)
    data = {"attempt": attempt, "reason": reason, "error": error and json.loads(error)}
    shown = {name: value for name, value in {**data, **(told or {})}.items() if value}
    yield event(job, rows[0]["seq"], f"job.{status}", shown)
    return status


def state_of(job: str) -> Operation[Row | None]:
    rows = yield One(_STATE, {"job": job})
    return rows[0] if rows else None


def existing(job: str) -> Operation[Row]:
    state = yield from state_of(job)
    if state is None:
        raise JobNotFound(f"no job {job}; `ucop jobs list` shows the jobs there are")
    return state


def next_attempt(
    job: str,
    state: Row,
    change: Change | None,
    why: str,
    *,
    stalls: int = 0,
    delay: float = 0.0,
    wait: float = 0.0,
) -> Operation[JobStatus | None]:
    """Attempt n ends, n+1 is queued: after `delay` seconds, or after those that it has still to
    `wait` for a time of its own.
    `change` is None if the job was in the queue already."""
    attempt = state["attempt"]
    params = {"reason": why, "stalls": stalls, "delay": delay, "wait": int(delay > 0)}
    where = {"job": job, "attempt": attempt, "from_status": state["status"]}
    # What a worker gave up keeps its place in the queue, and so does what has a time of its own;
    # what else a person lets go on goes last.
    last = int(change is not Change.RELEASE and not wait)
    keep = int(wait > 0)
    rows = yield One(_NEXT_ATTEMPT, {**params, **where, "last": last, "keep": keep})
    if not rows:
        return None
    yield from _end_attempt(job, attempt, why)
    yield One(ADD_ATTEMPT, {"job": job, "attempt": attempt + 1})
    yield event(job, rows[0]["seq"], "job.pending", {"reason": why, "attempt": attempt + 1})
    yield Enqueue(JobId(job), attempt + 1, state["priority"], wait or delay)
    return JobStatus.PENDING
