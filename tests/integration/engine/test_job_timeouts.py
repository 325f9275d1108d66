"""A node's timeout stops the model's call: its endpoint sees the hang-up, the step tells why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ollama import ScriptedOllama, hang, text
from tests.support.tally import Tally
from ucop.engine import Engine, JobFailed, StepError

DEADLINE = 60.0
FLOW = """\
name: flow
nodes:
  one: {agent: asker, NODEwith: {mark: one}, writes: a, timeout: TIMEOUT}
agents:
  asker:
    input: {mark: string}
    prompt: "${mark}: words"
"""
SLOWLY = text(" ".join(["word"] * 12), pause=0.25)
"""Three seconds in all, and never silent for long."""


@pytest.fixture
def flow(tmp_path: Path) -> Callable[..., Path]:
    def written(timeout: str, node: str = "") -> Path:
        file = tmp_path / "flow.yaml"
        file.write_text(FLOW.replace("TIMEOUT", timeout).replace("NODE", node))
        return file

    return written


@pytest.fixture(autouse=True)
def warm(engine: Engine, flow: Callable[..., Path]) -> None:
    """The first call of a process imports much, which is silence too."""
    engine.submit(flow("1h")).result(DEADLINE)


def broken(engine: Engine, file: Path) -> StepError:
    """The error of the one step of a job that fails."""
    job = engine.submit(file)
    with pytest.raises(JobFailed) as caught:
        job.result(DEADLINE)
    (step,) = job.steps()
    assert step.error is not None
    assert (step.status, step.error.node, step.model_calls) == ("failed", "one", 1)
    assert caught.value.type == step.error.type
    return step.error


def test_a_model_that_falls_silent_between_two_tokens_is_hung_up_on(
    engine: Engine, flow: Callable[..., Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("one", hang(after=2))
    error = broken(engine, flow("{idle: 500ms}"))
    assert error.type == "NodeTimeoutError"
    assert "idle timeout of 0.500s" in error.message
    assert ollama.until(lambda seen: seen.hang_ups == 1)


def test_a_model_that_never_begins_is_silent_too(
    engine: Engine, flow: Callable[..., Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("one", hang())
    assert "idle timeout" in broken(engine, flow("{idle: 500ms, whole: 1h}")).message
    assert ollama.until(lambda seen: seen.hang_ups == 1)


def test_a_model_that_goes_on_telling_is_not_idle_however_long_it_takes(
    engine: Engine, flow: Callable[..., Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("one", SLOWLY)
    assert len(engine.submit(flow("{idle: 2s}")).result(DEADLINE)["a"].split()) == 12
    assert ollama.hang_ups == 0


@pytest.mark.parametrize("timeout", ["700ms", "{whole: 700ms, idle: 1h}"])
def test_a_model_that_goes_on_telling_for_too_long_is_hung_up_on(
    timeout: str,
    engine: Engine,
    flow: Callable[..., Path],
    tally: Tally,
    ollama: ScriptedOllama,
) -> None:
    tally.script("one", SLOWLY)
    error = broken(engine, flow(timeout))
    assert error.type == "NodeTimeoutError"
    assert "run timeout of 0.700s" in error.message
    assert ollama.until(lambda seen: seen.hang_ups == 1)


def test_an_item_that_falls_silent_is_stopped_alone(
    engine: Engine, flow: Callable[..., Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("one", hang(after=2), SLOWLY)
    job = engine.submit(flow("{idle: 1500ms}", "each: '${[1, 2, 3]}', on_error: continue, "))
    answers = job.result(DEADLINE)["a"]
    assert [answer is None for answer in answers].count(True) == 1
    (step,) = job.steps()
    assert step.error is not None
    assert (step.error.type, step.error.caught) == ("NodeTimeoutError", True)
    assert ollama.until(lambda seen: seen.hang_ups == 1)
