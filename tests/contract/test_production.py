"""In production mode no test double runs, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from support.doubles import by_closure, fake
from support.graphs import Log, chain

from ucop.engine import Engine
from ucop.engine.errors import DoublesRefused

DEADLINE = 20.0
PRODUCTION = {"mode": "production"}


def faked() -> StateGraph[Any]:
    graph = StateGraph(Log)
    ask = by_closure(fake)
    graph.add_node("write", lambda state: {"log": [ask(state).content]})
    graph.add_edge(START, "write")
    return graph


def test_given_production_when_a_workflow_has_a_double_then_nothing_is_written(
    open_engine: Callable[..., Engine],
) -> None:
    engine = open_engine(settings=PRODUCTION)
    with pytest.raises(DoublesRefused, match=r"node 'write' of 'faked'.*FakeListChatModel"):
        engine.submit(engine.add("faked", faked()), {"log": []})
    assert engine.jobs() == []
    assert engine.submit(engine.add("real", chain("a")), {"log": []}).result(DEADLINE)


def test_given_a_job_from_development_then_a_worker_in_production_fails_it(
    open_engine: Callable[..., Engine],
) -> None:
    sender = open_engine(worker=False)
    job = sender.submit(sender.add("faked", faked()), {"log": []})
    worker = open_engine(settings=PRODUCTION)
    worker.add("faked", faked())
    worker.job(job.id).wait(DEADLINE)
    failed = worker.job(job.id).get()
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.type == "DoublesRefused"
    assert "FakeListChatModel" in failed.error.message
    assert failed.steps == ()


def test_given_development_then_doubles_run(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine()
    job = engine.submit(engine.add("faked", faked()), {"log": []})
    assert job.result(DEADLINE) == {"log": ["yes"]}
