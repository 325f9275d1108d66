"""In production mode no test double runs, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from tests.support.doubles import by_closure, fake
from tests.support.graphs import Log, chain
from ucop.agents import Registry, agent
from ucop.agents.text.source import read_yaml
from ucop.engine import Engine
from ucop.engine.errors import DoublesRefused
from ucop.graphs.workflows.yaml_file import workflow_of

DEADLINE = 60.0
PRODUCTION = {"mode": "production"}


LETTER = """\
name: letter
nodes:
  write: {agent: letter_writer, writes: text, cache: 1h}
  send: {agent: letter_writer, writes: sent}
edges: [START -> write -> send -> END]
"""


@agent
def letter_writer() -> dict[str, str]:
    return {"body": "Sincerely, [Your Name]"}


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


def test_given_production_when_an_agent_answers_a_placeholder_then_its_step_fails_with_the_place(
    open_engine: Callable[..., Engine],
) -> None:
    registry = Registry.of(letter_writer)
    letter = workflow_of(read_yaml(LETTER, "letter.yaml"), registry)
    engine = open_engine(settings=PRODUCTION, registry=registry)
    job = engine.submit(letter)
    job.wait(DEADLINE)
    failed = job.get()
    assert failed.error is not None
    assert (failed.error.type, failed.error.node) == ("AgentOutputError", "write")
    assert "body: “[Your Name]” was left to be filled in" in failed.error.message
    assert [step.status for step in failed.steps] == ["failed"]


def test_given_development_when_an_agent_answers_a_placeholder_then_the_job_completes(
    open_engine: Callable[..., Engine],
) -> None:
    registry = Registry.of(letter_writer)
    letter = workflow_of(read_yaml(LETTER, "letter.yaml"), registry)
    engine = open_engine(registry=registry)
    assert engine.submit(letter).result(DEADLINE)


def test_given_an_answer_kept_in_development_then_production_does_not_take_it(
    open_engine: Callable[..., Engine],
) -> None:
    registry = Registry.of(letter_writer)
    letter = workflow_of(read_yaml(LETTER, "letter.yaml"), registry)
    with open_engine(registry=registry) as development:
        development.submit(letter).result(DEADLINE)
    engine = open_engine(settings=PRODUCTION, registry=registry)
    assert engine.submit(letter).wait(DEADLINE) == "failed"
