"""A prompt that is longer than its model's window: the step says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ollama import ScriptedOllama, text
from ucop.engine import Engine

DEADLINE = 30.0

FLOW = """
name: long
agents:
  reader: {prompt: "A very long text.", options: OPTIONS}
nodes: {reads: {agent: reader, writes: said}}
output: {said: "${said}"}
"""


@pytest.mark.parametrize(
    ("options", "window", "read", "warns"),
    [
        ("{num_ctx: 100}", None, 100, True),
        ("{num_ctx: 100}", None, 99, False),
        ("{}", 4096, 4096, True),
        ("{}", 8192, 4096, False),
        ("{}", None, 4096, False),
    ],
)
def test_a_cut_prompt_is_a_warning_on_its_step(
    open_engine: Callable[..., Engine],
    tmp_path: Path,
    options: str,
    window: int | None,
    read: int,
    warns: bool,
) -> None:
    (tmp_path / "long.yaml").write_text(FLOW.replace("OPTIONS", options), encoding="utf-8")
    with ScriptedOllama([text("Read.", tokens=(read, 2))], window=window) as ollama:
        engine = open_engine(settings={"ollama_host": ollama.url})
        job = engine.submit(tmp_path / "long.yaml", {})
        assert job.result(DEADLINE) == {"said": "Read."}
        (step,) = job.steps()
        told = [event.data for event in job.events(follow=False) if event.type == "model.warning"]
        assert [event["message"] for event in told] == list(step.warnings)
        assert bool(step.warnings) is warns
        if warns:
            assert f"the model's window of {read} tokens" in step.warnings[0]
            assert (told[0]["node"], told[0]["task_id"]) == ("reads", step.task_id)
