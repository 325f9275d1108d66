"""A list of jobs tells what each used, as the job itself does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import chain
from tests.support.ollama import ScriptedOllama
from ucop.engine import Engine
from ucop.engine.jobs.job import Usage

DEADLINE = 30.0

INNER = """
name: inner
agents: {asker: {prompt: "Well?"}}
nodes: {asks: {agent: asker, writes: said}, again: {agent: asker, writes: more}}
edges: [START -> asks -> again -> END]
"""

OUTER = """
name: outer
agents: {asker: {prompt: "Well?"}}
nodes: {first: {agent: asker, writes: one}, inside: {workflow: inner, writes: two}}
edges: [START -> first -> inside -> END]
"""


def counts(usage: Usage) -> dict[str, Any]:
    """Without the time of the steps: the database adds up other fractions of a second."""
    return usage.model_dump(exclude={"seconds"})


def test_lists_carry_the_usage_of_each_job(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    (tmp_path / "inner.yaml").write_text(INNER, encoding="utf-8")
    (tmp_path / "outer.yaml").write_text(OUTER, encoding="utf-8")
    with ScriptedOllama() as ollama:
        found = {"ollama_host": ollama.url, "workflows": ("*.yaml",)}
        engine = open_engine(settings=found)
        jobs = [engine.submit(name, {}) for name in ("outer", "inner")]
        jobs.append(engine.submit(chain("a"), {"log": []}))
        for job in jobs:
            job.result(DEADLINE)
        whole: dict[str, Usage] = {job.id: job.get().usage for job in jobs}
        assert [whole[job.id].model_calls for job in jobs] == [3, 2, 0]
        for listed, ids in (
            (engine.jobs(), {job.id for job in jobs}),
            (engine.jobs(limit=1), {jobs[2].id}),
            (engine.jobs(workflow="inner"), {jobs[1].id}),
        ):
            assert {job.id for job in listed} == ids
            for row in listed:
                assert counts(row.usage) == counts(whole[row.id])
                assert row.usage.seconds == pytest.approx(whole[row.id].seconds, abs=1e-4)
