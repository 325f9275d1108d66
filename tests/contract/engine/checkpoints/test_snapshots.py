"""Checkpoints read without LangGraph are what LangGraph reads, on both databases."""

from __future__ import annotations

import operator
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from tests.support.graphs import chain, failing
from ucop.agents import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Engine, JobHandle

DEADLINE = 60.0

WORKFLOW = """\
name: both
input: {topic: string}
nodes:
  a: {agent: say, with: {text: "${topic}"}, writes: one}
  b: {agent: say, with: {text: "${topic}"}, writes: two}
  c: {agent: say, with: {text: "${one}"}, writes: three}
  d: {agent: say, with: {text: "${two} ${three}"}, writes: four}
edges:
  - START -> [a, b]
  - a -> c -> d
  - b -> d
  - d -> END
"""


@agent
def say(text: str) -> str:
    return text


class State(TypedDict):
    log: Annotated[list[str], operator.add]
    found: Any


def joined() -> StateGraph[Any]:
    """Two nodes side by side, a join of both, then three runs of one node."""

    async def node(state: State) -> dict[str, Any]:
        return {"log": ["x"]}

    async def odd(state: State) -> dict[str, Any]:
        return {"found": {"id": UUID(int=7), "at": datetime(2026, 1, 2, tzinfo=UTC), "set": {1}}}

    graph = StateGraph(State)
    for name in ("a", "b", "join", "each", "last"):
        graph.add_node(name, odd if name == "b" else node, defer=name == "last")
    graph.add_edge(START, "a")
    graph.add_edge(START, "b")
    graph.add_edge(["a", "b"], "join")
    graph.add_conditional_edges("join", lambda s: [Send("each", s) for _ in range(3)], ["each"])
    graph.add_edge("each", "last")
    graph.add_edge("last", END)
    return graph


def compared(engine: Engine, job: JobHandle) -> None:
    read, known = engine.reader.checkpoints(job.id), job.checkpoints()
    assert [c.id for c in read] == [c.id for c in known]
    for mine, theirs in zip(read, known, strict=True):
        assert sorted(mine.next) == sorted(theirs.next)
        assert sorted(mine.nodes) == sorted(theirs.nodes)
        assert (mine.parent_id, mine.step) == (theirs.parent_id, theirs.step)
        assert mine.created_at == theirs.created_at


def same_values(engine: Engine, job: JobHandle) -> None:
    """But of the first, where LangGraph shows channels that nothing was written into."""
    read = [c.values for c in engine.reader.checkpoints(job.id) if c.parent_id]
    assert read == [c.values for c in job.checkpoints() if c.parent_id]


@pytest.mark.parametrize("times", [0, 9])
def test_of_a_row_of_nodes(engine: Engine, times: int) -> None:
    job = engine.submit(engine.add("row", failing(times, [])), {"log": ["in"]})
    job.wait(DEADLINE)
    compared(engine, job)
    same_values(engine, job)


def test_of_joins_sends_and_deferred_nodes(engine: Engine) -> None:
    job = engine.submit(engine.add("joined", joined()))
    job.result(DEADLINE)
    compared(engine, job)
    assert engine.reader.checkpoints(job.id)[0].values["found"]["id"] == str(UUID(int=7))


def test_of_a_workflow_in_yaml(open_engine: Callable[..., Engine], tmp_path: Path) -> None:
    file = tmp_path / "both.yaml"
    file.write_text(WORKFLOW, encoding="utf-8")
    engine = open_engine(registry=Registry.of(say))
    job = engine.submit(file, {"topic": "tea"})
    job.result(DEADLINE)
    compared(engine, job)
    same_values(engine, job)


def test_of_a_fork_and_of_a_job_that_was_set_back(engine: Engine) -> None:
    job = engine.submit(engine.add("three", chain("a", "b", "c")), {"log": []})
    job.result(DEADLINE)
    at = next(c for c in job.checkpoints() if c.nodes == ("a",))
    fork = job.fork(at.id, replace={"log": ["new"]})
    fork.result(DEADLINE)
    compared(engine, fork)
    same_values(engine, fork)
    assert engine.reader.forks(job.id) == [(fork.id, at.id)]
    broken = engine.submit(engine.add("breaking", failing(9, [])))
    broken.wait(DEADLINE)
    broken.restore(broken.checkpoints()[-2].id)
    compared(engine, broken)
