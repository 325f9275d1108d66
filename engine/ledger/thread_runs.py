"""A job that goes on with a thread: it takes that over from a job that waits there, or is paused.

All of it is part of the transaction that adds the job: the job before it ends, and what it asked
becomes the new one's, answered, where the submission answers it. So an answer is given to the same
question however often the job is attempted, and consumed as any other is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..dialect import Tables
from ..errors import CheckpointNotFound, InvalidInput, RefusedChange
from ..jobs.answer import checked_answer
from ..jobs.job import JobId, Question
from ..jobs.run_options import run_options
from ..jobs.status import JobStatus
from ..jobs.thread_run import ThreadRun
from . import busy_thread, thread_rows
from .hand_over import Standing, hand_over, standing
from .operation import Alone, Many, One, Operation, Row
from .questions import slot, takes_answer
from .records import NewJob


@dataclass(frozen=True, kw_only=True)
class Takeover:
    """From whom a job takes its thread over."""

    before: Standing | None
    output: str | None = None
    """What the thread has come to, as that job's output (JSON text)."""


def submit(
    job: NewJob, run: ThreadRun, tables: Tables, takeover: Takeover
) -> Operation[tuple[JobId, bool] | None]:
    """`busy_thread.submit`, of a job that goes on with its thread. None where another job stands
    there now. Raises InvalidInput for an answer that nobody asked for or that does not fit,
    CheckpointNotFound, ThreadNotFound, ThreadBusy, KeyConflict."""
    if job.on_busy.is_exclusive:
        yield Alone(f"thread {job.thread_id}")
    yield from thread_rows.take(job)
    if job.key is not None and (yield One(_IN_USE, {"key": job.key})):
        return (yield from busy_thread.submit(job, tables))  # which returns that job, or raises
    before = takeover.before
    if (yield from standing(job.thread_id)) != before:
        return None
    answers = yield from _answers(run, before)
    run = yield from _placed(job, run)
    run = run.model_copy(update={"answers_questions": bool(answers)})
    kept = run_options(job.run).model_copy(update={"thread_run": run})
    id, new = yield from busy_thread.submit(replace(job, run=kept.to_json()), tables)
    if not new:
        return id, new
    if before is not None:
        yield from _carry(before.job, id, answers)
        yield from hand_over(before, takeover.output, f"job {id} goes on with its thread")
    if run.thread_metadata:
        yield from thread_rows.note(job.thread_id, thread_rows.ANYBODY, run.thread_metadata)
    return id, new


_IN_USE = "select 1 from jobs where key = :key"

_HEAD = """
select max(checkpoint_id) as id, max(case when checkpoint_id = :checkpoint then 1 else 0 end) as known
from checkpoints where thread_id = :thread and checkpoint_ns = ''"""


def _placed(job: NewJob, run: ThreadRun) -> Operation[ThreadRun]:
    """The run without a checkpoint that is the newest anyway. Raises CheckpointNotFound."""
    if run.checkpoint is None:
        return run
    (head,) = yield One(_HEAD, {"thread": job.thread_id, "checkpoint": run.checkpoint})
    if not head["known"]:
        raise CheckpointNotFound(f"no checkpoint {run.checkpoint} in thread {job.thread_id!r}")
    return run.model_copy(update={"checkpoint": None}) if head["id"] == run.checkpoint else run


# ---------------------------------------------------------------- answers

_OPEN = """
select id, node, question, answer_schema, asked_at from questions
where job_id = :job and answered_at is null and withdrawn_at is null order by asked_at, id"""


def _answers(run: ThreadRun, before: Standing | None) -> Operation[Mapping[str, str]]:
    """What the run answers, as JSON texts by the ids of questions. Raises InvalidInput."""
    resume = None if run.command is None else run.command.resume
    if resume is None:
        return {}
    rows: Sequence[Row] = ()
    if before is not None and before.status is JobStatus.WAITING:
        rows = yield One(_OPEN, {"job": before.job})
    asked = [_question(row) for row in rows]
    named = _named(resume, asked)
    if named is None and len(asked) > 1:
        ids = ", ".join(f"{each.id} ({each.node})" for each in asked)
        raise InvalidInput(f"command.resume: several questions are open; name them: {ids}")
    given: Mapping[str, Any] = named or {}
    if named is None and asked:
        given = {asked[0].id: resume}
    unknown = given.keys() - {each.id for each in asked}
    if run.strict_resume and (unknown or not asked):
        told = ", ".join(sorted(unknown)) or "what was answered"
        raise InvalidInput(f"command.resume: nobody asks {told}")
    return {
        id: _checked(before, asked, id, answer) for id, answer in given.items() if id not in unknown
    }


def _named(resume: Any, asked: Sequence[Question]) -> Mapping[str, Any] | None:
    """Answers by the ids of questions, as the ledger has them; None for one bare answer."""
    if not isinstance(resume, Mapping) or not resume:
        return None
    known = {each.id: each.id for each in asked} | {slot(each.id): each.id for each in asked}
    if not all(name in known or takes_answer(name) for name in resume):
        return None
    return {known.get(str(name), str(name)): answer for name, answer in resume.items()}


def _checked(before: Standing | None, asked: Sequence[Question], id: str, answer: Any) -> str:
    assert before is not None
    try:
        return checked_answer(before.job, before.status, asked, answer, id)[1]
    except RefusedChange as error:
        raise InvalidInput(f"command.resume: {error}") from error


def _question(row: Row) -> Question:
    return Question(
        id=row["id"],
        node=row["node"],
        question=json.loads(row["question"]),
        answer_schema=json.loads(row["answer_schema"]) if row["answer_schema"] else None,
        asked_at=row["asked_at"],
    )


_CARRY = """
insert into questions (job_id, id, node, question, answer_schema, asked_at, due_at, default_answer,
    answer, answered_at, by_default)
select cast(:new as text), id, node, question, answer_schema, asked_at, null, default_answer,
    cast(:answer as text), {now}, 0
from questions where job_id = :old and id = :id"""


def _carry(old: JobId, new: JobId, answers: Mapping[str, str]) -> Operation[None]:
    """The new job has the questions that were answered, and their answers."""
    if answers:
        rows = [{"old": old, "new": new, "id": id, "answer": text} for id, text in answers.items()]
        yield Many(_CARRY, rows)
