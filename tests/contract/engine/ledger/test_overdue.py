"""Questions that wait for a time, and what holds when nobody has answered by then, on both
databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from tests.support.graphs import Log
from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, JobHandle
from ucop.engine.database.database import Database
from ucop.engine.errors import JobFailed, RefusedChange
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.ledger.overdue import expire_questions, waiting

LONG_PAST = 10_000_000.0
"""Seconds from now at which every question of these tests is overdue."""

Open = Callable[..., Engine]

APPROVAL = """
name: approval
input: {title: string}
nodes:
  approve:
    ask: "Publish “${title}”?"
    answer: {approved: boolean, note: {type: string, default: none}}
    within: TIME
    default: {approved: false}
    writes: decision
output: {decision: "${decision}"}
"""

BOTH = """
name: both
input: {}
nodes:
  quick: {ask: "Quick?", within: TIME, default: "no", writes: a}
  slow: {ask: "Slow?", writes: b}
edges: ["START -> quick -> END", "START -> slow -> END"]
output: {quick: "${a}", slow: "${b}"}
"""


def file(folder: Path, text: str, within: str) -> Path:
    path = folder / "flow.yaml"
    path.write_text(text.replace("TIME", within), encoding="utf-8")
    return path


def waits(job: JobHandle) -> JobHandle:
    assert job.wait(DEADLINE) == "waiting"
    return job


def no_longer_waits(job: JobHandle) -> None:
    until(lambda: job.wait(DEADLINE) != "waiting", tell=job.get)


def of_type(job: JobHandle, type: str) -> list[dict[str, Any]]:
    return [event.data for event in job.events(follow=False) if event.type == type]


def asks(schema: dict[str, Any]) -> StateGraph[Any]:
    graph = StateGraph(Log)

    async def ask(state: Log) -> dict[str, list[str]]:
        return {"log": [interrupt("Which?", response_schema=schema)]}

    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def test_given_nobody_answers_in_time_then_the_default_is_the_answer(
    engine: Engine, tmp_path: Path
) -> None:
    job = engine.submit(file(tmp_path, APPROVAL, "10ms"), {"title": "Tea"})
    no_longer_waits(job)
    decision = {"approved": False, "note": "none"}
    assert job.result(DEADLINE) == {"decision": decision}
    (told,) = of_type(job, "question.expired")
    assert (told["node"], told["default"]) == ("approve", decision)
    (question,) = engine.reader.questions(job.id)
    assert (question.answer, question.by_default) == (decision, True)
    for late in (None, question.id):
        with pytest.raises(RefusedChange, match="approve was not answered in time"):
            job.answer({"approved": True}, question=late)


def test_given_no_default_then_the_job_fails_and_a_retry_asks_anew(
    engine: Engine, tmp_path: Path
) -> None:
    text = APPROVAL.replace("    default: {approved: false}\n", "")
    job = engine.submit(file(tmp_path, text, "10ms"), {"title": "Tea"})
    no_longer_waits(job)
    with pytest.raises(JobFailed, match="AnswerOverdue: nobody answered approve in time"):
        job.result(DEADLINE)
    (before,) = job.questions()
    assert before.due_at is None
    job.retry()
    no_longer_waits(job)
    assert job.status == "failed"
    assert len(of_type(job, "job.waiting")) == 2


def test_an_answer_in_time_counts_and_the_default_never_does(
    engine: Engine, tmp_path: Path
) -> None:
    job = waits(engine.submit(file(tmp_path, APPROVAL, "2d"), {"title": "Tea"}))
    (question,) = job.questions()
    assert question.due_at is not None
    assert (question.due_at - question.asked_at).total_seconds() == pytest.approx(172_800)
    assert question.default_answer == {"approved": False, "note": "none"}
    job.answer({"approved": True})
    assert job.result(DEADLINE)["decision"]["approved"] is True
    assert of_type(job, "question.expired") == []


def test_each_of_several_questions_has_its_own_time(engine: Engine, tmp_path: Path) -> None:
    job = waits(engine.submit(file(tmp_path, BOTH, "10ms"), {}))
    until(lambda: len(job.questions()) == 1 and job.status == "waiting", tell=job.get)
    (left,) = job.questions()
    assert (left.node, left.due_at) == ("slow", None)
    job.answer("yes")
    assert job.result(DEADLINE) == {"quick": "no", "slow": "yes"}


def test_a_question_that_comes_back_keeps_its_time(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    job = waits(engine.submit(file(tmp_path, BOTH, "1h"), {}))
    first = next(question for question in job.questions() if question.node == "quick")
    slow = next(question for question in job.questions() if question.node == "slow")
    job.answer("yes", question=slow.id)
    waits(job)
    (again,) = job.questions()
    assert (again.id, again.due_at) == (first.id, first.due_at)


@pytest.mark.parametrize(
    ("schema", "log"),
    [
        ({"type": "string", "default": "green", "x-within": 0.01}, ["green"]),
        ({"enum": [1, 2], "default": 2, "x-within": "10ms"}, [2]),
    ],
)
def test_a_graph_of_python_says_it_in_the_schema_of_its_question(
    engine: Engine, schema: dict[str, Any], log: list[Any]
) -> None:
    job = engine.submit(engine.add("asks", asks(schema)))
    no_longer_waits(job)
    assert job.result(DEADLINE) == {"log": log}


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string", "x-within": "soon"}, "x-within must be a time"),
        ({"type": "string", "default": 3, "x-within": "1h"}, "the default does not fit"),
    ],
)
def test_a_deadline_of_python_that_is_none_fails_the_job(
    engine: Engine, schema: dict[str, Any], told: str
) -> None:
    job = engine.submit(engine.add("asks", asks(schema)))
    with pytest.raises(JobFailed, match=told):
        job.result(DEADLINE)


async def test_of_a_person_and_several_workers_at_the_same_moment_one_wins(
    open_engine: Open, database: Database, tmp_path: Path
) -> None:
    with_worker = open_engine()
    path = file(tmp_path, APPROVAL, "1h")
    jobs = [with_worker.submit(path, {"title": str(number)}) for number in range(6)]
    for job in jobs:
        waits(job)
    with_worker.close()
    idle = open_engine(worker=False)
    await database.write(_pass_time)
    assert set(await database.read(lambda: waiting(10))) == {job.id for job in jobs}
    for job in jobs:
        person = idle.job(job.id).aanswer({"approved": True})
        sweeps = (database.write(partial(expire_questions, job.id)) for _ in range(3))
        ends = await asyncio.gather(person, *sweeps, return_exceptions=True)
        for end in ends:
            assert end in (None, "pending") or isinstance(end, RefusedChange), end
        defaulted = len(of_type(idle.job(job.id), "question.expired"))
        answered = not isinstance(ends[0], RefusedChange)
        assert answered + defaulted == 1
        assert idle.job(job.id).get().attempt == 2
        (question,) = idle.reader.questions(job.id)
        assert question.answer["approved"] is answered
    assert await database.read(lambda: waiting(10)) == []


def _pass_time() -> Operation[None]:
    """As if all had been asked so much earlier."""
    yield One("update questions set due_at = due_at - :seconds", {"seconds": LONG_PAST})
