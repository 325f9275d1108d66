"""What a new job does where its thread is busy, with jobs that really run, on both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph

from tests.support.graphs import Log, chain, failing
from ucop.engine import Engine, JobHandle, ThreadBusy
from ucop.engine.errors import RefusedChange

DEADLINE = 60.0


class Talk:
    """`hear -> think -> say`: what a job thinks of takes until it is let go. All are logged."""

    def __init__(self) -> None:
        self.thinking: list[str] = []
        self.go = asyncio.Event()
        self.graph = StateGraph(Log)
        for name in ("hear", "think", "say"):
            self.graph.add_node(name, self._node(name))
        for before, after in ((START, "hear"), ("hear", "think"), ("think", "say"), ("say", END)):
            self.graph.add_edge(before, after)

    def _node(self, name: str) -> Any:
        async def node(state: Log) -> dict[str, list[str]]:
            said = [text for text in state["log"] if ":" not in text][-1]
            if name == "think":
                self.thinking.append(said)
                if said.startswith("long"):
                    await self.go.wait()
            return {"log": [f"{name}:{said}"]}

        return node

    def until_thinks(self, of: str) -> None:
        end = time.monotonic() + DEADLINE
        while of not in self.thinking:
            assert time.monotonic() < end
            time.sleep(0.01)


@pytest.fixture
def talk() -> Talk:
    return Talk()


@pytest.fixture
def engine(open_engine: Callable[..., Engine], talk: Talk) -> Engine:
    engine = open_engine()
    engine.add("talk", talk.graph)
    return engine


def say(engine: Engine, text: str, **options: Any) -> JobHandle:
    return engine.submit("talk", {"log": [text]}, thread_id="t", **options)


def whole(text: str) -> list[str]:
    return [text, f"hear:{text}", f"think:{text}", f"say:{text}"]


def release(engine: Engine, talk: Talk) -> None:
    engine._loop._loop.call_soon_threadsafe(talk.go.set)


def test_enqueue_waits_until_the_running_job_has_ended(engine: Engine, talk: Talk) -> None:
    first = say(engine, "long")
    talk.until_thinks("long")
    second = say(engine, "short", on_busy="enqueue")
    assert second.status == "pending"
    release(engine, talk)
    assert second.result(DEADLINE)["log"] == [*whole("long"), *whole("short")]
    assert first.status == "completed"


def test_reject_refuses_and_writes_nothing(engine: Engine, talk: Talk) -> None:
    first = say(engine, "long")
    talk.until_thinks("long")
    with pytest.raises(ThreadBusy, match=f"thread 't' is busy with job {first.id}") as refused:
        say(engine, "short", on_busy="reject")
    assert refused.value.jobs == (first.id,)
    assert len(engine.jobs()) == 1
    release(engine, talk)
    first.result(DEADLINE)
    assert say(engine, "short", on_busy="reject").result(DEADLINE)["log"][-1] == "say:short"


def test_interrupt_cancels_the_running_job_and_goes_on_from_what_it_saved(
    engine: Engine, talk: Talk
) -> None:
    first = say(engine, "long")
    talk.until_thinks("long")
    queued = say(engine, "queued")
    second = say(engine, "short", on_busy="interrupt")
    assert second.result(DEADLINE)["log"] == ["long", "hear:long", *whole("short")]
    assert (first.status, queued.status) == ("cancelled", "cancelled")
    assert first.get().reason == f"job {second.id} took its thread (interrupt)"
    assert [step.node for step in first.steps() if step.status == "completed"] == ["hear"]
    assert talk.thinking == ["long", "short"]


def test_rollback_sets_the_thread_back_to_before_the_job(engine: Engine, talk: Talk) -> None:
    before = say(engine, "first")
    before.result(DEADLINE)
    running = say(engine, "long")
    talk.until_thinks("long")
    after = say(engine, "short", on_busy="rollback")
    assert after.result(DEADLINE)["log"] == [*whole("first"), *whole("short")]
    assert (before.status, running.status) == ("completed", "cancelled")
    seen = [text for state in after.checkpoints() for text in state.values.get("log", [])]
    assert "long" not in seen


def test_a_second_submit_under_a_key_takes_no_thread(engine: Engine, talk: Talk) -> None:
    first = say(engine, "long")
    talk.until_thinks("long")
    second = say(engine, "long two", on_busy="interrupt", key="k")
    talk.until_thinks("long two")
    again = say(engine, "long two", on_busy="interrupt", key="k")
    assert again.id == second.id
    assert (first.status, second.status) == ("cancelled", "running")
    release(engine, talk)
    second.result(DEADLINE)


def test_other_threads_are_left_alone(engine: Engine, talk: Talk) -> None:
    other = engine.submit("talk", {"log": ["long"]}, thread_id="u")
    talk.until_thinks("long")
    assert say(engine, "short", on_busy="rollback").result(DEADLINE)["log"] == whole("short")
    assert other.status == "running"
    release(engine, talk)
    assert other.result(DEADLINE)["log"] == whole("long")


def test_a_job_of_another_process_is_interrupted_too(
    engine: Engine, talk: Talk, open_engine: Callable[..., Engine]
) -> None:
    first = say(engine, "long")
    talk.until_thinks("long")
    outside = open_engine(worker=False)
    outside.add("talk", talk.graph)
    second = outside.submit("talk", {"log": ["short"]}, thread_id="t", on_busy="interrupt")
    assert second.result(DEADLINE)["log"][-1] == "say:short"
    assert first.wait(DEADLINE) == "cancelled"


def test_a_failed_job_does_not_go_on_from_what_another_made_of_its_thread_since(
    engine: Engine,
) -> None:
    broken = engine.submit(
        engine.add("breaking", failing(1, [])), {"log": ["mine"]}, thread_id="shared"
    )
    assert broken.wait(DEADLINE) == "failed"
    stood = broken.checkpoints()[0].id
    other = engine.submit(engine.add("two", chain("a", "b")), {"log": []}, thread_id="shared")
    assert other.result(DEADLINE)["log"] == ["mine", "before", "a", "b"]

    for go_on in (broken.retry, broken.resume):
        with pytest.raises(RefusedChange, match=f"job {other.id} has gone on with thread shared"):
            go_on()
    assert broken.status == "failed"

    fork = broken.fork(checkpoint=stood)
    assert fork.result(DEADLINE)["log"] == ["mine", "before", "breaks", "after"]
    broken.retry(checkpoint=stood)
    assert broken.result(DEADLINE)["log"] == ["mine", "before", "breaks", "after"]


def test_a_job_does_not_go_on_behind_one_that_is_about_to_move_its_thread_on(
    engine: Engine, talk: Talk
) -> None:
    broken = engine.submit(
        engine.add("breaking", failing(1, [])), {"log": ["mine"]}, thread_id="shared"
    )
    assert broken.wait(DEADLINE) == "failed"
    other = engine.submit("talk", {"log": ["long"]}, thread_id="shared")
    talk.until_thinks("long")
    with pytest.raises(RefusedChange, match=f"job {other.id}"):
        broken.retry()
    other.cancel()
