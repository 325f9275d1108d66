"""Jobs that go on with a thread, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, InvalidInput, JobHandle, ThreadNotFound, ThreadRun, thread_run
from ucop.engine.errors import CheckpointNotFound, KeyConflict


def added(before: list[str], new: list[str]) -> list[str]:
    return [*before, *new]


class Talk(TypedDict, total=False):
    said: Annotated[list[str], added]
    part: str


class Graph:
    """`hear -> think -> reply`: hearing `ask` it asks, hearing `two` two nodes ask at once, hearing
    `wait` it waits until it is let go."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.go = asyncio.Event()
        graph = StateGraph(Talk)
        for name in ("hear", "think", "left", "right", "reply"):
            graph.add_node(name, getattr(self, name))
        graph.add_edge(START, "hear")
        graph.add_conditional_edges("hear", self._ways, ["think", "left", "right"])
        for name in ("think", "left", "right"):
            graph.add_edge(name, "reply")
        self.graph = graph

    def _ways(self, state: Talk) -> list[str]:
        return ["left", "right"] if state["said"][-2] == "two" else ["think"]

    def hear(self, state: Talk) -> Talk:
        return {"said": [f"heard {state['said'][-1]}"]}

    async def think(self, state: Talk) -> Talk:
        self.runs.append("think")
        said = state["said"][-2] if len(state["said"]) > 1 else ""
        thought = f"answer {interrupt('well?')}" if said.startswith("ask") else "thought"
        if said in ("wait", "ask and wait"):
            await self.go.wait()
        return {"said": [thought]}

    def left(self, state: Talk) -> Talk:
        return {"said": [f"left {interrupt('left?')}"]}

    def right(self, state: Talk) -> Talk:
        return {"said": [f"right {interrupt('right?')}"]}

    def reply(self, state: Talk) -> Talk:
        return {"said": [f"reply {state.get('part', '')}".strip()]}


@pytest.fixture
def talk() -> Graph:
    return Graph()


@pytest.fixture
def engine(open_engine: Callable[..., Engine], talk: Graph) -> Engine:
    engine = open_engine()
    engine.add("talk", talk.graph)
    return engine


def say(engine: Engine, text: str, **options: Any) -> JobHandle:
    return engine.submit("talk", {"said": [text]}, thread_id="t", **options)


def go(engine: Engine, **run: Any) -> JobHandle:
    return engine.submit("talk", thread_id="t", run=thread_run(**run))


def said(engine: Engine) -> list[str]:
    values: list[str] = engine.thread("t").state().values["said"]
    return values


# ---------------------------------------------------------------- hand-over


def test_given_a_job_that_waits_then_a_command_answers_and_ends_it(engine: Engine) -> None:
    first = say(engine, "ask")
    assert first.wait(DEADLINE) == "waiting"
    (question,) = first.questions()
    second = go(engine, command={"resume": "yes"})
    assert second.result(DEADLINE) == {"said": ["ask", "heard ask", "answer yes", "reply"]}
    assert first.status == "completed"
    assert first.result(DEADLINE) == {"said": ["ask", "heard ask"]}
    assert first.questions() == []
    (carried,) = engine.reader.questions(second.id)
    assert (carried.id, carried.answer) == (question.id, "yes")
    assert carried.consumed_at is not None
    (event,) = [each for each in first.events(follow=False) if each.type == "job.completed"]
    assert second.id in event.data["reason"]
    assert second.get().run == {"command": {"resume": "yes"}}
    assert second.get().input is None


def test_a_command_may_be_langgraphs(engine: Engine) -> None:
    say(engine, "ask").wait(DEADLINE)
    done = go(engine, command=Command(resume="yes", update={"part": "two"}))
    assert done.result(DEADLINE)["said"] == ["ask", "heard ask", "answer yes", "reply two"]


def test_given_a_job_that_waits_then_another_input_ends_it(engine: Engine) -> None:
    first = say(engine, "ask")
    first.wait(DEADLINE)
    second = say(engine, "hi", run=ThreadRun())
    assert second.result(DEADLINE)["said"] == [
        "ask",
        "heard ask",
        "hi",
        "heard hi",
        "thought",
        "reply",
    ]
    assert first.status == "completed"
    assert engine.thread("t").get().status == "idle"


