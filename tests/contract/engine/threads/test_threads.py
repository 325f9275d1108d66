"""Threads as callers see them, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.support.waiting import DEADLINE, until
from ucop.engine import (
    Engine,
    InvalidInput,
    JobFailed,
    JobNotFound,
    JobStopped,
    ThreadBusy,
    ThreadExists,
    ThreadHandle,
    ThreadNotFound,
)
from ucop.engine.errors import CheckpointNotFound, RefusedChange


def added(before: list[str], new: list[str]) -> list[str]:
    return [*before, *new]


class Talk(TypedDict, total=False):
    said: Annotated[list[str], added]


def hear(state: Talk) -> Talk:
    return {"said": [f"heard {state['said'][-1]}"]}


def think(state: Talk) -> Talk:
    match state["said"][-2]:
        case "ask":
            return {"said": [str(interrupt("well?"))]}
        case "fail":
            raise ValueError("no thought")
    return {"said": ["thought"]}


class Held:
    """A node that waits until it is let go."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, state: Talk) -> Talk:
        if state["said"][-3] == "wait":
            await self.go.wait()
        return {}


@pytest.fixture
def engine(open_engine: Callable[..., Engine]) -> Engine:
    engine = open_engine()
    graph = StateGraph(Talk)
    graph.add_node("hear", hear)
    graph.add_node("think", think)
    graph.add_node("hold", Held())
    graph.add_edge(START, "hear")
    graph.add_edge("hear", "think")
    graph.add_edge("think", "hold")
    engine.add("talk", graph.compile())
    return engine


def say(engine: Engine, text: str, thread: str | None = "t", **options: Any) -> Any:
    return engine.submit("talk", {"said": [text]}, thread_id=thread, **options)


def test_a_thread_is_there_as_soon_as_a_job_is(engine: Engine) -> None:
    with pytest.raises(ThreadNotFound):
        engine.thread("t")
    job = say(engine, "hi", tenant="a")
    thread = engine.thread("t", tenant="a")
    assert thread.get().tenant == "a"
    job.result(DEADLINE)
    found = thread.get()
    assert (found.status, found.workflow, found.job, found.metadata) == ("idle", "talk", job.id, {})
    assert found.created_at <= job.get().finished_at == found.updated_at
    own = say(engine, "hi", None)
    assert own.result(DEADLINE)
    assert engine.thread(own.id).get().job == own.id
    assert [each.id for each in engine.threads()] == [own.id, "t"]


def test_the_status_is_that_of_the_newest_job(engine: Engine) -> None:
    thread = engine.create_thread("t", workflow="talk")
    assert thread.get().status == "idle"
    say(engine, "ask").wait(DEADLINE)
    assert thread.get().status == "interrupted"
    failed = say(engine, "fail")
    assert failed.wait(DEADLINE) == "failed"
    found = thread.get()
    assert (found.status, found.error and found.error.message) == ("error", "no thought")
    waits = say(engine, "wait")
    assert thread.get().status == "busy"
    waits.cancel()
    found = thread.get()
    assert (found.status, found.error) == ("idle", None)


