"""Nodes with `cache`: what was asked before is not asked again, by later jobs and processes either."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Running
from tests.support.ollama import Reply, Request, ScriptedOllama, status, text
from tests.support.process import plain_environment
from tests.support.waiting import DEADLINE
from ucop.engine import Engine, JobHandle
from ucop.engine.database.database import Database
from ucop.engine.jobs.status import JobStatus
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.stores.answers import Answers, prune

FLOW = """
name: flow
input: {words: {type: array, items: string}, tone: {type: string, default: plain}}
nodes:
  one: {agent: asker, with: {text: "${tone}"}, writes: one, cache: 1h}
  many:
    {agent: asker, each: "${words}", with: {text: "${item}"}, writes: all, cache: {ttl: 1h}}
  last: {agent: asker, with: {text: "last"}, writes: last}
edges: [START -> one -> many -> last -> END]
output: {one: "${one}", all: "${all}"}
agents:
  asker: {prompt: "Say ${text}", input: {text: string}}
"""


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    def echo(request: Request) -> Reply:
        return text(str(request["messages"][-1]["content"]).removeprefix("Say ").upper())

    with ScriptedOllama(echo) as endpoint:
        yield endpoint


@pytest.fixture
def run(
    open_engine: Callable[..., Engine], ollama: ScriptedOllama, tmp_path: Path
) -> Callable[..., JobHandle]:
    """Runs `FLOW`, or another workflow, to its end."""
    engine = open_engine(settings={"ollama_host": ollama.url, "embedded": False})
    numbers = count()

    def ran(*words: str, flow: str = FLOW, **data: Any) -> JobHandle:
        file = tmp_path / f"flow{next(numbers)}.yaml"
        file.write_text(flow, encoding="utf-8")
        job = engine.submit(file, {"words": list(words), **data})
        assert job.wait(DEADLINE) == JobStatus.COMPLETED, job.get().error
        return job

    return ran


def told(job: JobHandle) -> list[tuple[str, int, int]]:
    """Of each step: its node, the calls it made, and those that the cache answered."""
    return [(step.node, step.model_calls, step.cached) for step in job.steps()]


def asked(ollama: ScriptedOllama) -> list[str]:
    said = [str(request["messages"][-1]["content"]) for request in ollama.requests]
    return sorted(word.removeprefix("Say ") for word in said)


def test_a_second_job_asks_only_what_is_not_cached(
    run: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    first = run("a", "b", "c")
    assert told(first) == [("one", 1, 0), ("many", 3, 0), ("last", 1, 0)]
    second = run("a", "b", "c")
    assert asked(ollama) == ["a", "b", "c", "last", "last", "plain"]
    assert second.result() == first.result() == {"one": "PLAIN", "all": ["A", "B", "C"]}
    assert told(second) == [("one", 0, 1), ("many", 0, 3), ("last", 1, 0)]
    ends = [event.data for event in second.events() if event.type == "step.completed"]
    assert [end.get("cached") for end in ends] == [1, 3, None]


def test_of_an_each_only_the_items_that_changed_are_asked(
    run: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    run("a", "b", "c")
    again = run("c", "a", "x")
    assert again.result()["all"] == ["C", "A", "X"]
    assert told(again)[1] == ("many", 1, 2)
    assert asked(ollama).count("x") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Say ${text}", "Say  ${text}"),
        ('prompt: "', 'system: "Be kind.", prompt: "'),
        ('prompt: "', 'options: {seed: 3}, prompt: "'),
        ('prompt: "', 'model: "ollama:llama3.2:latest", prompt: "'),
    ],
)
def test_another_agent_is_asked_anew(
    run: Callable[..., JobHandle], ollama: ScriptedOllama, old: str, new: str
) -> None:
    run("a")
    assert told(run("a", flow=FLOW.replace(old, new)))[:2] == [("one", 1, 0), ("many", 1, 0)]


def test_an_agent_of_another_name_and_node_shares_what_it_would_answer(
    run: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    run("a")
    renamed = FLOW.replace("  one:", "  other:").replace("-> one", "-> other")
    assert told(run("a", flow=renamed))[0] == ("other", 0, 1)


def test_answers_outlive_the_process(
    ollama: ScriptedOllama, url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW, encoding="utf-8")
    (tmp_path / "once.py").write_text(
        "import sys\n"
        "from ucop.engine import Engine, Settings\n"
        "folder, url, host = sys.argv[1:]\n"
        "settings = Settings.load(folder, database=url, ollama_host=host, embedded=False)\n"
        "with Engine(settings=settings) as engine:\n"
        "    engine.submit(folder + '/flow.yaml', {'words': ['a']}).result(30)\n"
    )
    args = (str(tmp_path), url, ollama.url)
    assert Running(args, tmp_path, plain_environment(), module="once").end().code == 0
    assert ollama.calls == 3
    run = request.getfixturevalue("run")
    assert told(run("a")) == [("one", 0, 1), ("many", 0, 1), ("last", 1, 0)]


def test_an_answer_whose_time_is_over_is_asked_again(
    run: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    brief = FLOW.replace("cache: 1h", "cache: 500ms")
    run("a", flow=brief)
    time.sleep(0.6)
    assert told(run("a", flow=brief)) == [("one", 1, 0), ("many", 0, 1), ("last", 1, 0)]


def test_errors_are_not_kept(
    open_engine: Callable[..., Engine], tmp_path: Path, ollama: ScriptedOllama
) -> None:
    flow = """