def test_given_a_paused_job_then_who_goes_on_ends_it(engine: Engine) -> None:
    say(engine, "hi").result(DEADLINE)
    paused = say(engine, "wait", delay=3600)
    paused.pause()
    second = say(engine, "more", run=ThreadRun())
    assert second.result(DEADLINE)["said"][-2:] == ["thought", "reply"]
    assert paused.status == "completed"
    assert paused.result(DEADLINE)["said"] == ["hi", "heard hi", "thought", "reply"]


def test_several_questions_are_answered_by_their_ids(engine: Engine) -> None:
    first = say(engine, "two")
    first.wait(DEADLINE)
    ids = {question.question: question.id for question in first.questions()}
    with pytest.raises(InvalidInput, match="several questions"):
        go(engine, command={"resume": "yes"})
    assert first.status == "waiting"
    second = go(engine, command={"resume": {ids["left?"]: "l"}})
    assert second.wait(DEADLINE) == "waiting"
    assert [question.question for question in second.questions()] == ["right?"]
    assert first.status == "completed"
    third = go(engine, command={"resume": {ids["right?"]: "r"}})
    assert third.result(DEADLINE)["said"] == ["two", "heard two", "left l", "right r", "reply"]


def test_an_answer_to_what_nobody_asks_is_refused_if_it_is_strict(engine: Engine) -> None:
    first = say(engine, "ask")
    first.wait(DEADLINE)
    unknown = {"0" * 32: "x"}
    with pytest.raises(InvalidInput, match="nobody asks"):
        go(engine, command={"resume": unknown}, strict_resume=True)
    assert first.status == "waiting"
    again = go(engine, command={"resume": unknown})
    assert again.wait(DEADLINE) == "waiting"
    assert [question.question for question in again.questions()] == ["well?"]


def test_given_a_key_that_is_in_use_then_nothing_is_handed_over(engine: Engine) -> None:
    first = say(engine, "ask")
    first.wait(DEADLINE)
    run = thread_run(command={"resume": "yes"}, strict_resume=True)
    second = engine.submit("talk", thread_id="t", run=run, key="k")
    second.result(DEADLINE)
    third = say(engine, "ask")
    third.wait(DEADLINE)
    assert engine.submit("talk", thread_id="t", run=run, key="k").id == second.id
    assert third.status == "waiting"
    with pytest.raises(KeyConflict, match="command"):
        engine.submit("talk", thread_id="t", run=thread_run(go_on=True), key="k")


def test_given_an_answer_of_another_tenant_then_there_is_no_thread(engine: Engine) -> None:
    first = say(engine, "ask", tenant="a")
    first.wait(DEADLINE)
    for run in (thread_run(command={"resume": "x"}), thread_run(go_on=True), ThreadRun()):
        with pytest.raises(ThreadNotFound):
            engine.submit("talk", thread_id="t", run=run, tenant="b")
    assert first.status == "waiting"
    assert len(first.questions()) == 1


# ---------------------------------------------------------------- where it goes on


def test_it_goes_on_from_where_the_thread_stands(engine: Engine) -> None:
    say(engine, "hi").result(DEADLINE)
    engine.thread("t").update({"said": ["ok", "by hand"]}, as_node="hear")
    assert go(engine, go_on=True).result(DEADLINE)["said"][-3:] == ["by hand", "thought", "reply"]
    ended = said(engine)
    assert go(engine, go_on=True).result(DEADLINE)["said"] == ended


def test_a_command_updates_and_leads_elsewhere(engine: Engine, talk: Graph) -> None:
    say(engine, "hi").result(DEADLINE)
    talk.runs.clear()
    done = go(engine, command={"update": {"part": "x"}, "goto": "reply"})
    assert done.result(DEADLINE)["said"] == ["hi", "heard hi", "thought", "reply", "reply x"]
    assert talk.runs == []
    sent = go(engine, command={"goto": [{"node": "reply", "input": {"part": "sent"}}]})
    assert sent.result(DEADLINE)["said"][-1] == "reply sent"
    named = go(engine, command=Command(goto=[Send("reply", {"part": "again"})]))
    assert named.result(DEADLINE)["said"][-1] == "reply again"


