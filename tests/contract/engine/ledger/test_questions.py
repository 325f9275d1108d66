"""Questions of a workflow in YAML, from the first wait to the last answer, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.support.graphs import Log
from ucop.engine import Engine
from ucop.engine.errors import InvalidInput, RefusedChange
from ucop.engine.jobs.job import Question

DEADLINE = 60.0

APPROVAL = """
name: approval
input: {title: string}
nodes:
  approve:
    ask: "Publish “${title}”?"
    answer: {approved: boolean, note: {type: string, default: none}}
    writes: decision
  thank: {ask: "Whom to thank?", writes: whom}
edges:
  - START -> approve
  - from: approve
    to:
      - {node: thank, when: decision.approved}
      - END
  - thank -> END
output: {decision: "${decision}", whom: "${whom}"}
"""

EACH = """
name: choose
input: {names: {type: array, items: string}}
nodes:
  keep: {ask: "Keep ${name}?", each: "${names}", as: name, answer: boolean, writes: kept}
output: ${kept}
"""


@pytest.fixture
def approval(tmp_path: Path) -> Path:
    path = tmp_path / "approval.yaml"
    path.write_text(APPROVAL, encoding="utf-8")
    return path


@pytest.fixture
def choose(tmp_path: Path) -> Path:
    path = tmp_path / "choose.yaml"
    path.write_text(EACH, encoding="utf-8")
    return path


def test_given_a_question_then_the_job_waits_and_goes_on_with_the_answer(
    engine: Engine, approval: Path
) -> None:
    job = engine.submit(approval, {"title": "Tea"})
    assert job.wait(DEADLINE) == "waiting"
    assert job.get().reason == "an answer is due in approve"
    (question,) = job.questions()
    assert (question.node, question.question) == ("approve", "Publish “Tea”?")
    job.answer({"approved": True})
    assert job.wait(DEADLINE) == "waiting"
    (question,) = job.questions()
    assert question.node == "thank"
    job.answer("Ada")
    assert job.result(DEADLINE) == {
        "decision": {"approved": True, "note": "none"},
        "whom": "Ada",
    }
    assert [step.node for step in job.steps() if step.status == "completed"] == [
        "approve",
        "thank",
    ]


def test_given_an_answer_that_does_not_fit_then_it_is_refused_and_the_job_still_waits(
    engine: Engine, approval: Path
) -> None:
    job = engine.submit(approval, {"title": "Tea"})
    assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(InvalidInput, match="approved"):
        job.answer({"approved": "yes"})
    with pytest.raises(InvalidInput, match="reason"):
        job.answer({"approved": True, "reason": "none"})
    assert job.status == "waiting"
    job.answer({"approved": False})
    assert job.result(DEADLINE)["whom"] is None


def test_given_another_process_then_it_may_answer_and_go_on(
    open_engine: Callable[..., Engine], approval: Path
) -> None:
    first = open_engine()
    id = first.submit(approval, {"title": "Tea"}).id
    assert first.job(id).wait(DEADLINE) == "waiting"
    first.close()
    second = open_engine()
    job = second.job(id)
    job.answer({"approved": False})
    assert job.result(DEADLINE)["decision"]["approved"] is False


def test_given_each_then_every_item_is_answered_by_itself(engine: Engine, choose: Path) -> None:
    job = engine.submit(choose, {"names": ["x", "y", "z"]})
    assert job.wait(DEADLINE) == "waiting"
    asked = job.questions()
    assert sorted(str(question.question) for question in asked) == ["Keep x?", "Keep y?", "Keep z?"]
    with pytest.raises(RefusedChange, match="several questions"):
        job.answer(True)

    def named(name: str) -> Question:
        return next(question for question in asked if name in str(question.question))

    job.answer(True, question=named("y").id)
    assert job.wait(DEADLINE) == "waiting"
    assert len(job.questions()) == 2
    job.answer(False, question=named("z").id)
    job.wait(DEADLINE)
    job.answer(True, question=named("x").id)
    assert job.result(DEADLINE) == [True, True, False]


def test_what_ends_beside_a_question_is_kept_and_not_run_again(engine: Engine) -> None:
    ran: list[str] = []

    async def beside(state: Log) -> dict[str, list[str]]:
        ran.append("beside")
        # The other node asks first, so that this one is the last of its superstep.
        await asyncio.sleep(0.05)
        return {"log": ["beside"]}

    def asks(state: Log) -> dict[str, list[str]]:
        return {"log": [interrupt("Well?")]}

    graph = StateGraph(Log)
    for name, node in {"asks": asks, "beside": beside}.items():
        graph.add_node(name, node)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    job = engine.submit(engine.add("pair", graph), {"log": []})
    assert job.wait(DEADLINE) == "waiting"
    job.answer("yes")
    assert sorted(job.result(DEADLINE)["log"]) == ["beside", "yes"]
    assert ran == ["beside"]
    ended = [step.node for step in job.steps() if step.status == "completed"]
    assert sorted(ended) == ["asks", "beside"]


def test_a_job_that_is_set_back_asks_anew_and_no_longer_what_it_asked_before(
    open_engine: Callable[..., Engine], choose: Path
) -> None:
    with open_engine() as engine:
        id = engine.submit(choose, {"names": ["a", "b"]}).id
        assert engine.job(id).wait(DEADLINE) == "waiting"
    client = open_engine(worker=False)
    job = client.job(id)
    first, second = job.questions()
    job.answer(True, question=first.id)
    job.pause()
    job.restore(job.checkpoints()[-1].id)
    assert job.questions() == []
    job.resume()
    client.close()
    job = open_engine().job(id)
    assert job.wait(DEADLINE) == "waiting"
    asked = {question.id for question in job.questions()}
    assert len(asked) == 2
    assert not asked & {first.id, second.id}


@pytest.mark.parametrize("text", ["\0", "\ud800", {"\ud800": 1}, {"deep": ["a\0b"]}, 2**64])
def test_given_an_answer_that_no_state_holds_then_it_is_refused_and_the_job_still_waits(
    engine: Engine, text: object
) -> None:
    class State(TypedDict, total=False):
        said: object

    graph = StateGraph(State)
    graph.add_node("ask", lambda _: {"said": interrupt("What?")})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    job = engine.submit(graph, {})
    assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(InvalidInput, match="the answer to ask"):
        job.answer(text)
    assert job.status == "waiting"
    job.answer("that")
    assert job.result(DEADLINE) == {"said": "that"}
