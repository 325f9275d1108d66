"""Jobs from submit to result, on both databases."""

from __future__ import annotations

import asyncio
import operator
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from typing_extensions import TypedDict

from tests.support.graphs import Log, Node, chain, failing
from tests.support.waiting import DEADLINE, until
from ucop.engine import (
    Engine,
    InvalidInput,
    JobFailed,
    JobHandle,
    JobNotFound,
    JobStopped,
    ResultTimeout,
)
from ucop.engine.attempts import flushing, stopping
from ucop.engine.errors import RefusedChange, UnknownWorkflow


class Rounds(TypedDict):
    round: int
    done: Annotated[list[str], operator.add]


def test_a_job_runs_its_graph_and_tells_of_every_step(engine: Engine) -> None:
    job = engine.submit(engine.add("three", chain("a", "b", "c")), {"log": ["in"]})
    assert job.result(DEADLINE) == {"log": ["in", "a", "b", "c"]}
    data = job.get()
    assert data.status == "completed"
    assert [(s.node, s.status, s.attempt) for s in data.steps] == [
        ("a", "completed", 1),
        ("b", "completed", 1),
        ("c", "completed", 1),
    ]
    assert all(step.started_at and step.finished_at for step in data.steps)
    events = list(job.events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    kinds = [event.type for event in events]
    assert kinds[:2] == ["job.submitted", "job.running"]
    assert kinds[-1] == "job.completed"
    assert kinds.count("step.completed") == 3


def test_measured_times_of_parallel_nodes_overlap(engine: Engine) -> None:
    graph = StateGraph(Log)
    for name in "ab":
        graph.add_node(name, _sleeps(name, 0.3))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    job = engine.submit(engine.add("both", graph))
    job.result(DEADLINE)
    first, second = job.steps()
    assert first.finished_at is not None
    assert second.started_at is not None
    assert second.started_at < first.finished_at
    assert job.get().usage.seconds >= 0.6


def test_a_node_that_raises_fails_the_job_and_nothing_later_runs(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(99, ran)))
    with pytest.raises(JobFailed, match="the oven is cold") as caught:
        job.result(DEADLINE)
    assert (caught.value.type, caught.value.node) == ("ValueError", "breaks")
    assert ran == ["before", "breaks"]
    data = job.get()
    assert data.status == "failed"
    assert data.error is not None
    assert (data.error.type, data.error.message, data.error.node) == (
        "ValueError",
        "the oven is cold",
        "breaks",
    )
    assert [(s.node, s.status) for s in data.steps] == [
        ("before", "completed"),
        ("breaks", "failed"),
    ]


def test_a_failed_job_goes_on_from_its_last_checkpoint(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(1, ran)))
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    job.resume()
    assert job.result(DEADLINE) == {"log": ["before", "breaks", "after"]}
    assert ran == ["before", "breaks", "breaks", "after"]
    assert job.get().attempt == 2
    with pytest.raises(RefusedChange):
        job.resume()


def test_siblings_that_finished_before_the_error_are_kept(engine: Engine) -> None:
    ran: list[str] = []
    gate = threading.Event()

    async def good(state: Log) -> dict[str, list[str]]:
        ran.append("good")
        return {"log": ["good"]}

    async def bad(state: Log) -> dict[str, list[str]]:
        ran.append("bad")
        if not gate.is_set():
            await asyncio.sleep(0.3)
            raise ValueError("no")
        return {"log": ["bad"]}

    graph = StateGraph(Log)
    for node in (good, bad):
        graph.add_node(node.__name__, node)
        graph.add_edge(START, node.__name__)
    job = engine.submit(engine.add("siblings", graph))
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    gate.set()
    job.resume()
    assert sorted(job.result(DEADLINE)["log"]) == ["bad", "good"]
    assert sorted(ran) == ["bad", "bad", "good"]


def test_a_fan_out_by_send_and_a_loop_run_every_node_once(engine: Engine) -> None:
    async def plan(state: Rounds) -> dict[str, Any]:
        return {"done": [f"plan{state['round']}"]}

    async def work(state: Any) -> dict[str, Any]:
        return {"done": [f"work{state['round']}.{state['i']}"]}

    async def join(state: Rounds) -> dict[str, Any]:
        return {"round": state["round"] + 1}

    def fan(state: Rounds) -> list[Send]:
        return [Send("work", {"round": state["round"], "i": i}) for i in range(5)]

    graph = StateGraph(Rounds)
    graph.add_node("plan", plan)
    graph.add_node("work", work)
    graph.add_node("join", join)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", fan, ["work"])
    graph.add_edge("work", "join")
    graph.add_conditional_edges("join", lambda s: "plan" if s["round"] < 3 else END)
    job = engine.submit(engine.add("rounds", graph), {"round": 0})
    done = job.result(DEADLINE)["done"]
    assert len(done) == len(set(done)) == 18
    assert len([s for s in job.steps() if s.node == "work"]) == 15


