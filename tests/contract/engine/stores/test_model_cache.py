"""Call answers of models: what was paid for once is not asked for again, whatever died, was forked
or is submitted again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Ucop
from tests.support.ollama import Reply, Request, ScriptedOllama, answer, text
from tests.support.waiting import DEADLINE
from ucop.engine import Engine, JobHandle, JobStatus

FLOW = """
name: flow
input: {words: {type: string, default: hello}}
nodes:
  one: {agent: asker, with: {words: "${words}"}, writes: a}
  two: {agent: asker, with: {words: "${a}"}, writes: b}
edges: [START -> one -> two -> END]
output: {b: "${b}"}
agents:
  asker: {prompt: "Say ${words}", input: {words: string}, SAID}
"""
KEPT = FLOW.replace("SAID", "cache: 1h")


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    def echo(request: Request) -> Reply:
        said = str(request["messages"][-1]["content"]).removeprefix("Say ")
        return text(f"{said}!", tokens=(3, 2))

    with ScriptedOllama(echo) as endpoint:
        yield endpoint


@pytest.fixture
def submit(
    open_engine: Callable[..., Engine], ollama: ScriptedOllama, tmp_path: Path
) -> Callable[..., JobHandle]:
    engines: list[Engine] = []

    def submitted(flow: str = KEPT, cache: float | None = None, **data: Any) -> JobHandle:
        changed = {"ollama_host": ollama.url, "embedded": False, "model_cache": cache}
        engines[:] = engines or [open_engine(settings=changed)]
        (tmp_path / "flow.yaml").write_text(flow, encoding="utf-8")
        job = engines[0].submit(tmp_path / "flow.yaml", data)
        job.wait(DEADLINE)
        return job

    return submitted


def paid(job: JobHandle) -> list[tuple[str, int, int]]:
    """Of each step: its node, the calls that were made, and those that were not."""
    return [(step.node, step.model_calls, step.cached_calls) for step in job.steps()]


def test_a_second_job_pays_for_nothing_that_the_first_one_paid(
    submit: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    first, second = submit(), submit()
    assert first.result() == second.result() == {"b": "hello!!"}
    assert ollama.calls == 2
    assert paid(first) == [("one", 1, 0), ("two", 1, 0)]
    assert paid(second) == [("one", 0, 1), ("two", 0, 1)]
    usage = second.get().usage
    assert (usage.model_calls, usage.cached_calls, usage.tokens_in) == (0, 2, 0)
    ends = [event.data for event in second.events() if event.type == "step.completed"]
    assert [end["cached_calls"] for end in ends] == [1, 1]
    assert [step.models for step in second.steps()] == [("ollama:llama3.2",)] * 2


def test_a_fork_pays_only_for_what_it_changed(
    submit: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    job = submit()
    first = job.checkpoints()[-1]
    fork = job.fork(checkpoint=first.id)
    assert fork.result(DEADLINE) == job.result()
    assert ollama.calls == 2
    after_one = next(one for one in job.checkpoints() if one.nodes == ("one",))
    changed = job.fork(checkpoint=after_one.id, update={"a": "bye"})
    assert changed.result(DEADLINE) == {"b": "bye!"}
    assert ollama.calls == 3


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("options: {temperature: 0}", True),
        ("options: {temperature: 0.7, seed: 4}", True),
        ("options: {temperature: 0.7}", False),
        ("options: {}", False),
        ("options: {temperature: 0.7}, cache: 1h", True),
    ],
)
def test_the_project_keeps_only_what_can_only_be_the_same_again(
    submit: Callable[..., JobHandle], ollama: ScriptedOllama, said: str, kept: bool
) -> None:
    flow = FLOW.replace("SAID", said)
    submit(flow, cache=3600)
    submit(flow, cache=3600)
    assert ollama.calls == (2 if kept else 4)


def test_without_a_word_nothing_is_kept(
    submit: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    flow = FLOW.replace("SAID", "options: {temperature: 0}")
    submit(flow)
    submit(flow)
    assert ollama.calls == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Say ${words}", "Say  ${words}"),
        ("cache: 1h", "cache: 1h, options: {seed: 3}"),
        ("cache: 1h", "cache: 1h, system: Be kind."),
        ("cache: 1h", "cache: 1h, model: 'ollama:llama3.2:latest'"),
        ("cache: 1h", "cache: 1h, output: {type: string}"),
    ],
)
def test_another_question_is_asked(
    submit: Callable[..., JobHandle], ollama: ScriptedOllama, old: str, new: str
) -> None:
    submit()
    submit(KEPT.replace(old, new))
    assert ollama.calls > 2


def test_answers_that_do_not_fit_are_not_kept_for_the_next_time(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    flow = FLOW.replace("SAID", "cache: 1h, repairs: 1, output: {n: integer}")
    flow = flow.replace(' with: {words: "${a}"}', ' with: {words: "${string(a.n)}"}')
    with ScriptedOllama([text("no"), text("no"), answer({"n": 1})]) as ollama:
        engine = open_engine(settings={"ollama_host": ollama.url, "embedded": False})
        (tmp_path / "flow.yaml").write_text(flow, encoding="utf-8")
        job = engine.submit(tmp_path / "flow.yaml")
        assert job.wait(DEADLINE) is JobStatus.FAILED
        assert ollama.calls == 2
        job.retry()
        assert job.wait(DEADLINE) is JobStatus.COMPLETED
        assert ollama.calls == 4


@pytest.mark.parametrize(("said", "calls"), [("cache: 1h", 2), ("options: {seed: 1}", 3)])
def test_a_worker_that_was_killed_after_a_call_has_paid_it_for_all(
    open_engine: Callable[..., Engine],
    ollama: ScriptedOllama,
    tmp_path: Path,
    url: str,
    said: str,
    calls: int,
) -> None:
    (tmp_path / "ucop.toml").write_text(f'database = "{url}"\nworkflows = ["flow.yaml"]\n')
    (tmp_path / "flow.yaml").write_text(FLOW.replace("SAID", said), encoding="utf-8")
    engine = open_engine(worker=False)
    job = engine.submit(tmp_path / "flow.yaml")

    ucop = Ucop(tmp_path, {"OLLAMA_HOST": ollama.url})
    try:
        # Dies between the first call and the checkpoint that would hold its answer.
        assert ucop("worker", UCOP_FAULT="before put:3").code == -signal.SIGKILL
        assert (ollama.calls, job.status) == (1, JobStatus.RUNNING)
        second = ucop.start("worker")
        assert job.wait(DEADLINE) is JobStatus.COMPLETED
        second.signal(signal.SIGTERM)
        assert second.end().code == 0
    finally:
        ucop.close()
    assert ollama.calls == calls
    ended = [step for step in job.steps() if step.attempt == 2]
    assert sum(step.cached_calls for step in ended) == 3 - calls