def test_a_command_ends_what_is_due(engine: Engine) -> None:
    first = say(engine, "ask")
    first.wait(DEADLINE)
    ended = go(engine, command={"goto": "__end__", "update": None})
    assert ended.result(DEADLINE) == {"said": ["ask", "heard ask"]}
    assert first.status == "completed"
    thread = engine.thread("t")
    assert (thread.get().status, thread.state().next) == ("idle", ())


def test_a_branch_begins_at_an_earlier_state_of_the_thread(engine: Engine) -> None:
    say(engine, "hi").result(DEADLINE)
    history = engine.thread("t").history()
    heard = next(each for each in history if each.next == ("think",))
    at = heard.config["configurable"]["checkpoint_id"]
    other = engine.submit("talk", {"said": ["other"]}, thread_id="t", run=thread_run(checkpoint=at))
    assert other.result(DEADLINE)["said"] == [
        "hi",
        "heard hi",
        "other",
        "heard other",
        "thought",
        "reply",
    ]
    assert said(engine)[2] == "other"
    again = go(engine, go_on=True, checkpoint=at)
    assert again.result(DEADLINE)["said"] == ["hi", "heard hi", "thought", "reply"]
    head = engine.thread("t").history()[0].config["configurable"]["checkpoint_id"]
    more = engine.submit("talk", {"said": ["more"]}, thread_id="t", run=thread_run(checkpoint=head))
    assert more.result(DEADLINE)["said"][-4:] == ["more", "heard more", "thought", "reply"]
    assert more.get().run == {}
    with pytest.raises(CheckpointNotFound):
        go(engine, go_on=True, checkpoint="1f0c0000-0000-6000-8000-000000000000")


def test_breakpoints_stop_and_are_gone_on_from(engine: Engine) -> None:
    first = say(engine, "hi", run=ThreadRun(), config={"interrupt_before": ["think"]})
    assert first.wait(DEADLINE) == "waiting"
    second = go(engine, go_on=True)
    assert second.result(DEADLINE)["said"] == ["hi", "heard hi", "thought", "reply"]
    assert first.status == "completed"