def test_a_thread_is_created_before_its_first_job(engine: Engine) -> None:
    thread = engine.create_thread("t", metadata={"user": "u", "n": 1}, tenant="a")
    assert thread.get().metadata == {"user": "u", "n": 1}
    assert thread.state().values == {}
    assert thread.state().next == ()
    assert thread.history() == []
    with pytest.raises(ThreadExists):
        engine.create_thread("t", tenant="a")
    assert engine.create_thread("t", tenant="a", if_exists="do_nothing").get() == thread.get()
    for again in ("raise", "do_nothing"):
        with pytest.raises(ThreadNotFound):
            engine.create_thread("t", tenant="b", if_exists=again)
    with pytest.raises(InvalidInput, match="no graph"):
        thread.update({"said": ["x"]})
    say(engine, "hi", tenant="a").result(DEADLINE)
    with pytest.raises(ThreadNotFound):
        say(engine, "hi", tenant="b")
    job = thread.jobs()[0]
    engine.job(job.id).delete()
    assert thread.state().values["said"][0] == "hi"  # it was created, and stays
    named = engine.create_thread()
    assert len(named.id) == 36


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"id": ""}, "thread"),
        ({"id": "x" * 1001}, "thread"),
        ({"id": "a\x00"}, "thread"),
        ({"metadata": {"x": object()}}, "metadata"),
        ({"metadata": {"x": float("nan")}}, "metadata"),
        ({"expires": "soon"}, "expires"),
        ({"if_exists": "maybe"}, "if_exists"),
        ({"tenant": ""}, "tenant"),
    ],
)
def test_what_is_no_thread_is_refused(engine: Engine, given: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        engine.create_thread(**given)
    assert engine.threads() == []


def test_state_and_history_are_langgraphs(engine: Engine) -> None:
    job = say(engine, "hi")
    job.result(DEADLINE)
    thread = engine.thread("t")
    state = thread.state()
    assert state.values == {"said": ["hi", "heard hi", "thought"]}
    assert state.next == ()
    history = thread.history()
    assert [each.next for each in history] == [(), ("hold",), ("think",), ("hear",), ("__start__",)]
    second = history[2].config["configurable"]["checkpoint_id"]
    assert thread.state(second).values == {"said": ["hi", "heard hi"]}
    assert [each.next for each in thread.history(limit=1)] == [()]
    assert [each.next for each in thread.history(before=second)] == [("hear",), ("__start__",)]
    assert [(each.metadata or {})["step"] for each in thread.history(metadata={"step": 1})] == [1]
    with pytest.raises(CheckpointNotFound):
        thread.state("1f0c0000-0000-6000-8000-000000000000")


def test_an_update_writes_as_a_node_and_runs_nothing(engine: Engine) -> None:
    say(engine, "hi").result(DEADLINE)
    thread = engine.thread("t")
    before = thread.get().updated_at
    made = thread.update({"said": ["by hand"]}, as_node="hear")
    state = thread.state()
    assert state.config["configurable"]["checkpoint_id"] == made
    assert (state.values["said"][-1], state.next) == ("by hand", ("think",))
    assert thread.get().updated_at > before
    assert len(thread.jobs()) == 1
    # A branch from an earlier state.
    first = thread.history()[-2].config["configurable"]["checkpoint_id"]
    thread.update({"said": ["other"]}, as_node="hear", checkpoint=first)
    assert thread.state().values["said"] == ["hi", "other"]
    thread.update(None, checkpoint=first)
    assert thread.state().values["said"] == ["hi"]
    assert thread.state().next == ("hear",)


def test_an_update_that_the_graph_does_not_take_is_refused(engine: Engine) -> None:
    say(engine, "hi").result(DEADLINE)
    thread = engine.thread("t")
    before = thread.history()
    with pytest.raises(InvalidInput, match="nobody"):
        thread.update({"said": ["x"]}, as_node="nobody")
    with pytest.raises(InvalidInput):
        thread.update("no names", as_node="hear")
    with pytest.raises(CheckpointNotFound):
        thread.update({"said": ["x"]}, checkpoint="1f0c0000-0000-6000-8000-000000000000")
    assert thread.history() == before


def test_an_update_of_a_busy_thread_is_refused(engine: Engine) -> None:
    say(engine, "hi").result(DEADLINE)
    waits = say(engine, "wait")
    with pytest.raises(ThreadBusy):
        engine.thread("t").update({"said": ["x"]}, as_node="hear")
    waits.cancel()


def test_given_a_job_that_waits_then_an_update_takes_its_thread_over(engine: Engine) -> None:
    job = say(engine, "ask")
    assert job.wait(DEADLINE) == "waiting"
    (question,) = job.questions()
    engine.thread("t").update({"said": ["by hand"]}, as_node="think")
    assert job.status == "completed"
    assert job.result(DEADLINE) == {"said": ["ask", "heard ask"]}
    assert job.questions() == []
    with pytest.raises(RefusedChange):
        job.answer("late", question=question.id)
    assert engine.thread("t").get().status == "idle"
    assert engine.thread("t").state().next == ("hold",)


def test_a_copy_is_a_thread_of_its_own(engine: Engine) -> None:
    say(engine, "hi", tenant="a").result(DEADLINE)
    thread = engine.thread("t", tenant="a")
    thread.set_metadata({"user": "u"})
    copy = thread.copy()
    assert copy.get().model_dump(include={"tenant", "metadata", "workflow", "job"}) == {
        "tenant": "a",
        "metadata": {"user": "u"},
        "workflow": "talk",
        "job": None,
    }
    assert copy.state().values == thread.state().values
    assert len(copy.history()) == len(thread.history())
    say(engine, "more", copy.id, tenant="a").result(DEADLINE)
    assert copy.state().values["said"][:4] == ["hi", "heard hi", "thought", "more"]
    assert len(thread.state().values["said"]) == 3
    with pytest.raises(ThreadExists):
        thread.copy("t")
    with pytest.raises(ThreadNotFound):
        say(engine, "x", copy.id, tenant="b")


def test_a_deleted_thread_leaves_nothing(engine: Engine) -> None:
    done, waits = say(engine, "hi"), say(engine, "ask")
    done.result(DEADLINE)
    waits.wait(DEADLINE)
    later = say(engine, "wait", delay=3600)
    thread = engine.thread("t")
    thread.delete()
    assert engine.jobs() == []
    assert engine.threads() == []
    for gone in (thread.get, thread.state, thread.delete, thread.jobs, thread.history):
        with pytest.raises(ThreadNotFound):
            gone()
    assert later.id not in [job.id for job in engine.jobs(archived=None)]
    again = say(engine, "new", tenant="b")
    assert again.result(DEADLINE)["said"] == ["new", "heard new", "thought"]


def test_a_thread_is_deleted_while_its_job_runs(engine: Engine) -> None:
    running = say(engine, "wait")
    until(lambda: len(running.steps()) == 3, "the node that waits")
    say(engine, "x", "u").result(DEADLINE)
    thread = engine.thread("t")
    thread.delete()
    assert [each.id for each in engine.threads()] == ["u"]
    assert say(engine, "hi").result(DEADLINE)["said"] == ["hi", "heard hi", "thought"]


def test_metadata_are_merged(engine: Engine) -> None:
    own = say(engine, "hi", None)
    thread = engine.thread(own.id)
    thread.set_metadata({"a": 1, "b": {"c": [1, 2]}})
    thread.set_metadata({"a": None, "d": "x"}, expires="1d")
    found = thread.get()
    assert found.metadata == {"b": {"c": [1, 2]}, "d": "x"}
    assert found.expires_at is not None
    own.result(DEADLINE)
    assert own.get().tenant is None


def test_a_thread_whose_time_has_passed_is_deleted(engine: Engine) -> None:
    kept = say(engine, "hi", "kept")
    kept.result(DEADLINE)
    say(engine, "hi").result(DEADLINE)
    running = say(engine, "wait")
    engine.thread("kept").set_metadata({}, expires="1d")
    engine.thread("t").set_metadata({}, expires=0.01)
    until(lambda: [thread.id for thread in engine.threads()] == ["kept"], "the thread to go")
    assert [job.id for job in engine.jobs(archived=None)] == [kept.id]
    with pytest.raises(JobNotFound):
        running.get()


def test_only_the_newest_state_is_kept(engine: Engine) -> None:
    say(engine, "hi").result(DEADLINE)
    thread = engine.thread("t")
    state = thread.state()
    thread.keep_latest()
    assert [each.values for each in thread.history()] == [state.values]


def test_threads_are_searched(engine: Engine) -> None:
    for n in range(3):
        engine.create_thread(f"t{n}", metadata={"user": "u", "n": n, "deep": {"x": n}})
    engine.create_thread("other", metadata={"user": "v"}, tenant="a", workflow="talk")
    say(engine, "ask", "asks").wait(DEADLINE)

    def ids(**given: Any) -> list[str]:
        return [thread.id for thread in engine.threads(**given)]

    assert ids() == ["asks", "other", "t2", "t1", "t0"]
    assert ids(descending=False, limit=2) == ["t0", "t1"]
    assert ids(offset=1, limit=2) == ["other", "t2"]
    assert ids(sort_by="id") == ["t2", "t1", "t0", "other", "asks"]
    assert ids(metadata={"user": "u"}) == ["t2", "t1", "t0"]
    assert ids(metadata={"user": "u", "n": 1}) == ["t1"]
    assert ids(metadata={"n": "1"}) == []
    assert ids(metadata={"n": True}) == []
    assert ids(metadata={"deep": {"x": 2}}) == ["t2"]
    assert ids(status="interrupted") == ["asks"]
    assert ids(workflow="talk") == ["asks", "other"]
    assert ids(tenant="a") == ["other"]
    assert ids(ids=["t0", "t2", "nobody"]) == ["t2", "t0"]
    assert ids(ids=[]) == []
    assert engine.count_threads(metadata={"user": "u"}) == 3
    seen: list[str] = []
    cursor = None
    while page := engine.threads(limit=2, cursor=cursor):
        seen += [thread.id for thread in page]
        cursor = page[-1].cursor
    assert seen == ids()
    for wrong in (
        {"status": "odd"},
        {"sort_by": "colour"},
        {"cursor": "x"},
        {"cursor": page[-1].cursor if page else "1.0 x", "sort_by": "id"},
        {"limit": -1},
        {"metadata": {"x": object()}},
    ):
        with pytest.raises(InvalidInput):
            engine.threads(**wrong)


YAML = """
name: flow
input: {topic: string}
nodes:
  approve: {ask: "Publish “${topic}”?", answer: {ok: {type: boolean}}, writes: decision}
  again: {ask: "Sure about ${topic}?", answer: {ok: {type: boolean}}, writes: sure}
edges: [START -> approve -> again -> END]
output: {ok: "${decision.ok}"}
"""


def test_a_thread_of_yaml_shows_and_takes_what_the_definition_has(
    open_engine: Callable[..., Engine], tmp_path: Any
) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(YAML)
    engine = open_engine()
    job = engine.submit(file, {"topic": "x"}, thread_id="t")
    assert job.wait(DEADLINE) == "waiting"
    job.answer({"ok": True})
    assert job.wait(DEADLINE) == "waiting"
    thread = engine.thread("t")
    state = thread.state()
    assert (state.values["topic"], state.values["decision"]) == ("x", {"ok": True})
    assert not [name for name in state.values if name.startswith("_")]
    assert state.next == ("again",)
    thread.update({"decision": {"ok": False}})
    assert thread.state().values["decision"] == {"ok": False}
    assert thread.state().next == ("again",)
    assert job.status == "completed"


Entry = Callable[[Engine, ThreadHandle], Any]

ENTRIES: dict[str, Entry] = {
    "thread": lambda e, t: e.thread(t.id, tenant="b"),
    "create": lambda e, t: e.create_thread(t.id, tenant="b", if_exists="do_nothing"),
    "submit": lambda e, t: e.submit("talk", {"said": ["x"]}, thread_id=t.id, tenant="b"),
    "get": lambda e, t: t.get(),
    "state": lambda e, t: t.state(),
    "history": lambda e, t: t.history(),
    "update": lambda e, t: t.update({"said": ["x"]}, as_node="hear"),
    "set_metadata": lambda e, t: t.set_metadata({"x": 1}),
    "copy": lambda e, t: t.copy(),
    "delete": lambda e, t: t.delete(),
    "keep_latest": lambda e, t: t.keep_latest(),
    "jobs": lambda e, t: t.jobs(),
}


def test_each_method_of_a_thread_is_among_the_entries() -> None:
    methods = {name for name in vars(ThreadHandle) if not name.startswith("_")}
    sync = {name for name in methods if not (name.startswith("a") and name[1:] in methods)}
    assert sync <= set(ENTRIES)


@pytest.mark.parametrize("own", [False, True], ids=["named", "own"])
def test_given_a_thread_of_another_tenant_then_every_entry_says_that_there_is_none(
    engine: Engine, own: bool
) -> None:
    job = say(engine, "secret", None if own else "t", tenant="a")
    job.result(DEADLINE)
    id = job.get().thread_id
    mine = engine.thread(id, tenant="a")
    before = (mine.get(), mine.state())
    # As one has it that was deleted, and that another tenant made again.
    engine.create_thread("theirs", tenant="b")
    handle = engine.thread("theirs", tenant="b")
    handle.id = id
    missing = engine.thread("theirs", tenant="b")
    missing.id = "nowhere"
    for name, call in ENTRIES.items():
        with pytest.raises(ThreadNotFound) as refused:
            call(engine, handle)
        assert "secret" not in str(refused.value), name
        if name not in ("create", "submit"):
            with pytest.raises(ThreadNotFound) as unknown:
                call(engine, missing)
            assert str(unknown.value).replace("nowhere", id) == str(refused.value), name
    assert id not in {thread.id for thread in engine.threads(tenant="b")}
    assert [each.id for each in engine.threads(tenant="b")] == ["theirs"]
    assert engine.count_threads(tenant="b") == 1
    assert (mine.get(), mine.state()) == before


def test_errors_of_a_job_are_its_own(engine: Engine) -> None:
    with pytest.raises(JobFailed):
        say(engine, "fail").result(DEADLINE)
    job = say(engine, "ask")
    with pytest.raises(JobStopped):
        job.result(DEADLINE)
