"""Questions of a job in the ledger: asked, answered, consumed, withdrawn.

A question is open until it is answered or withdrawn. An answer is given until the node that asked
has gone past it (its task has ended, or asked its next question): then it is consumed, in the
transaction that saves this, and never sent again. LangGraph's id of a question names a task and
how many answers the task had; if another question is asked in its place, the ledger gives that
one an id of its own (`<LangGraph's>-2`), so that an answer to the first cannot reach it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .operation import Many, One, Operation, Row
from .records import Given, Question

_DIGEST = re.compile(r"[0-9a-f]{32}")
"""How LangGraph writes the hash of a task and how many answers it has."""

MOMENT = 1e-6
"""Seconds: enough to tell two times apart as the database keeps them."""


def slot(question: str) -> str:
    """LangGraph's id of a question: a task, and which of its answers."""
    return question.partition("-")[0]


def takes_answer(interrupt: str) -> bool:
    """Whether LangGraph can give an answer to an interrupt of this id: what is raised by hand, as
    `NodeInterrupt`, has an id that names no task, and only stops the graph."""
    return bool(_DIGEST.fullmatch(interrupt))


def _number(question: str) -> int:
    """How many questions were asked in this one's place, with this one."""
    return int(question.partition("-")[2] or 1)


_ANSWERS = """
select id, node, question, answer from questions
where job_id = :job and answered_at is not null and consumed_at is null
    and withdrawn_at is null"""


def given(job: str) -> Operation[list[Given]]:
    """The answers that no node has gone past yet."""
    rows = yield One(_ANSWERS, {"job": job})
    return [
        Given(
            question=row["id"],
            node=row["node"],
            asked=row["question"],
            answer=json.loads(row["answer"]),
        )
        for row in rows
    ]


# ---------------------------------------------------------------- asking

_ALL = """
select id, question, answer_schema, default_answer, due_at, answered_at, consumed_at, withdrawn_at
from questions where job_id = :job"""

_ADD = """
insert into questions (job_id, id, node, question, answer_schema, asked_at, due_at,
    default_answer, by_default)
values (:job, :id, :node, :question, :answer_schema, {now} + :later,
    coalesce(cast(:due as double precision), {now} + cast(:within as double precision)), :default, 0)"""

_SET_DUE = "update questions set due_at = {now} + :within where job_id = :job and id = :id"

_WITHDRAW_ONE = "update questions set withdrawn_at = {now} where job_id = :job and id = :id"


def ask(job: str, asked: Sequence[Question]) -> Operation[list[str]]:
    """The job waits for answers to `asked`, and to nothing else. Returns the questions' ids.

    A question that comes back keeps its id and its time; one that replaces another gets a new id.
    """
    latest: dict[str, Row] = {}
    for row in sorted((yield One(_ALL, {"job": job})), key=lambda row: _number(row["id"])):
        latest[slot(row["id"])] = row
    ids: list[str] = []
    new: list[Mapping[str, Any]] = []
    renewed: list[Mapping[str, Any]] = []
    for question in asked:
        before = latest.get(question.id)
        if before is not None and _is_open(before) and _same(before, question):
            ids.append(before["id"])
            if before["due_at"] is None and question.within is not None:
                renewed.append({"job": job, "id": before["id"], "within": question.within})
            continue
        id = question.id if before is None else f"{question.id}-{_number(before['id']) + 1}"
        ids.append(id)
        # What is asked at one moment keeps its order: each counts as asked a moment later.
        new.append(_params(job, id, question, before, len(new) * MOMENT))
    over = [row["id"] for row in latest.values() if _is_unsettled(row) and row["id"] not in ids]
    asks = {question.id for question in asked}
    # An answer that its node has not come to yet stays, unless its place was asked again.
    gone = [id for id in over if slot(id) in asks or _is_open(latest[slot(id)])]
    if gone:
        yield Many(_WITHDRAW_ONE, [{"job": job, "id": id} for id in gone])
    if renewed:
        yield Many(_SET_DUE, renewed)
    if new:
        yield Many(_ADD, new)
    return ids


def _is_open(row: Row) -> bool:
    return row["answered_at"] is None and row["withdrawn_at"] is None


def _is_unsettled(row: Row) -> bool:
    return row["consumed_at"] is None and row["withdrawn_at"] is None


def _same(row: Row, question: Question) -> bool:
    """Whether what was asked before is asked again, and nothing else in its place."""
    return (row["question"], row["answer_schema"], row["default_answer"]) == (
        question.question,
        question.answer_schema,
        question.default,
    )


def _due(question: Question, before: Row | None) -> float | None:
    """Until when it waits. What replaces an open question takes over its time, or one that is
    worded anew each time would wait for ever."""
    if question.within is None:
        return None
    if before is not None and _is_open(before) and before["due_at"] is not None:
        return float(before["due_at"])
    return None


def _params(
    job: str, id: str, question: Question, before: Row | None, later: float
) -> Mapping[str, Any]:
    return {
        "job": job,
        "id": id,
        "node": question.node,
        "question": question.question,
        "answer_schema": question.answer_schema,
        "due": _due(question, before),
        "within": question.within,
        "later": later,
        "default": question.default,
    }


# ---------------------------------------------------------------- the end of a question

_CONSUME = """
update questions set consumed_at = {now}
where job_id = :job and id = :id and answered_at is not null and consumed_at is null
    and withdrawn_at is null"""

_REOPEN = """
update questions set answer = null, answered_at = null, by_default = 0, due_at = null
where job_id = :job and id = :id and answered_at is not null and consumed_at is null
    and withdrawn_at is null"""


def consume(job: str, ids: Sequence[str]) -> Operation[None]:
    """The nodes that asked have gone past these answers."""
    if ids:
        yield Many(_CONSUME, [{"job": job, "id": id} for id in ids])


def reopen(job: str, ids: Sequence[str]) -> Operation[None]:
    """These answers were rejected: their questions are open again, with their whole time."""
    if ids:
        yield Many(_REOPEN, [{"job": job, "id": id} for id in ids])


_WITHDRAW_OPEN = """
update questions set withdrawn_at = {now}
where job_id = :job and answered_at is null and withdrawn_at is null"""

_WITHDRAW = """
update questions set withdrawn_at = {now}
where job_id = :job and consumed_at is null and withdrawn_at is null"""


def withdraw_open(job: str) -> Operation[None]:
    """The job asks nothing any more."""
    yield One(_WITHDRAW_OPEN, {"job": job})


def withdraw(job: str) -> Operation[None]:
    """The job does not go on from where it asked: neither its questions nor answers that were not
    consumed mean anything. If it comes there again, it asks anew."""
    yield One(_WITHDRAW, {"job": job})
