"""Whose time is over. Questions that nobody answered in time: their default is the answer, or the
job fails. Jobs whose deadline passed while nobody worked on them."""

from __future__ import annotations

import json

from ..jobs.job import JobId
from ..jobs.status import Change, JobStatus, follow
from ..values.json_text import to_json
from .commands import changed_meanwhile, go_on, overtaken
from .events import event
from .lifecycle import existing, settle, state_of
from .operation import One, Operation, Row

_JOBS = """
select distinct job_id from questions
where answered_at is null and withdrawn_at is null and due_at <= {now} and exists (
    select 1 from jobs where jobs.id = questions.job_id and jobs.status = 'waiting')
limit :limit"""

_QUESTIONS = """
select id, node, default_answer from questions
where job_id = :job and answered_at is null and withdrawn_at is null and due_at <= {now} order by due_at, id"""

_ANSWER = """
update questions set answer = default_answer, answered_at = {now}, by_default = 1
where job_id = :job and id = :question and answered_at is null and withdrawn_at is null returning id"""

_COUNT_EVENT = "update jobs set seq = seq + 1 where id = :job and attempt = :attempt returning seq"

# Asked again after a retry, each has its whole time.
_TAKE_TIME = "update questions set due_at = null where job_id = :job and answered_at is null and withdrawn_at is null"


def waiting(limit: int) -> Operation[list[JobId]]:
    """Up to `limit` jobs that wait for an answer whose time is over."""
    return [JobId(row["job_id"]) for row in (yield One(_JOBS, {"limit": limit}))]


def expire_questions(job: JobId) -> Operation[JobStatus | None]:
    """Answer the questions of a waiting job whose time is over with their defaults, and let it go
    on; if one of them has none, the job fails. None if nothing of that is due any more.

    Raises RefusedChange if a person was faster.
    """
    state = yield from existing(job)
    if state["status"] != JobStatus.WAITING:
        return None
    late = yield One(_QUESTIONS, {"job": job})
    if not late:
        return None
    without = [row["node"] for row in late if row["default_answer"] is None]
    if without:
        reason = (
            f"nobody answered {', '.join(dict.fromkeys(without))} in time, and there is no default"
        )
        return (yield from _fail(job, state, without[0], reason))
    behind = yield from overtaken(job)
    if behind is not None:
        return (yield from _fail(job, state, late[0]["node"], behind.refusal))
    for question in late:
        yield from _answer(job, state, question)
    nodes = ", ".join(dict.fromkeys(row["node"] for row in late))
    why = f"nobody answered {nodes} in time: the default is used"
    return (yield from go_on(job, state, Change.RESUME, why, passes=False))


def _answer(job: JobId, state: Row, question: Row) -> Operation[None]:
    given = yield One(_ANSWER, {"job": job, "question": question["id"]})
    counted = yield One(_COUNT_EVENT, {"job": job, "attempt": state["attempt"]})
    if not given or not counted:
        raise changed_meanwhile(job)
    data = {"question": question["id"], "node": question["node"]}
    default = json.loads(question["default_answer"])
    yield event(job, counted[0]["seq"], "question.expired", {**data, "default": default})


def _fail(job: JobId, state: Row, node: str, reason: str) -> Operation[JobStatus | None]:
    error = to_json({"type": "AnswerOverdue", "message": reason, "node": node})
    failed = yield from settle(job, state, Change.EXPIRE, reason, error=error)
    if failed is None:
        raise changed_meanwhile(job)
    yield One(_TAKE_TIME, {"job": job})
    return failed


# ---------------------------------------------------------------- deadlines

_EXPIRED = """
select id from jobs where expires_at is not null and expires_at <= {now}
    and status in ('pending', 'paused', 'waiting')"""

# A person may have given it more time since it was listed.
_PASSED = "select budget from jobs where id = :job and expires_at <= {now}"


def late_jobs() -> Operation[list[JobId]]:
    """Jobs that nobody works on, and whose deadline has passed."""
    return [JobId(row["id"]) for row in (yield One(_EXPIRED, {}))]


def expire_job(job: str) -> Operation[JobStatus | None]:
    """Fail a job whose deadline passed while nobody worked on it. None if it goes on, or
    has ended."""
    state = yield from state_of(job)
    if state is None or follow(JobStatus(state["status"]), Change.EXPIRE) is None:
        return None
    passed = yield One(_PASSED, {"job": job})
    if not passed:
        return None
    seconds = json.loads(passed[0]["budget"])["deadline"]
    reason = (
        f"the job did not end within {seconds:g} s of its submission, and was {state['status']} "
        f"then; `ucop jobs resume {job} --budget deadline=…` with more goes on"
    )
    error = to_json({"type": "DeadlinePassed", "message": reason, "node": None})
    return (yield from settle(job, state, Change.EXPIRE, reason, error=error))
