"""An answer belongs to the question that was asked: over errors, retries, pauses, other answers,
`Send`, workflows inside and defaults. Bare LangGraph is asked the same, where it can be."""

from __future__ import annotations

import asyncio
import operator
import threading
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel, field_validator
from typing_extensions import TypedDict

from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, JobHandle
from ucop.engine.errors import JobFailed, RefusedChange


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Breaks:
    """Raises where it is told to, once each time."""

    def __init__(self) -> None:
        self.due = 0

    def __call__(self) -> None:
        if self.due:
            self.due -= 1
            raise ConnectionError("the line is down")


def _two_questions(breaks: Breaks) -> StateGraph[Any]:
    def delete(state: Log) -> Log:
        test = interrupt("Delete the test database?")
        breaks()
        production = interrupt("Delete the PRODUCTION database?")
        return {"log": [f"test {test}", f"production {production}"]}

    return StateGraph(Log).add_node("delete", delete).add_edge(START, "delete")


def _asked(job: JobHandle) -> list[Any]:
    return [question.question for question in job.questions()]


def _answer(job: JobHandle, question: str, answer: Any) -> None:
    (found,) = [each for each in job.questions() if each.question == question]
    job.answer(answer, question=found.id)


def test_given_an_error_after_an_answer_then_a_retry_asks_the_next_question(
    engine: Engine,
) -> None:
    breaks = Breaks()
    graph = _two_questions(breaks)
    job = engine.submit(engine.add("delete", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    first = job.questions()
    breaks.due = 2
    job.answer("yes")
    assert job.wait(DEADLINE) == "failed"
    job.retry()
    assert job.wait(DEADLINE) == "failed"
    job.retry()
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["Delete the PRODUCTION database?"]
    assert job.questions()[0].id != first[0].id
    job.answer("no")
    assert job.result(DEADLINE) == {"log": ["test yes", "production no"]}

    breaks.due = 2
    bare = graph.compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    (asked,) = bare.invoke({"log": []}, thread)["__interrupt__"]
    with pytest.raises(ConnectionError):
        bare.invoke(Command(resume={asked.id: "yes"}), thread)
    with pytest.raises(ConnectionError):
        bare.invoke(None, thread)
    told = bare.invoke(None, thread)
    assert [each.value for each in told["__interrupt__"]] == ["Delete the PRODUCTION database?"]
    assert bare.invoke(Command(resume="no"), thread)["log"] == ["test yes", "production no"]


def test_given_two_questions_in_a_row_beside_a_third_then_no_answer_reaches_another(
    engine: Engine,
) -> None:
    def one(state: Log) -> Log:
        return {"log": [f"a {interrupt('a')}", f"b {interrupt('b')}"]}

    def other(state: Log) -> Log:
        return {"log": [f"c {interrupt('c')}", f"d {interrupt('d')}"]}

    graph = StateGraph(Log).add_node("one", one).add_node("other", other)
    graph.add_edge(START, "one").add_edge(START, "other")
    job = engine.submit(engine.add("beside", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    assert sorted(_asked(job)) == ["a", "c"]
    _answer(job, "a", 1)
    assert job.wait(DEADLINE) == "waiting"
    assert sorted(_asked(job)) == ["b", "c"]
    _answer(job, "c", 3)
    assert job.wait(DEADLINE) == "waiting"
    assert sorted(_asked(job)) == ["b", "d"]
    _answer(job, "d", 4)
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["b"]
    _answer(job, "b", 2)
    assert job.result(DEADLINE) == {"log": ["a 1", "b 2", "c 3", "d 4"]}
    assert job.questions() == []


def test_given_a_fan_out_whose_items_ask_twice_then_each_gets_its_own_answers(
    engine: Engine,
) -> None:
    def spread(state: Log) -> list[Send]:
        return [Send("item", name) for name in "xyz"]

    def item(state: Any) -> Log:
        return {"log": [f"{state}: {interrupt(f'first {state}')} {interrupt(f'second {state}')}"]}

    graph = StateGraph(Log).add_node("item", item).add_conditional_edges(START, spread, ["item"])
    job = engine.submit(engine.add("spread", graph), {})
    for question in ("first z", "second z", "first x", "first y", "second y", "second x"):
        assert job.wait(DEADLINE) == "waiting"
        _answer(job, question, question.upper())
    assert sorted(job.result(DEADLINE)["log"]) == [
        "x: FIRST X SECOND X",
        "y: FIRST Y SECOND Y",
        "z: FIRST Z SECOND Z",
    ]


@pytest.mark.parametrize("broken", ["innermost", "outermost"])
def test_given_questions_three_workflows_deep_then_errors_and_retries_ask_the_right_one(
    engine: Engine, broken: str
) -> None:
    inside, outside = Breaks(), Breaks()

    def deep(state: Log) -> Log:
        first = interrupt("first")
        inside()
        return {"log": [f"deep {first} {interrupt('second')}"]}

    inner = StateGraph(Log).add_node("deep", deep).add_edge(START, "deep").compile()
    middle = StateGraph(Log).add_node("inner", inner).add_edge(START, "inner").compile()

    async def calls(state: Log) -> Log:
        found = await middle.ainvoke({"log": []})
        outside()
        return {"log": [*found["log"], f"outer {interrupt('third')}"]}

    graph = StateGraph(Log).add_node("calls", calls).add_edge(START, "calls")
    job = engine.submit(engine.add("deep", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["first"]
    (inside if broken == "innermost" else outside).due = 1
    job.answer(1)
    if broken == "innermost":
        assert job.wait(DEADLINE) == "failed"
        job.retry()
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["second"]
    job.answer(2)
    if broken == "outermost":
        assert job.wait(DEADLINE) == "failed"
        job.retry()
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["third"]
    job.answer(3)
    assert job.result(DEADLINE) == {"log": ["deep 1 2", "outer 3"]}


def test_given_task_calls_that_ask_then_each_gets_its_own_answer(engine: Engine) -> None:
    @task
    def check(name: str) -> str:
        return f"{name} {interrupt(f'{name}?')}"

    @entrypoint()
    def flow(names: list[str]) -> list[str]:
        before = interrupt("begin?")
        found = [call.result() for call in [check(name) for name in names]]
        return [f"begin {before}", *found, f"end {interrupt('end?')}"]

    graph = StateGraph(Log)

    async def node(state: Log) -> Log:
        log: Any = await flow.ainvoke(["p", "q"])
        return {"log": log}

    graph.add_node("node", node).add_edge(START, "node")
    job = engine.submit(engine.add("calls", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["begin?"]
    job.answer("B")
    seen = set()
    while job.wait(DEADLINE) == "waiting":
        question = job.questions()[0]
        assert question.question not in seen
        seen.add(question.question)
        job.answer(question.question.upper(), question=question.id)
    assert job.result(DEADLINE) == {"log": ["begin B", "p P?", "q Q?", "end END?"]}


def test_given_a_default_for_the_first_question_then_it_does_not_answer_the_second(
    engine: Engine,
) -> None:
    def node(state: Log) -> Log:
        schema = {"type": "string", "x-within": "0.2s", "default": "nobody"}
        first = interrupt("first", response_schema=schema)
        return {"log": [first, interrupt("second", response_schema={"type": "string"})]}

    graph = StateGraph(Log).add_node("node", node).add_edge(START, "node")
    job = engine.submit(engine.add("default", graph), {})
    until(lambda: job.status == "waiting" and _asked(job) == ["second"], "the second question")
    job.answer("somebody")
    assert job.result(DEADLINE) == {"log": ["nobody", "somebody"]}


def test_given_a_pause_at_once_after_an_answer_then_the_answer_is_kept_and_the_next_asked(
    engine: Engine,
) -> None:
    begun = threading.Event()
    hold = [False]

    async def node(state: Log) -> Log:
        first = interrupt("first")
        if hold[0]:
            hold[0] = False
            begun.set()
            await asyncio.sleep(3600)
        return {"log": [first, interrupt("second")]}

    graph = StateGraph(Log).add_node("node", node).add_edge(START, "node")
    job = engine.submit(engine.add("pause", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    hold[0] = True
    job.answer("one")
    assert begun.wait(DEADLINE)
    job.pause(now=True)
    assert job.wait(DEADLINE) == "paused"
    job.resume()
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["second"]
    job.answer("two")
    assert job.result(DEADLINE) == {"log": ["one", "two"]}


# ---------------------------------------------------------------- rejected answers


def _picky() -> StateGraph[Any]:
    def node(state: Log) -> Log:
        first = interrupt("first")
        if first == "bad":
            raise ValueError("first must be good")
        second = interrupt("second")
        if second == "bad":
            raise ValueError("second must be good")
        return {"log": [first, second]}

    return StateGraph(Log).add_node("node", node).add_edge(START, "node")


def test_given_a_node_that_raises_on_an_answer_then_another_one_can_be_given(
    engine: Engine,
) -> None:
    job = engine.submit(engine.add("picky", _picky()), {})
    assert job.wait(DEADLINE) == "waiting"
    job.answer("bad")
    with pytest.raises(JobFailed, match="first must be good"):
        job.result(DEADLINE)
    job.retry()  # with the same answer
    with pytest.raises(JobFailed, match="first must be good"):
        job.result(DEADLINE)
    job.answer("good")
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["second"]
    job.answer("bad")
    assert job.wait(DEADLINE) == "failed"
    job.answer("fine")
    assert job.result(DEADLINE) == {"log": ["good", "fine"]}
    with pytest.raises(RefusedChange):
        job.answer("late")


class Amount(BaseModel):
    euros: int

    @field_validator("euros")
    @classmethod
    def even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("an even amount, please")
        return value


def test_given_a_validator_that_rejects_an_answer_then_the_question_is_open_again(
    engine: Engine,
) -> None:
    def node(state: Log) -> Log:
        return {"log": [str(interrupt("How much?", response_schema=Amount).euros)]}

    graph = StateGraph(Log).add_node("node", node).add_edge(START, "node")
    job = engine.submit(engine.add("amount", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    job.answer({"euros": 3})
    with pytest.raises(JobFailed, match="an even amount"):
        job.result(DEADLINE)
    assert _asked(job) == ["How much?"]
    assert "question.rejected" in {event.type for event in job.events()}
    job.retry()
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["How much?"]
    job.answer({"euros": 5})
    assert job.wait(DEADLINE) == "failed"
    job.answer({"euros": 6})
    assert job.result(DEADLINE) == {"log": ["6"]}


# ---------------------------------------------------------------- questions that change


def test_given_a_question_that_is_worded_anew_then_an_answer_to_the_old_one_is_refused(
    engine: Engine,
) -> None:
    price = [10]

    def pays(state: Log) -> Log:
        return {"log": [interrupt(f"Pay {price[0]}?")]}

    def other(state: Log) -> Log:
        return {"log": [interrupt("other?")]}

    graph = StateGraph(Log).add_node("pays", pays).add_node("other", other)
    graph.add_edge(START, "pays").add_edge(START, "other")
    job = engine.submit(engine.add("pays", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    (old,) = [each for each in job.questions() if each.node == "pays"]
    price[0] = 1000
    _answer(job, "other?", "x")
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["Pay 1000?"]
    with pytest.raises(RefusedChange):
        engine._loop.call(engine._commands.answer(job.id, old.id, '"yes"'))
    assert _asked(job) == ["Pay 1000?"]
    job.answer("no")
    assert sorted(job.result(DEADLINE)["log"]) == ["no", "x"]


def test_given_a_node_that_goes_another_way_then_its_question_is_not_open_any_more(
    engine: Engine,
) -> None:
    ask = [True]

    def maybe(state: Log) -> Log:
        return {"log": [interrupt("maybe?") if ask[0] else "not asked"]}

    def other(state: Log) -> Log:
        return {"log": [interrupt("other?"), interrupt("more?")]}

    graph = StateGraph(Log).add_node("maybe", maybe).add_node("other", other)
    graph.add_edge(START, "maybe").add_edge(START, "other")
    job = engine.submit(engine.add("maybe", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    ask[0] = False
    _answer(job, "other?", "x")
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["more?"]
    job.answer("y")
    assert sorted(job.result(DEADLINE)["log"]) == ["not asked", "x", "y"]
    assert job.questions() == []


def test_given_an_interrupt_that_the_node_around_it_catches_then_nobody_is_asked(
    engine: Engine,
) -> None:
    def deep(state: Log) -> Log:
        return {"log": [interrupt("deep?")]}

    inner = StateGraph(Log).add_node("deep", deep).add_edge(START, "deep").compile()

    async def catches(state: Log) -> Log:
        try:
            return {"log": (await inner.ainvoke({"log": []}))["log"]}
        except Exception as error:
            return {"log": [type(error).__name__]}

    graph = StateGraph(Log).add_node("catches", catches).add_edge(START, "catches")
    job = engine.submit(engine.add("catches", graph), {})
    assert job.result(DEADLINE) == {"log": ["GraphInterrupt"]}
    assert job.questions() == []


# ---------------------------------------------------------------- forks and edits


def test_given_a_fork_of_a_waiting_job_then_it_asks_by_itself(engine: Engine) -> None:
    job = engine.submit(engine.add("forked", _two_questions(Breaks())), {})
    assert job.wait(DEADLINE) == "waiting"
    job.answer("yes")
    assert job.wait(DEADLINE) == "waiting"
    fork = job.fork()
    assert fork.wait(DEADLINE) == "waiting"
    assert _asked(fork) == ["Delete the PRODUCTION database?"]
    anew = job.fork(job.checkpoints()[-1].id)
    assert anew.wait(DEADLINE) == "waiting"
    assert _asked(anew) == ["Delete the test database?"]
    fork.answer("fork")
    assert fork.result(DEADLINE) == {"log": ["test yes", "production fork"]}
    assert _asked(job) == ["Delete the PRODUCTION database?"]
    job.answer("job")
    assert job.result(DEADLINE) == {"log": ["test yes", "production job"]}


def test_given_an_edit_of_a_failed_job_then_what_it_asked_before_is_asked_anew(
    engine: Engine,
) -> None:
    breaks = Breaks()
    job = engine.submit(engine.add("edited", _two_questions(breaks)), {"log": ["start"]})
    assert job.wait(DEADLINE) == "waiting"
    breaks.due = 1
    job.answer("yes")
    assert job.wait(DEADLINE) == "failed"
    job.resume(replace={"log": ["edited"]})
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["Delete the test database?"]
    job.answer("no")
    assert job.wait(DEADLINE) == "waiting"
    job.answer("never")
    assert job.result(DEADLINE)["log"][-2:] == ["test no", "production never"]


EACH = """
name: choose
input: {names: {type: array, items: string}}
nodes:
  keep: {ask: "Keep ${name}?", each: "${names}", as: name, answer: boolean, writes: kept}
  sure: {ask: "Sure?", answer: boolean, writes: sure}
output: {kept: "${kept}", sure: "${sure}"}
edges: [START -> keep -> sure -> END]
"""


def test_given_each_in_yaml_then_items_are_answered_in_any_order_and_once(
    engine: Engine, tmp_path: Path
) -> None:
    path = tmp_path / "choose.yaml"
    path.write_text(EACH, encoding="utf-8")
    job = engine.submit(path, {"names": ["a", "b", "c"]})
    for name, keep in (("c", False), ("a", True), ("b", False)):
        assert job.wait(DEADLINE) == "waiting"
        _answer(job, f"Keep {name}?", keep)
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["Sure?"]
    job.answer(True)
    assert job.result(DEADLINE) == {"kept": [True, False, False], "sure": True}


# ---------------------------------------------------------------- agents


class Caller(BaseChatModel):
    """Calls two tools at once, and then says what came of them."""

    @property
    def _llm_type(self) -> str:
        return "caller"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        told = [str(each.content) for each in messages if each.type == "tool"]
        calls = [{"name": "buy", "args": {"what": what}, "id": what} for what in ("tea", "jam")]
        said = AIMessage(", ".join(told)) if told else AIMessage("", tool_calls=calls)
        return ChatResult(generations=[ChatGeneration(message=said)])


def test_given_tools_of_an_agent_that_ask_twice_then_each_call_gets_its_own_answers(
    engine: Engine,
) -> None:
    breaks = Breaks()

    def buy(what: str) -> str:
        """Buy something."""
        price = interrupt(f"price of {what}?")
        breaks()
        return f"{what} {price} {interrupt(f'buy {what}?')}"

    agent = create_agent(Caller(), [buy])
    start = {"messages": [{"role": "user", "content": "go"}]}
    job = engine.submit(engine.add("buyer", agent), start)
    assert job.wait(DEADLINE) == "waiting"
    assert sorted(_asked(job)) == ["price of jam?", "price of tea?"]
    breaks.due = 1
    _answer(job, "price of jam?", 2)
    assert job.wait(DEADLINE) == "failed"
    job.retry()
    assert job.wait(DEADLINE) == "waiting"
    assert sorted(_asked(job)) == ["buy jam?", "price of tea?"]
    _answer(job, "buy jam?", "no")
    assert job.wait(DEADLINE) == "waiting"
    _answer(job, "price of tea?", 3)
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["buy tea?"]
    job.answer("yes")
    said = job.result(DEADLINE)["messages"][-1]
    assert said["content"] == "tea 3 yes, jam 2 no"


@pytest.mark.parametrize("mode", ["batched", "per_call"])
def test_given_middleware_that_asks_then_its_decisions_are_taken(engine: Engine, mode: Any) -> None:
    def buy(what: str) -> str:
        """Buy something."""
        return f"bought {what}"

    asks = HumanInTheLoopMiddleware(interrupt_on={"buy": True}, interrupt_mode=mode)
    agent = create_agent(Caller(), [buy], middleware=[asks])
    start = {"messages": [{"role": "user", "content": "go"}]}
    job = engine.submit(engine.add("careful", agent), start)
    assert job.wait(DEADLINE) == "waiting"
    approve, reject = {"type": "approve"}, {"type": "reject", "message": "no jam"}
    if mode == "batched":
        job.answer({"decisions": [approve]})  # too few: the node raises
        assert job.wait(DEADLINE) == "failed"
        job.answer({"decisions": [approve, reject]})
    else:
        for question in job.questions():
            decision = approve if question.question["args"]["what"] == "tea" else reject
            job.answer(decision, question=question.id)
            job.wait(DEADLINE)
    content = job.result(DEADLINE)["messages"][-1]["content"]
    assert "bought tea" in content
    assert "bought jam" not in content
    assert "no jam" in content


def test_given_an_old_answer_then_the_job_file_tells_whether_it_was_taken(
    engine: Engine, tmp_path: Path
) -> None:
    job = engine.submit(engine.add("file", _two_questions(Breaks())), {})
    assert job.wait(DEADLINE) == "waiting"
    job.answer("yes")
    assert job.wait(DEADLINE) == "waiting"
    path = tmp_path / "job.jsonl"
    job.export(path)
    copied = engine.import_job(path, new_id=True)
    assert _asked(copied) == ["Delete the PRODUCTION database?"]
    copied.answer("no")
    assert copied.result(DEADLINE) == {"log": ["test yes", "production no"]}


def test_given_a_graph_that_keeps_no_checkpoints_then_its_answers_are_refused_with_the_reason(
    engine: Engine,
) -> None:
    def deep(state: Log) -> Log:
        return {"log": [interrupt("deep?")]}

    inner = StateGraph(Log).add_node("deep", deep).add_edge(START, "deep")
    graph = StateGraph(Log).add_node("calls", inner.compile(checkpointer=False))
    job = engine.submit(engine.add("forgets", graph.add_edge(START, "calls")), {})
    assert job.wait(DEADLINE) == "waiting"
    job.answer("lost")
    with pytest.raises(JobFailed, match="checkpointer=False"):
        job.result(DEADLINE)


def test_given_a_handler_of_errors_that_asks_then_it_gets_its_own_answer(engine: Engine) -> None:
    def fails(state: Log) -> Log:
        raise ValueError(f"no {interrupt('Go on?')}")

    def handles(state: Log) -> Log:
        return {"log": [interrupt("And now?")]}

    graph = StateGraph(Log).add_node("fails", fails, error_handler=handles)
    job = engine.submit(engine.add("handled", graph.add_edge(START, "fails")), {})
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["Go on?"]
    job.answer("yes")
    assert job.wait(DEADLINE) == "waiting"
    assert _asked(job) == ["And now?"]
    job.answer("stop")
    assert job.result(DEADLINE) == {"log": ["stop"]}
