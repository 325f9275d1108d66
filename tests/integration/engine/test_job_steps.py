"""What a job's steps tell of errors that were caught, tries, and branches not taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ollama import ScriptedOllama, answer, hang, status
from tests.support.tally import Tally
from ucop.engine import Engine, JobFailed, JobHandle, Step

DEADLINE = 60.0

ASKER = """\
agents:
  asker:
    input: {mark: string}
    prompt: "${mark}: words"
    output: {reply: string}
    repairs: 0
"""


@pytest.fixture
def flow(tmp_path: Path) -> Callable[..., Path]:
    def written(body: str, name: str = "flow") -> Path:
        file = tmp_path / f"{name}.yaml"
        file.write_text(f"name: {name}\n{ASKER}{body}")
        return file

    return written


def steps_of(job: JobHandle) -> dict[str, list[Step]]:
    found: dict[str, list[Step]] = {}
    for step in job.steps():
        found.setdefault(step.node, []).append(step)
    return found


def told(job: JobHandle, type: str) -> list[str]:
    return [event.data["node"] for event in job.events() if event.type == type]


def test_an_error_that_is_caught_is_told_at_its_step_and_the_job_completes(
    engine: Engine, flow: Callable[..., Path], tally: Tally
) -> None:
    tally.script("one", status(400, "no such thing"))
    tally.script("two", status(400, "nor that"))
    file = flow(
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}, writes: a, on_error: continue}\n"
        "  two: {agent: asker, with: {mark: two}, writes: b, on_error: {node: three}}\n"
        "  three: {agent: asker, with: {mark: three}, writes: c}\n"
        "  four: {agent: asker, with: {mark: four}, writes: d}\n"
        "edges: [START -> one -> two -> four -> END, three -> END]\n"
    )
    job = engine.submit(file)
    job.result(DEADLINE)
    found = {node: steps[0] for node, steps in steps_of(job).items()}
    assert {node: step.status for node, step in found.items()} == {
        "one": "failed",
        "two": "failed",
        "three": "completed",
        "four": "skipped",
    }
    for node, why in {"one": "no such thing", "two": "nor that"}.items():
        error = found[node].error
        assert error is not None
        assert (error.type, error.node, error.caught) == ("ModelResponseError", node, True)
        assert why in error.message
        assert found[node].model_calls == 1
    assert told(job, "step.failed") == ["one", "two"]
    assert told(job, "step.skipped") == ["four"]


def test_an_each_whose_items_failed_in_part_is_told_as_caught(
    engine: Engine, flow: Callable[..., Path], tally: Tally
) -> None:
    tally.script("one", status(400), answer({"reply": "yes"}))
    file = flow(
        "nodes:\n  one: {agent: asker, each: '${[1, 2, 3]}', limit: 1, with: {mark: one}, "
        "writes: a, on_error: continue}\n"
    )
    job = engine.submit(file)
    assert job.result(DEADLINE) == {"a": [None, {"reply": "yes"}, {"reply": "yes"}]}
    (step,) = job.steps()
    assert step.error is not None
    assert (step.status, step.error.caught, step.model_calls) == ("failed", True, 3)


def test_an_error_inside_a_workflow_that_is_caught_outside_leaves_no_step_open(
    open_engine: Callable[..., Engine],
    flow: Callable[..., Path],
    tally: Tally,
    ollama: ScriptedOllama,
) -> None:
    tally.script("slow", hang(after=1))
    tally.script("bad", status(400))
    flow(
        "nodes:\n"
        "  bad: {agent: asker, with: {mark: bad}}\n"
        "  slow: {agent: asker, with: {mark: slow}}\n",
        "inner",
    )
    file = flow("nodes:\n  outer: {workflow: inner, writes: a, on_error: continue}\n")
    engine = open_engine(workflows=["*.yaml"])
    job = engine.submit(file)
    assert job.result(DEADLINE) == {"a": None}
    found = {node: steps[0] for node, steps in steps_of(job).items()}
    assert {node: step.status for node, step in found.items()} == {
        "outer": "failed",
        "outer/bad": "failed",
        "outer/slow": "failed",
    }
    caught = {node: step.error and step.error.caught for node, step in found.items()}
    assert caught == {"outer": True, "outer/bad": False, "outer/slow": False}
    assert sum(step.model_calls for step in job.steps()) == ollama.calls


def test_every_try_is_told_with_what_the_last_one_raised(
    engine: Engine, flow: Callable[..., Path], tally: Tally
) -> None:
    tally.script("one", status(400, "first"), status(400, "second"), answer({"reply": "yes"}))
    file = flow(
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}, writes: a, retry: {attempts: 3, delay: 1ms}}\n"
        "  two: {agent: asker, with: {mark: two}, writes: b, retry: {attempts: 3, delay: 1ms}}\n"
    )
    job = engine.submit(file)
    job.result(DEADLINE)
    tries = {node: steps[0].tries for node, steps in steps_of(job).items()}
    assert tries == {"one": 3, "two": 1}
    retried = [event.data for event in job.events() if event.type == "step.retried"]
    assert [(data["node"], data["try"]) for data in retried] == [("one", 2), ("one", 3)]
    assert ["first" in data["error"]["message"] for data in retried] == [True, False]


def test_the_tries_of_each_and_of_workflows_inside_are_told(
    open_engine: Callable[..., Engine], flow: Callable[..., Path], tally: Tally
) -> None:
    tally.script("deep", status(400), answer({"reply": "yes"}))
    tally.script("many", status(400), answer({"reply": "yes"}), status(400), answer({"reply": "y"}))
    policy = "retry: {attempts: 2, delay: 1ms}"
    flow(f"nodes:\n  deep: {{agent: asker, with: {{mark: deep}}, {policy}}}\n", "inner")
    file = flow(
        "nodes:\n"
        "  one: {workflow: inner, writes: a}\n"
        f"  many: {{agent: asker, each: '${{[1, 2, 3]}}', limit: 1, with: {{mark: many}}, {policy}}}\n"
        "edges: [START -> one -> many -> END]\n"
    )
    job = open_engine(workflows=["*.yaml"]).submit(file)
    job.result(DEADLINE)
    tries = {node: steps[0].tries for node, steps in steps_of(job).items()}
    assert tries == {"one": 1, "one/deep": 2, "many": 2}
    assert told(job, "step.retried") == ["one/deep", "many", "many"]


def test_a_call_that_was_stopped_for_its_time_is_told_as_such(
    engine: Engine, flow: Callable[..., Path], tally: Tally
) -> None:
    tally.script("one", hang(after=1), answer({"reply": "yes"}))
    tally.script("two", hang(after=1))
    file = flow(
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}, writes: a, timeout: 1500ms, "
        "retry: {attempts: 2, delay: 1ms}}\n"
        "  two: {agent: asker, with: {mark: two}, writes: b, timeout: 300ms}\n"
        "edges: [START -> one -> two -> END]\n"
    )
    job = engine.submit(file)
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    (retried,) = [event.data for event in job.events() if event.type == "step.retried"]
    assert retried["error"]["type"] == "TimeoutError"
    found = {node: steps[0] for node, steps in steps_of(job).items()}
    assert (found["one"].tries, found["one"].status) == (2, "completed")
    error = found["two"].error
    assert error is not None
    assert error.type == "NodeTimeoutError"


CHOICE = """
input: {long: boolean}
nodes:
  one: {agent: asker, with: {mark: one}, writes: a}
  way: {workflow: inner, with: {long: "${long}"}, writes: b}
  two: {agent: asker, with: {mark: two}, writes: c}
