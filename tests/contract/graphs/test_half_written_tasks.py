"""A task that is stopped between its own writes and its conditional edges is run again whole."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph

from tests.support.graphs import Log, Node
from ucop.engine import Engine, JobFailed

DEADLINE = 60


def forked(route: Callable[[Log], Any]) -> StateGraph[Any]:
    """`fork` leads to `always` by an edge, and to `chosen` by a conditional one."""

    def node(name: str) -> Node:
        async def add(state: Log) -> dict[str, Any]:
            return {"log": [name]}

        return add

    graph = StateGraph(Log)
    for name in ("fork", "always", "chosen"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "fork")
    graph.add_edge("fork", "always")
    graph.add_conditional_edges("fork", route, ["chosen"])
    graph.add_edge("always", END)
    graph.add_edge("chosen", END)
    return graph


def test_a_job_whose_conditional_edge_failed_goes_on_with_all_its_edges(
    open_engine: Callable[..., Engine],
) -> None:
    broken = [True]

    def route(state: Log) -> str:
        if broken:
            raise ValueError("no way")
        return "chosen"

    engine = open_engine()
    job = engine.submit(engine.add("forked", forked(route)), {"log": []})
    with pytest.raises(JobFailed, match="no way"):
        job.result(DEADLINE)

    broken.clear()
    job.resume()

    assert sorted(job.result(DEADLINE)["log"]) == ["always", "chosen", "fork"]
    done = [step.node for step in job.steps() if step.status == "completed"]
    assert sorted(done) == ["always", "chosen", "fork"]


def test_a_job_drained_in_a_conditional_edge_goes_on_with_all_its_edges(
    open_engine: Callable[..., Engine],
) -> None:
    entered: list[int] = []

    async def route(state: Log) -> str:
        entered.append(len(entered))
        if len(entered) == 1:
            await asyncio.sleep(DEADLINE)
        return "chosen"

    engine = open_engine()
    job = engine.submit(engine.add("forked", forked(route)), {"log": []})
    _until(lambda: bool(entered))
    engine.close(grace=0)

    again = open_engine()
    again.add("forked", forked(route))
    output = again.job(job.id).result(DEADLINE)

    assert sorted(output["log"]) == ["always", "chosen", "fork"]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