@pytest.mark.parametrize(
    ("run", "what"),
    [
        ({"command": {"resume": 1}, "go_on": True}, "command, go_on"),
        ({"command": {"colour": "red"}}, "colour"),
        ({"command": {"goto": 3}}, "goto"),
        ({"command": {"goto": "__end__", "update": {"said": []}}}, "__end__"),
        ({"command": {"resume": object()}}, "run"),
        ({"command": {"update": {"x": float("nan")}}}, "run"),
        ({"command": Command(graph="x", resume=1)}, "graph"),
        ({"thread_metadata": {"x": object()}}, "run"),
        ({"checkpoint": 3}, "checkpoint"),
    ],
)
def test_what_is_no_run_is_refused(run: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        thread_run(**run)


def test_metadata_of_the_thread_are_noted(engine: Engine) -> None:
    say(engine, "hi", run=thread_run(assistant="a1", thread_metadata={"graph_id": "talk"}))
    thread = engine.thread("t")
    assert thread.get().metadata == {"graph_id": "talk"}
    assert thread.jobs()[0].run == {"assistant": "a1", "thread_metadata": {"graph_id": "talk"}}
    assert [each.id for each in engine.threads(metadata={"graph_id": "talk"})] == ["t"]


# ---------------------------------------------------------------- further attempts


def test_given_a_second_attempt_then_a_command_is_carried_out_once(
    engine: Engine, talk: Graph
) -> None:
    say(engine, "hi").result(DEADLINE)
    talk.runs.clear()
    job = go(engine, command={"update": {"said": ["wait", "x"]}, "goto": "think"})
    until(lambda: talk.runs == ["think"], "the node that waits")
    job.pause(now=True)
    assert job.wait(DEADLINE) == "paused"
    job.resume()
    until(lambda: talk.runs == ["think", "think"], "the node again")
    engine._loop._loop.call_soon_threadsafe(talk.go.set)
    assert job.result(DEADLINE)["said"][4:] == ["wait", "x", "thought", "reply"]
    assert job.get().attempt == 2


def test_given_a_second_attempt_then_the_answer_is_given_to_the_same_question(
    engine: Engine, talk: Graph
) -> None:
    say(engine, "ask and wait").wait(DEADLINE)
    talk.runs.clear()
    job = go(engine, command={"resume": "yes"})
    until(lambda: talk.runs == ["think"], "the node that waits")
    job.pause(now=True)
    assert job.wait(DEADLINE) == "paused"
    job.resume()
    until(lambda: talk.runs == ["think", "think"], "the node again")
    engine._loop._loop.call_soon_threadsafe(talk.go.set)
    assert job.result(DEADLINE)["said"][2:] == ["answer yes", "reply"]


def test_given_a_second_attempt_then_a_branch_is_still_one(engine: Engine, talk: Graph) -> None:
    say(engine, "hi").result(DEADLINE)
    history = engine.thread("t").history()
    at = history[-1].config["configurable"]["checkpoint_id"]
    talk.runs.clear()
    job = say(engine, "wait", run=thread_run(checkpoint=at))
    until(lambda: talk.runs == ["think"], "the node that waits")
    job.pause(now=True)
    assert job.wait(DEADLINE) == "paused"
    job.resume()
    engine._loop._loop.call_soon_threadsafe(talk.go.set)
    assert job.result(DEADLINE)["said"][-4:] == ["wait", "heard wait", "thought", "reply"]
    assert "thought" not in said(engine)[:-2]


# ---------------------------------------------------------------- rollback, temporary threads


def test_given_a_rollback_of_a_running_job_then_the_thread_stands_where_it_stood(
    engine: Engine, talk: Graph
) -> None:
    say(engine, "hi").result(DEADLINE)
    before = engine.thread("t").state()
    job = say(engine, "wait")
    until(lambda: len(talk.runs) == 2, "the node that waits")
    job.cancel(rollback=True)
    assert job.status == "cancelled"
    assert engine.thread("t").state() == before
    assert say(engine, "more").result(DEADLINE)["said"][4:] == [
        "more",
        "heard more",
        "thought",
        "reply",
    ]


def test_given_a_rollback_of_a_command_then_its_writes_are_gone(
    engine: Engine, talk: Graph
) -> None:
    say(engine, "hi").result(DEADLINE)
    engine.thread("t").update({"said": ["wait", "x"]}, as_node="hear")
    before = engine.thread("t").state()
    talk.runs.clear()
    job = go(engine, command={"update": {"part": "lost"}})
    until(lambda: talk.runs == ["think"], "the node that waits")
    job.cancel(rollback=True)
    after = engine.thread("t").state()
    assert (after.values, after.next) == (before.values, before.next)
    engine._loop._loop.call_soon_threadsafe(talk.go.set)
    assert go(engine, go_on=True).result(DEADLINE)["said"][-1] == "reply"


def test_the_end_of_a_temporary_job_deletes_its_thread(engine: Engine) -> None:
    job = engine.submit("talk", {"said": ["hi"]}, run=thread_run(temporary=True))
    assert job.result(DEADLINE)["said"][-1] == "reply"
    assert job.checkpoints() == []
    assert engine.threads() == []
    with pytest.raises(ThreadNotFound):
        engine.thread(job.id)
    asks = engine.submit("talk", {"said": ["ask"]}, run=thread_run(temporary=True))
    assert asks.result(DEADLINE)["said"] == ["ask", "heard ask"]


def test_a_temporary_job_that_is_cancelled_leaves_no_states(engine: Engine, talk: Graph) -> None:
    job = engine.submit("talk", {"said": ["wait"]}, run=thread_run(temporary=True))
    until(lambda: talk.runs == ["think"], "the node that waits")
    assert job.checkpoints() != []
    job.cancel()
    assert job.checkpoints() == []