def test_a_graph_that_interrupts_waits_and_is_not_completed(engine: Engine) -> None:
    job = engine.submit(engine.add("asking", _asking("ask")))
    with pytest.raises(JobStopped, match="ask"):
        job.result(DEADLINE)
    assert job.status == "waiting"
    assert [(s.node, s.status) for s in job.steps()] == [("ask", "pending")]
    with pytest.raises(RefusedChange, match="answer"):
        job.resume()


def test_an_answer_lets_the_job_go_on_and_counts_once(engine: Engine) -> None:
    job = engine.submit(engine.add("asking", _asking("ask")))
    assert job.wait(DEADLINE) == "waiting"
    (question,) = job.questions()
    assert (question.node, question.question) == ("ask", "ask: one?")
    with pytest.raises(InvalidInput, match="ask"):
        job.answer(7)
    job.answer("yes")
    assert job.wait(DEADLINE) == "waiting"
    (second,) = job.questions()
    assert second.question == "ask: two?"
    with pytest.raises(RefusedChange, match="no such question"):
        job.answer("again", question=question.id)
    job.answer("no")
    assert job.result(DEADLINE) == {"log": ["ask", "yes", "no"]}
    with pytest.raises(RefusedChange):
        job.answer("late")


def test_open_questions_of_parallel_nodes_are_answered_one_by_one(engine: Engine) -> None:
    job = engine.submit(engine.add("both", _asking("a", "b")))
    assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(RefusedChange, match="several"):
        job.answer("which?")
    while job.wait(DEADLINE) == "waiting":
        question = job.questions()[-1]
        job.answer(f"to {question.node}", question=question.id)
    assert sorted(job.result(DEADLINE)["log"]) == ["a", "b", "to a", "to a", "to b", "to b"]


def test_a_graph_that_stops_at_a_breakpoint_waits_and_is_not_completed(engine: Engine) -> None:
    compiled = chain("a", "b").compile(interrupt_before=["b"])
    job = engine.submit(engine.add("breakpoint", compiled))
    with pytest.raises(JobStopped, match="before b"):
        job.result(DEADLINE)
    assert job.status == "waiting"


def test_checkpoints_tell_which_nodes_ran_and_which_are_due(engine: Engine) -> None:
    job = engine.submit(engine.add("three", chain("a", "b", "c")))
    job.result(DEADLINE)
    found = list(reversed(job.checkpoints()))
    assert [(c.nodes, c.next) for c in found] == [
        ((), ()),
        ((), ("a",)),
        (("a",), ("b",)),
        (("b",), ("c",)),
        (("c",), ()),
    ]
    assert [c.parent_id for c in found[1:]] == [c.id for c in found[:-1]]
    assert found[-1].values == {"log": ["a", "b", "c"]}


def test_the_callers_graph_is_left_as_it_was(engine: Engine) -> None:
    compiled = chain("a").compile()
    engine.submit(engine.add("mine", compiled)).result(DEADLINE)
    assert compiled.checkpointer is None


def test_sync_nodes_and_subgraphs_run(engine: Engine) -> None:
    inner = chain("x", "y").compile()

    def sync(state: Log) -> dict[str, list[str]]:
        return {"log": ["sync"]}

    graph = StateGraph(Log)
    graph.add_node("sync", sync)
    graph.add_node("inner", inner)
    graph.add_edge(START, "sync")
    graph.add_edge("sync", "inner")
    job = engine.submit(engine.add("nested", graph))
    assert job.result(DEADLINE)["log"] == ["sync", "sync", "x", "y"]
    assert [s.node for s in job.steps()] == ["sync", "inner", "inner/x", "inner/y"]


def test_jobs_of_one_thread_see_the_state_before_them(engine: Engine) -> None:
    graph = engine.add("chat", chain("a"))
    first = engine.submit(graph, {"log": ["1"]}, thread_id="talk")
    assert first.result(DEADLINE)["log"] == ["1", "a"]
    second = engine.submit(graph, {"log": ["2"]}, thread_id="talk")
    assert second.result(DEADLINE)["log"] == ["1", "a", "2", "a"]


