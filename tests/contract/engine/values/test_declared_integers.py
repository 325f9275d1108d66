"""A declared `integer` that is given `1000.0` or `1e3` is 1000, wherever a value comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.support.ollama import Reply, Request, ScriptedOllama, text, tool_call
from ucop.agents import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Engine

DEADLINE = 30.0
Open = Callable[..., Engine]

FLOW = """
name: count
input: {n: integer}
state:
  first: {type: integer, default: 4e0}
  asked: {type: array, items: integer, merge: append}
agents:
  counter: {prompt: "Count ${n}.", input: {n: integer}, output: {n: integer}}
nodes:
  counts: {agent: counter, with: {n: "${double(n)}"}, writes: counted}
  asks: {ask: "How many?", answer: integer, writes: asked}
edges: [START -> counts -> asks -> END]
output: {n: "${n}", first: "${first}", counted: "${counted.n}", asked: "${asked}"}
"""


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama([text('{"n": 2e3}')]) as one:
        yield one


@pytest.fixture
def engine(tmp_path: Path, open_engine: Open, ollama: ScriptedOllama) -> Engine:
    (tmp_path / "count.yaml").write_text(FLOW, encoding="utf-8")
    return open_engine(settings={"ollama_host": ollama.url})


def test_input_answers_of_models_and_people_expressions_defaults_and_edits(
    engine: Engine, ollama: ScriptedOllama, tmp_path: Path
) -> None:
    job = engine.submit(tmp_path / "count.yaml", {"n": 1e3})
    assert job.wait(DEADLINE) == "waiting"
    assert json.dumps(job.get().input) == '{"n": 1000}'
    assert ollama.requests[0]["messages"][-1]["content"] == "Count 1000."

    job.answer(5.0)
    wanted = {"n": 1000, "first": 4, "counted": 2000, "asked": [5]}
    assert json.dumps(job.result(DEADLINE)) == json.dumps(wanted)

    fork = job.fork(replace={"first": 7e0, "asked": [6.0]})
    assert json.dumps(fork.result(DEADLINE)) == json.dumps({**wanted, "first": 7, "asked": [6]})


class Numbers(TypedDict):
    n: int
    x: float
    said: str


def asks(state: Numbers) -> dict[str, str]:
    answer = interrupt("How many?", response_schema={"type": "integer"})
    return {"said": f"{state['n']} {state['x']} {answer}"}


def test_the_input_and_the_answer_of_a_python_graph(open_engine: Open) -> None:
    graph = StateGraph(Numbers)
    graph.add_node("asks", asks)
    graph.add_edge(START, "asks")
    graph.add_edge("asks", END)
    engine = open_engine()
    job = engine.submit(graph, {"n": 1e3, "x": 2.0})
    assert job.wait(DEADLINE) == "waiting"
    job.answer(5.0)
    assert job.result(DEADLINE)["said"] == "1000 2.0 5"


TOOLING = """
name: tooled
agents:
  asker: {prompt: "Ask.", tools: [teller]}
nodes: {asks: {agent: asker, writes: told}}
edges: [START -> asks -> END]
output: {told: "${told}"}
"""


@agent
def teller(n: int) -> str:
    """Tell a number."""
    return f"told {n}"


def call_once(request: Request) -> Reply:
    done = [message for message in request["messages"] if message["role"] == "tool"]
    return text(done[0]["content"]) if done else tool_call("teller", {"n": 3.0})


def test_the_arguments_of_a_tool(open_engine: Open, tmp_path: Path) -> None:
    (tmp_path / "tooled.yaml").write_text(TOOLING, encoding="utf-8")
    with ScriptedOllama(call_once) as ollama:
        engine = open_engine(settings={"ollama_host": ollama.url}, registry=Registry.of(teller))
        job = engine.submit(tmp_path / "tooled.yaml", {})
        assert job.result(DEADLINE) == {"told": "told 3"}
