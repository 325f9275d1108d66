"""Which code runs is never a guess: a job runs the very graph that it was submitted with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from tests.support.waiting import DEADLINE
from ucop.engine import Engine, InvalidInput, JobFailed


class State(TypedDict, total=False):
    said: str


def saying(word: str, name: str | None = "saying", wait: threading.Event | None = None) -> Any:
    """Graphs of one shape, each of which says something else."""

    def say(state: State) -> State:
        if wait is not None:
            wait.wait(DEADLINE)
        return {"said": word}

    builder = StateGraph(State)
    builder.add_node("say", say)
    builder.add_edge(START, "say")
    return builder.compile(name=name) if name else builder.compile()


@pytest.mark.parametrize("name", ["saying", None])
def test_given_graphs_of_one_name_and_shape_then_each_job_runs_its_own(
    engine: Engine, name: str | None
) -> None:
    graphs = [saying(word, name) for word in ("a", "b", "c")]
    jobs = [engine.submit(graph) for graph in (*graphs, *graphs)]
    assert [job.result(DEADLINE)["said"] for job in jobs] == ["a", "b", "c"] * 2


def test_given_another_graph_under_a_name_then_jobs_of_before_keep_theirs(engine: Engine) -> None:
    go = threading.Event()
    engine.add("x", saying("old", wait=go))
    running, queued = engine.submit("x"), engine.submit("x", delay=0.5)
    engine.add("x", saying("new"))
    fresh = engine.submit("x")
    assert fresh.result(DEADLINE)["said"] == "new"
    go.set()
    assert running.result(DEADLINE)["said"] == queued.result(DEADLINE)["said"] == "old"
    fork = running.fork(running.checkpoints()[1].id)
    assert fork.result(DEADLINE)["said"] == "old"


def test_given_another_graph_under_a_name_then_jobs_of_other_processes_run_it(
    open_engine: Callable[..., Engine],
) -> None:
    sender = open_engine(worker=False)
    sender.add("x", saying("theirs"))
    worker = open_engine()
    worker.add("x", saying("old"))
    assert worker.job(sender.submit("x").id).result(DEADLINE)["said"] == "old"
    worker.add("x", saying("new"))
    assert worker.job(sender.submit("x").id).result(DEADLINE)["said"] == "new"


def test_given_many_submits_then_the_catalog_does_not_grow(engine: Engine) -> None:
    before = len(engine.catalog.names())
    for word in "abc":
        engine.submit(saying(word)).result(DEADLINE)
        engine.submit(saying(word, None)).result(DEADLINE)
    assert len(engine.catalog.names()) == before + 1


def test_given_an_object_without_a_name_then_only_its_process_runs_it_and_the_job_says_so(
    open_engine: Callable[..., Engine],
) -> None:
    with open_engine(settings={"concurrency": 1}) as engine:
        go = threading.Event()
        first = engine.submit(saying("a", None, go))
        job = engine.submit(saying("a", None))
        assert "only the process that submitted it can run it" in (job.get().notice or "")
        go.set()
        assert job.result(DEADLINE) == first.result(DEADLINE) == {"said": "a"}
        left = engine.submit(saying("a", None), delay=3600)
    other = open_engine()
    left = other.job(left.id)
    left.pause()
    left.resume(now=True)
    assert other.submit(saying("b", None)).result(DEADLINE) == {"said": "b"}
    assert left.status == "pending"
    with pytest.raises(Exception, match="has no name"):
        other.job(job.id).fork()


def test_given_no_worker_here_then_an_object_without_a_name_is_refused(
    open_engine: Callable[..., Engine],
) -> None:
    sender = open_engine(worker=False)
    with pytest.raises(InvalidInput, match="no worker runs here"):
        sender.submit(saying("a", None))
    assert sender.jobs() == []


def test_given_an_object_that_nobody_lists_then_the_job_says_who_can_run_it(
    engine: Engine,
) -> None:
    said = engine.submit(saying("a")).get().notice or ""
    assert "only processes that know graph 'saying' can run it" in said
    engine.add("saying", saying("a"))
    assert engine.submit("saying").get().notice is None


def test_given_a_job_that_failed_then_it_goes_on_with_the_graph_of_its_submission(
    engine: Engine,
) -> None:
    broken = [True]

    def failing(word: str) -> Any:
        def say(state: State) -> State:
            if broken[0]:
                raise ValueError("broken")
            return {"said": word}

        builder = StateGraph(State)
        builder.add_node("say", say)
        builder.add_edge(START, "say")
        return builder.compile(name="saying")

    job = engine.submit(failing("old"))
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    broken[0] = False
    assert engine.submit(failing("new")).result(DEADLINE) == {"said": "new"}
    job.retry()
    assert job.result(DEADLINE) == {"said": "old"}


def test_given_a_workflow_of_YAML_then_the_graph_inside_is_the_one_of_its_submission(
    open_engine: Callable[..., Engine], tmp_path: Any
) -> None:
    text = "name: outer\nnodes:\n  a: {workflow: x, writes: a}\noutput: ${a.said}\n"
    (tmp_path / "outer.yaml").write_text(text, encoding="utf-8")
    with open_engine(settings={"workflows": ["outer.yaml"]}) as engine:
        go = threading.Event()
        engine.add("x", saying("old", wait=go))
        old = engine.submit("outer")
        engine.add("x", saying("new"))
        assert engine.submit("outer").result(DEADLINE) == "new"
        go.set()
        assert old.result(DEADLINE) == "old"