async def test_everything_works_inside_a_running_loop(engine: Engine) -> None:
    workflow = engine.add("three", chain("a", "b"))
    job = await engine.asubmit(workflow)
    assert await job.aresult(DEADLINE) == {"log": ["a", "b"]}
    kinds = [event.type async for event in job.aevents()]
    assert kinds[-1] == "job.completed"
    assert [s.node for s in await job.asteps()] == ["a", "b"]
    assert (await job.aget()).status == "completed"
    assert len(await job.acheckpoints()) == 4
    assert engine.submit(workflow).result(DEADLINE) == {"log": ["a", "b"]}
    assert (await engine.ajob(job.id)).id == job.id
    assert len(await engine.ajobs()) == 2


def test_a_job_that_takes_longer_than_the_caller_waits_goes_on(engine: Engine) -> None:
    job = engine.submit(engine.add("slow", chain("a", seconds=3.0)))
    with pytest.raises(ResultTimeout, match="goes on"):
        job.result(0.1)
    assert job.result(DEADLINE) == {"log": ["a"]}


def test_a_node_that_waits_for_its_own_engine_is_told_so(engine: Engine) -> None:
    async def node(state: Log) -> dict[str, list[str]]:
        engine.submit("self")
        return {}

    graph = StateGraph(Log)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    with pytest.raises(JobFailed, match="a… twin"):
        engine.submit(engine.add("self", graph)).result(DEADLINE)


def test_a_second_submit_under_a_key_is_the_same_job(engine: Engine) -> None:
    workflow = engine.add("three", chain("a"))
    found: list[JobHandle] = []
    threads = [
        threading.Thread(target=lambda: found.append(engine.submit(workflow, key="k")))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job in found}) == 1
    assert len(engine.jobs()) == 1


def test_a_reader_with_a_worker_elsewhere_sees_the_result(
    open_engine: Callable[..., Engine],
) -> None:
    worker, client = open_engine(), open_engine(worker=False)
    graph = chain("a", "b")
    worker.add("three", graph)
    job = client.submit(client.add("three", graph))
    assert job.result(DEADLINE) == {"log": ["a", "b"]}
    assert [e.type for e in job.events()][-1] == "job.completed"


def test_the_beginning_of_a_node_is_told_though_its_time_has_come_at_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a crowded machine, where the time passes before the timer is set.
    monkeypatch.setattr(flushing, "FLUSH_AFTER", 0.0)
    gate = threading.Event()
    job = engine.submit(engine.add("stubborn", _stubborn(0, [], gate)))
    try:
        until(lambda: [step.status for step in job.steps()] == ["running"])
    finally:
        gate.set()
    job.result(DEADLINE)


def test_who_follows_a_job_of_another_process_hears_of_its_steps(
    open_engine: Callable[..., Engine],
) -> None:
    gate, heard = threading.Event(), list[tuple[str, Any]]()
    # No heartbeat of the worker may tell by chance.
    worker = open_engine(settings={"lease": 3600.0, "sweep": 3600.0})
    client = open_engine(worker=False)

    async def waits(state: Log) -> dict[str, list[str]]:
        while not gate.is_set():
            await asyncio.sleep(0.01)
        return {"log": ["waits"]}

    graph = chain("a")
    graph.add_node("waits", waits)
    graph.add_edge("a", "waits")
    job = client.job(worker.submit(worker.add("two", graph)).id)

    def listen() -> None:
        for event in job.events():
            heard.append((event.type, event.data.get("node")))

    following = threading.Thread(target=listen)
    following.start()
    try:
        until(lambda: ("step.completed", "a") in heard and ("step.started", "waits") in heard)
    finally:
        gate.set()
        following.join()
    assert heard[-1] == ("job.completed", None)


def test_a_closing_engine_gives_its_jobs_back_and_the_next_one_finishes_them(
    open_engine: Callable[..., Engine],
) -> None:
    ran: list[str] = []

    async def first(state: Log) -> dict[str, list[str]]:
        ran.append("first")
        return {"log": ["first"]}

    async def second(state: Log) -> dict[str, list[str]]:
        ran.append("second")
        await asyncio.sleep(30 if ran.count("second") == 1 else 0)
        return {"log": ["second"]}

    graph = StateGraph(Log)
    graph.add_sequence([first, second])
    graph.add_edge(START, "first")
    one = open_engine()
    job = one.submit(one.add("two", graph))
    until(lambda: "second" in ran)
    one.close(grace=0)
    two = open_engine()
    two.add("two", graph)
    assert two.job(job.id).result(DEADLINE) == {"log": ["first", "second"]}
    assert ran == ["first", "second", "second"]


