"""What `ask` does, on real LangGraph with LangGraph's own SQLite saver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command, Interrupt

from tests.support.flows import Flow, flow, saver_at
from ucop.graphs.errors import WorkflowError

APPROVAL = """
name: flow
input: {title: string}
nodes:
  approve:
    ask: "Publish “${title}”?"
    answer: {approved: boolean, note: {type: string, default: none}}
    writes: decision
  publish: {agent: step, with: {value: '${decision}'}, writes: published}
edges:
  - START -> approve
  - from: approve
    to:
      - {node: publish, when: decision.approved}
      - END
  - publish -> END
"""


async def questions(flow: Flow, saver: Any) -> tuple[Interrupt, ...]:
    graph = flow.workflow.graph().copy({"checkpointer": saver})
    state = await graph.aget_state({"configurable": {"thread_id": "1"}})
    return state.interrupts


async def reply(flow: Flow, saver: Any, answers: Mapping[str, Any]) -> Any:
    return await flow.go(Command(resume=dict(answers)), saver, "1")


async def test_given_a_question_then_the_run_waits_for_the_answer(tmp_path: Path) -> None:
    for approved, ran in ((True, ["publish"]), (False, [])):
        asks = Flow(APPROVAL)
        async with saver_at(tmp_path / f"{approved}.db") as saver:
            await asks.run({"title": "Tea"}, saver=saver)
            (question,) = await questions(asks, saver)
            assert question.value == "Publish “Tea”?"
            assert isinstance(question.response_schema, dict)
            assert question.response_schema["required"] == ["approved"]
        async with saver_at(tmp_path / f"{approved}.db") as saver:
            told = await reply(asks, saver, {question.id: {"approved": approved}})
        assert told["decision"] == {"approved": approved, "note": "none"}
        assert asks.ended == ran


async def test_given_no_declared_answer_then_it_is_a_text(tmp_path: Path) -> None:
    asks = flow("  a: {ask: 'Name?', writes: a_}", "  - START -> a -> END")
    async with saver_at(tmp_path / "s.db") as saver:
        await asks.run(saver=saver)
        (question,) = await questions(asks, saver)
        assert question.response_schema == {"type": "string"}
        assert await reply(asks, saver, {question.id: "Ada"}) == {"a_": "Ada"}


async def test_given_an_answer_that_does_not_fit_then_node_and_reason_are_told(
    tmp_path: Path,
) -> None:
    asks = Flow(APPROVAL)
    async with saver_at(tmp_path / "s.db") as saver:
        await asks.run({"title": "Tea"}, saver=saver)
        (question,) = await questions(asks, saver)
        with pytest.raises(WorkflowError, match="node approve: the answer does not fit: approved"):
            await reply(asks, saver, {question.id: {"approved": "yes"}})


async def test_given_a_question_in_a_loop_then_it_is_asked_anew_each_round(tmp_path: Path) -> None:
    asks = flow(
        "  a: {agent: step, writes: a_}\n"
        "  b: {ask: {}, answer: {again: boolean}, writes: b_}".replace("{}", "'Again?'"),
        "  - START -> a -> b\n  - {from: b, to: [{node: a, when: b_.again, at_most: 5}, END]}",
    )
    given: dict[str, Any] = {}
    async with saver_at(tmp_path / "s.db") as saver:
        await asks.run(saver=saver)
        for again in (True, True, False):
            (question,) = await questions(asks, saver)
            assert question.id not in given
            given[question.id] = {"again": again}
            # As the engine does: earlier answers are handed over again.
            await reply(asks, saver, given)
        assert not await questions(asks, saver)
    assert asks.counts["a"] == 3


async def test_given_two_branches_then_one_goes_on_while_the_other_waits(tmp_path: Path) -> None:
    asks = flow(
        "  a: {ask: 'Well?', writes: a_}\n  b: {agent: step}\n  c: {agent: step}",
        "  - START -> [a, b] -> c -> END",
    )
    async with saver_at(tmp_path / "s.db") as saver:
        await asks.run(saver=saver)
        assert asks.ended == ["b"]
        (question,) = await questions(asks, saver)
        await reply(asks, saver, {question.id: "yes"})
    assert asks.ended == ["b", "c"]


async def test_given_an_error_policy_then_a_question_is_no_error(tmp_path: Path) -> None:
    asks = flow(
        "  a: {ask: 'Well?', writes: a_, on_error: continue}",
        "  - START -> a -> END",
        "output: ['${a_}', '${errors.a}']",
    )
    async with saver_at(tmp_path / "s.db") as saver:
        await asks.run(saver=saver)
        (question,) = await questions(asks, saver)
        assert await reply(asks, saver, {question.id: "yes"}) == ["yes", None]


EACH = """
name: flow
nodes:
  a: {ask: 'Keep ${item}?', each: "${['x', 'y', 'z']}", answer: boolean, writes: kept}
edges:
  - START -> a -> END
output: ${kept}
"""


async def test_given_each_then_every_item_is_asked_and_answered_one_by_one(tmp_path: Path) -> None:
    asks = Flow(EACH)
    given: dict[str, Any] = {}
    async with saver_at(tmp_path / "s.db") as saver:
        await asks.run(saver=saver)
        asked = await questions(asks, saver)
        assert [question.value for question in asked] == ["Keep x?", "Keep y?", "Keep z?"]
    for number, question in enumerate(reversed(asked), start=1):
        async with saver_at(tmp_path / "s.db") as saver:
            given[question.id] = number == 2
            told = await reply(asks, saver, given)
    assert told == [False, True, False]


async def test_given_each_of_which_all_are_answered_at_once_then_the_run_goes_on(
    tmp_path: Path,
) -> None:
    asks = Flow(EACH)
    async with saver_at(tmp_path / "s.db") as saver:
        await asks.run(saver=saver)
        asked = await questions(asks, saver)
        told = await reply(asks, saver, {question.id: True for question in asked})
    assert told == [True, True, True]