edges:
  - from: START
    to: [{node: one, when: long}, way]
  - one -> way -> END
  - from: way
    to: [{node: two, when: long}, END]
  - two -> END
"""
INNER = """
input: {long: boolean}
nodes:
  short: {agent: asker, with: {mark: short}, writes: a}
  long_way: {agent: asker, with: {mark: long}, writes: b}
edges:
  - from: START
    to: [{node: long_way, when: long}, short]
  - short -> END
  - long_way -> END
output: ${default(a, b)}
"""


@pytest.mark.parametrize(
    ("long", "skipped"), [(False, ["one", "two", "way/long_way"]), (True, ["way/short"])]
)
def test_branches_not_taken_are_skipped_steps(
    long: bool, skipped: list[str], open_engine: Callable[..., Engine], flow: Callable[..., Path]
) -> None:
    flow(INNER, "inner")
    job = open_engine(workflows=["*.yaml"]).submit(flow(CHOICE), {"long": long})
    job.result(DEADLINE)
    found = [step for step in job.steps() if step.status == "skipped"]
    assert sorted(step.node for step in found) == skipped
    assert {(step.started_at, step.tries, step.model_calls) for step in found} == {(None, 1, 0)}
    assert sorted(told(job, "step.skipped")) == skipped


def test_what_an_earlier_attempt_ran_is_not_skipped(
    engine: Engine, flow: Callable[..., Path], tally: Tally
) -> None:
    tally.script("two", status(400), answer({"reply": "yes"}))
    file = flow(
        "input: {more: {type: boolean, default: false}}\n"
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}, writes: a}\n"
        "  two: {agent: asker, with: {mark: two}, writes: b}\n"
        "  three: {agent: asker, with: {mark: three}, writes: c}\n"
        "edges:\n  - START -> one -> two\n"
        "  - {from: two, to: [{node: three, when: more}, END]}\n  - three -> END\n"
    )
    job = engine.submit(file)
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    assert told(job, "step.skipped") == []
    job.resume()
    job.result(DEADLINE)
    assert told(job, "step.skipped") == ["three"]


def test_how_many_items_ended_is_told_while_the_others_run(
    engine: Engine, flow: Callable[..., Path], tally: Tally
) -> None:
    tally.script("many", answer({"reply": "yes"}), answer({"reply": "yes"}), hang(after=1))
    file = flow("nodes:\n  many: {agent: asker, each: '${[1, 2, 3]}', with: {mark: many}}\n")
    job = engine.submit(file)
    words = (event.data for event in job.events() if event.type == "progress")
    assert next(words) == {"node": "many", "text": "2/3"}
    job.cancel()