name: flow
nodes:
  a: {agent: asker, writes: x, cache: 1h, on_error: continue}
agents:
  asker: {prompt: "Well?"}
output: "${x}"
"""
    (tmp_path / "flow.yaml").write_text(flow, encoding="utf-8")
    results = []
    with ScriptedOllama([status(400), text("yes")]) as endpoint:
        engine = open_engine(settings={"ollama_host": endpoint.url, "embedded": False})
        for _ in range(3):
            job = engine.submit(tmp_path / "flow.yaml")
            results.append((job.result(DEADLINE), endpoint.calls))
    assert results == [(None, 1), ("yes", 2), ("yes", 2)]


def test_a_node_inside_a_workflow_is_cached_too(
    open_engine: Callable[..., Engine], tmp_path: Path, ollama: ScriptedOllama
) -> None:
    (tmp_path / "inner.yaml").write_text(FLOW.replace("name: flow", "name: inner"))
    (tmp_path / "outer.yaml").write_text(
        "name: outer\nnodes:\n  sub: {workflow: inner, with: {words: [a]}, writes: x}\n"
    )
    settings = {"ollama_host": ollama.url, "embedded": False, "workflows": ["*.yaml"]}
    engine = open_engine(settings=settings)
    engine.submit("outer").result(DEADLINE)
    again = engine.submit("outer")
    assert again.result(DEADLINE) == {"x": {"one": "PLAIN", "all": ["A"]}}
    assert {step.node: step.cached for step in again.steps()} == {
        "sub": 0,
        "sub/one": 1,
        "sub/many": 1,
        "sub/last": 0,
    }
    assert asked(ollama) == ["a", "last", "last", "plain"]


def test_many_cached_items_cost_little_and_are_saved_once(
    run: Callable[..., JobHandle], ollama: ScriptedOllama
) -> None:
    words = [f"w{number % 100}" for number in range(300)]
    run(*words[:100])
    calls, began = ollama.calls, time.process_time()
    again = run(*words)
    assert again.result()["all"] == [word.upper() for word in words]
    assert told(again)[1] == ("many", 0, 300)
    assert ollama.calls == calls + 1
    assert time.process_time() - began < 20


async def test_answers_whose_time_is_over_are_deleted(database: Database) -> None:
    answers = Answers(database)
    await answers.keep("long", '{"n": [1, 2.5, null]}', 60)
    await answers.keep("short", "x", 0.01)
    await answers.keep("null", "null", 60)
    time.sleep(0.02)
    assert await answers.find("short") is None
    assert await answers.find("null") == "null"
    await database.write(prune)
    await answers.keep("long", '{"n": 2}', 60)
    assert await answers.find("long") == '{"n": 2}'
    assert await database.read(kept_keys) == ["long", "null"], "short is not there, late or not"


def kept_keys() -> Operation[list[str]]:
    rows = yield One("select key from node_cache order by key", {})
    return [row["key"] for row in rows]