def _stubborn(times: int, ran: list[str], gate: threading.Event) -> StateGraph[Any]:
    """A graph whose node swallows so many cancellations, until the gate opens."""

    async def node(state: Log) -> dict[str, list[str]]:
        ran.append("node")
        left = times
        while not gate.is_set():
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                left -= 1
                if left < 0:
                    raise
        return {"log": ["node"]}

    graph = StateGraph(Log)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that go on are stopped again soon."""
    monkeypatch.setattr(stopping, "AGAIN", 0.2)


@pytest.mark.parametrize("times", [1, 1_000_000])
@pytest.mark.usefixtures("soon")
def test_a_node_that_swallows_its_cancellation_keeps_no_slot(
    open_engine: Callable[..., Engine], times: int
) -> None:
    ran, gate = list[str](), threading.Event()
    engine = open_engine(settings={"concurrency": 1})
    job = engine.submit(engine.add("stubborn", _stubborn(times, ran, gate)))
    until(lambda: ran)
    job.cancel()
    assert engine.submit(engine.add("next", chain("a"))).result(DEADLINE) == {"log": ["a"]}
    gate.set()
    assert job.status == "cancelled"
    assert job.get().output is None


@pytest.mark.usefixtures("soon")
def test_a_node_that_swallows_its_cancellation_outlives_no_deadline(engine: Engine) -> None:
    ran, gate = list[str](), threading.Event()
    graph = engine.add("stubborn", _stubborn(1_000_000, ran, gate))
    job = engine.submit(graph, deadline=1.0)
    with pytest.raises(JobFailed, match="deadline"):
        job.result(DEADLINE)
    gate.set()


@pytest.mark.parametrize("times", [1, 1_000_000])
@pytest.mark.usefixtures("soon")
def test_an_engine_closes_though_a_node_swallows_its_cancellation_and_gives_the_job_back(
    open_engine: Callable[..., Engine], times: int
) -> None:
    ran, gate = list[str](), threading.Event()
    one, two = open_engine(), open_engine(worker=False)
    job = one.submit(one.add("stubborn", _stubborn(times, ran, gate)))
    until(lambda: ran)
    closing = threading.Thread(target=one.close, kwargs={"grace": 0})
    closing.start()
    until(lambda: two.job(job.id).status == "pending")
    assert two.job(job.id).attempts()[0].outcome == "the worker was stopped"
    gate.set()
    closing.join()
    three = open_engine()
    three.add("stubborn", _stubborn(0, ran, gate))
    assert three.job(job.id).result(DEADLINE) == {"log": ["node"]}


def test_a_closed_engine_leaves_no_job_running(open_engine: Callable[..., Engine]) -> None:
    look = open_engine(worker=False)
    for _ in range(20):
        engine = open_engine()
        graph = engine.add("three", chain("a", "b", "c"))
        jobs = [engine.submit(graph) for _ in range(3)]
        engine.close(grace=0)
        assert {look.job(job.id).status for job in jobs} <= {"pending", "completed"}


def test_a_job_waits_for_a_worker_that_knows_its_graph(
    open_engine: Callable[..., Engine],
) -> None:
    client = open_engine(worker=False)
    worker = open_engine()
    job = client.submit(client.add("rare", chain("a")))
    with pytest.raises(ResultTimeout):
        job.result(1.0)
    assert job.status == "pending"
    worker.add("rare", chain("a"))
    assert job.result(DEADLINE) == {"log": ["a"]}


def test_a_job_is_found_by_the_beginning_of_its_id(engine: Engine) -> None:
    job = engine.submit(engine.add("three", chain("a")))
    assert engine.job(job.id[:8]).id == job.id
    with pytest.raises(JobNotFound, match="nothing"):
        engine.job("nothing")


def test_an_unknown_workflow_is_refused_with_the_nearest_name(engine: Engine) -> None:
    with pytest.raises(UnknownWorkflow, match="blog"):
        engine.submit("blogg", {})
    assert engine.jobs() == []


def test_a_yaml_workflow_runs_python_agents(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(
        "name: cut\ninput: {text: string}\n"
        "nodes:\n"
        "  read: {agent: document_reader, with: {topic: '${text}'}, writes: found}\n"
        "output: {passages: '${found}'}\n"
    )
    job = engine.submit(file, {"text": "checkpoints"})
    assert job.result(DEADLINE)["passages"]
    assert [s.node for s in job.steps()] == ["read"]


def _sleeps(name: str, seconds: float) -> Node:
    async def node(state: Log) -> dict[str, list[str]]:
        await asyncio.sleep(seconds)
        return {"log": [name]}

    return node


def test_a_paused_job_stops_at_the_next_superstep_and_goes_on_where_it_was(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("slow", _recorded(ran, "a", "b", "c")))
    until(lambda: "a" in ran)
    job.pause()
    assert job.wait(DEADLINE) == "paused"
    assert ran == ["a"]
    assert job.get().reason == "asked to pause"
    job.resume()
    assert job.result(DEADLINE) == {"log": ["a", "b", "c"]}
    assert ran == ["a", "b", "c"]


def test_a_pause_now_stops_the_node_which_runs_again_later(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("slow", _recorded(ran, "a", "b", seconds=30)))
    until(lambda: "a" in ran)
    job.pause(now=True)
    assert job.wait(DEADLINE) == "paused"
    assert ran == ["a"]
    job.cancel()
    assert job.status == "cancelled"


def test_a_pending_job_is_paused_at_once_and_not_claimed(
    open_engine: Callable[..., Engine],
) -> None:
    client = open_engine(worker=False)
    job = client.submit(client.add("one", chain("a")))
    job.pause()
    assert job.status == "paused"
    worker = open_engine()
    worker.add("one", chain("a"))
    with pytest.raises(JobStopped, match="paused"):
        job.result(DEADLINE)
    job.resume()
    assert job.result(DEADLINE) == {"log": ["a"]}


def test_a_cancelled_job_stops_in_another_process_too_and_stays_cancelled(
    open_engine: Callable[..., Engine],
) -> None:
    ran: list[str] = []
    worker, client = open_engine(), open_engine(worker=False)
    graph = _recorded(ran, "a", "b", seconds=1.0)
    worker.add("slow", graph)
    job = client.submit(client.add("slow", graph))
    until(lambda: "a" in ran)
    job.cancel()
    with pytest.raises(JobStopped, match="cancelled"):
        job.result(DEADLINE)
    time.sleep(1.5)
    assert ran == ["a"]
    for change in (job.resume, job.pause, job.cancel):
        with pytest.raises(RefusedChange, match="cancelled"):
            change()


def _asking(*names: str) -> StateGraph[Any]:
    """Parallel nodes that ask two questions each, one after the other."""
    graph = StateGraph(Log)
    for name in names:
        graph.add_node(name, _asks(name))
        graph.add_edge(START, name)
    return graph


def _asks(name: str) -> Node:
    async def node(state: Log) -> dict[str, list[str]]:
        first = interrupt(f"{name}: one?", response_schema={"type": "string"})
        return {"log": [name, first, interrupt(f"{name}: two?")]}

    return node


def _recorded(ran: list[str], *names: str, seconds: float = 0.5) -> StateGraph[Any]:
    """Nodes in a row that note that they begin, and then wait."""
    graph = StateGraph(Log)
    for name in names:
        graph.add_node(name, _notes(ran, name, seconds))
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def _notes(ran: list[str], name: str, seconds: float) -> Node:
    async def node(state: Log) -> dict[str, list[str]]:
        ran.append(name)
        await asyncio.sleep(seconds)
        return {"log": [name]}

    return node


FAR = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize(
    "terms",
    [{"start_at": FAR}, {"delay": "9999999d"}, {"deadline": FAR}, {"budget": {"deadline": 1e12}}],
)
def test_a_time_that_is_no_date_any_more_is_refused(
    open_engine: Callable[..., Engine], terms: dict[str, Any]
) -> None:
    engine = open_engine(worker=False)
    with pytest.raises(InvalidInput):
        engine.submit(chain("a"), {}, **terms)
    assert engine.jobs() == []


@pytest.mark.parametrize("unfit", ["a\0b", "a\ud800"])
def test_texts_that_not_every_database_keeps_are_refused(
    open_engine: Callable[..., Engine], unfit: str
) -> None:
    engine = open_engine(worker=False)
    said = ({"tenant": unfit}, {"key": unfit}, {"thread_id": unfit})
    every: tuple[dict[str, Any], ...] = (*said, {"labels": {"a": unfit}}, {"labels": {unfit: "a"}})
    for terms in every:
        with pytest.raises(InvalidInput, match=next(iter(terms))):
            engine.submit(chain("a"), {}, **terms)
    assert engine.jobs() == []


def test_a_list_of_fewer_than_no_jobs_and_an_action_that_there_is_not_are_refused(
    open_engine: Callable[..., Engine],
) -> None:
    engine = open_engine(worker=False)
    with pytest.raises(InvalidInput, match="limit"):
        engine.jobs(limit=-1)
    with pytest.raises(InvalidInput, match="there is pause, resume"):
        engine.change("stop", [])
