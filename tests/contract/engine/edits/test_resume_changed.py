"""Going on with another input, state or priority, in the transaction of the resume, on both
databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.graphs import chain, failing
from tests.support.waiting import DEADLINE
from ucop.agents import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Engine, Filter, InvalidInput, JobHandle
from ucop.engine.errors import RefusedChange

Open = Callable[..., Engine]

GREETING = """\
name: greeting
input: {name: {type: string, minLength: 2}, loud: {type: boolean, default: false}}
nodes:
  greet: {agent: greet, with: {name: "${name}"}, writes: text}
  close: {agent: close, with: {text: "${text}", name: "${name}"}, writes: letter}
output: ${letter}
"""


@agent
def greet(name: str) -> str:
    return f"Hello {name}"


@agent
def close(text: str, name: str) -> str:
    if name == "bad":
        raise ValueError("no such person")
    return f"{text}; for {name}"


@pytest.fixture
def greeting(tmp_path: Path) -> Path:
    path = tmp_path / "greeting.yaml"
    path.write_text(GREETING, encoding="utf-8")
    return path


@pytest.fixture
def failed(open_engine: Open, greeting: Path) -> JobHandle:
    """A job whose second node does not like its input."""
    engine = open_engine(registry=Registry.of(greet, close))
    job = engine.submit(greeting, {"name": "bad"})
    assert job.wait(DEADLINE) == "failed"
    return job


def types_of(job: JobHandle) -> list[str]:
    return [event.type for event in job.events(follow=False)]


def test_a_failed_job_goes_on_with_another_input_and_runs_nothing_twice(failed: JobHandle) -> None:
    failed.resume(input={"name": "Ada"})
    assert failed.result(DEADLINE) == "Hello bad; for Ada"
    assert [step.node for step in failed.steps() if step.status == "completed"] == [
        "greet",
        "close",
    ]
    (edited,) = (event for event in failed.events(follow=False) if event.type == "job.edited")
    assert edited.data["names"] == ["name"]
    assert failed.get().input == {"name": "bad", "loud": False}, "what it was submitted with"


def test_any_name_of_the_state_is_replaced(failed: JobHandle) -> None:
    failed.resume(input={"name": "Ada"}, replace={"text": "Dear Ada"})
    assert failed.result(DEADLINE) == "Dear Ada; for Ada"


@pytest.mark.parametrize(
    ("input", "replace", "told"),
    [
        ({"name": "x"}, {}, "name"),
        ({"nam": "Ada"}, {}, "nam"),
        ({}, {"txt": "x"}, "did you mean 'text'"),
        ({"loud": "much"}, {}, "loud"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_changes(
    failed: JobHandle, input: dict[str, object], replace: dict[str, object], told: str
) -> None:
    before, seen = failed.get(), types_of(failed)
    with pytest.raises(InvalidInput, match=told):
        failed.resume(input=input, replace=replace, priority=9)
    assert failed.get() == before
    assert types_of(failed) == seen


def test_a_job_that_has_not_begun_gets_its_input_anew(open_engine: Open, greeting: Path) -> None:
    idle = open_engine(worker=False, registry=Registry.of(greet, close))
    job = idle.submit(greeting, {"name": "bad", "loud": True})
    job.pause()
    with pytest.raises(InvalidInput, match="saved no state yet"):
        job.resume(replace={"text": "x"})
    with pytest.raises(InvalidInput, match="name"):
        job.resume(input={"name": "x"})
    assert job.status == "paused"
    job.resume(input={"name": "Ada"})
    assert job.get().input == {"name": "Ada", "loud": True}
    assert types_of(job)[-2:] == ["job.edited", "job.pending"]
    open_engine(registry=Registry.of(greet, close))
    assert job.result(DEADLINE) == "Hello Ada; for Ada"


def test_a_python_graphs_input_is_what_its_state_holds(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(1, ran)), {"log": ["first"]})
    assert job.wait(DEADLINE) == "failed"
    job.resume(input={"log": ["anew"]})
    assert job.result(DEADLINE) == {"log": ["anew", "breaks", "after"]}
    assert ran == ["before", "breaks", "breaks", "after"]


def test_a_job_that_runs_or_has_ended_is_not_edited(open_engine: Open) -> None:
    idle = open_engine(worker=False)
    idle.add("flow", chain("a"))
    pending, ended = idle.submit("flow"), idle.submit("flow")
    ended.cancel()
    for job in (pending, ended):
        with pytest.raises(RefusedChange, match="paused, failed"):
            job.resume(input={"log": []})


def test_the_new_priority_decides_what_runs_next(open_engine: Open) -> None:
    idle = open_engine(worker=False)
    idle.add("flow", chain("a"))
    jobs = [idle.submit("flow") for _ in range(3)]
    idle.change("pause", Filter(workflow="flow"))
    for job in jobs[:2]:
        idle.change("resume", [job.id], priority=2)
    idle.change("resume", Filter(workflow="flow"), priority=5)
    assert [job.get().priority for job in jobs] == [2, 2, 5]
    worker = open_engine(settings={"concurrency": 1})
    worker.add("flow", chain("a"))
    for job in jobs:
        worker.job(job.id).result(DEADLINE)
    began = sorted(jobs, key=lambda job: job.get().started_at or 0)
    assert [job.id for job in began] == [jobs[2].id, jobs[0].id, jobs[1].id]


def test_a_priority_that_is_none_is_refused(open_engine: Open) -> None:
    idle = open_engine(worker=False)
    idle.add("flow", chain("a"))
    job = idle.submit("flow")
    job.pause()
    for wrong in (2**31, True, "high"):
        with pytest.raises(InvalidInput, match="priority"):
            job.resume(priority=wrong)  # type: ignore[arg-type]
    assert job.status == "paused"
