"""Agents of YAML workflows that exit, or give what nothing stores: their node fails, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ucop.engine import Engine, JobFailed

DEADLINE = 60.0

AGENTS = '''\
import sys
from typing import Any

from ucop.agents import agent


@agent
def exits(word: str) -> str:
    """Exit at one word."""
    with open("{ran}", "a") as file:
        file.write(word + "\\n")
    if word == "bad":
        sys.exit(3)
    return word


@agent
async def half(word: str) -> Any:
    """Give half of a character."""
    return "a\\ud800"
'''

FLOW = """\
name: flow
input: {words: {type: array}}
nodes:
  acts: {agent: exits, each: "${words}", as: word, with: {word: "${word}"}, limit: 1, writes: said%s}
output: "${said}"
"""

HALF = """\
name: flow
nodes:
  acts: {agent: half, with: {word: a}, writes: said}
"""


@pytest.fixture
def project(open_engine: Callable[..., Engine], tmp_path: Path) -> Engine:
    (tmp_path / "agents.py").write_text(AGENTS.replace("{ran}", str(tmp_path / "ran.txt")))
    return open_engine(settings={"agents": ["agents.py"]})


def flow(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "flow.yaml"
    file.write_text(text)
    return file


def test_an_agent_that_exits_fails_its_item_and_says_which(project: Engine, tmp_path: Path) -> None:
    job = project.submit(flow(tmp_path, FLOW % ""), {"words": ["good", "bad"]})
    with pytest.raises(JobFailed) as failed:
        job.result(DEADLINE)
    error = failed.value.error
    assert error is not None
    assert (error.type, error.node) == ("SystemExit", "acts")
    assert error.item is not None
    assert (error.item.key, error.item.value) == (1, "bad")
    assert error.frames[-1].file == str(tmp_path / "agents.py")
    assert (tmp_path / "ran.txt").read_text().split() == ["good", "bad"]


def test_an_agent_that_exits_may_be_caught(project: Engine, tmp_path: Path) -> None:
    caught = FLOW % ", on_error: continue"
    job = project.submit(flow(tmp_path, caught), {"words": ["good", "bad"]})
    assert job.result(DEADLINE) == ["good", None]


def test_an_agent_that_gives_what_nothing_stores_fails_its_node(
    project: Engine, tmp_path: Path
) -> None:
    job = project.submit(flow(tmp_path, HALF))
    with pytest.raises(JobFailed, match="acts") as failed:
        job.result(DEADLINE)
    assert failed.value.node == "acts"
    assert job.get().attempt == 1
