"""Agents with tools in jobs, on both databases: what was done inside is not done again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import until
from tests.support.ollama import Reply, Request, ScriptedOllama, answer, status, text, tool_call
from ucop.engine import Engine

DEADLINE = 60.0

TOOLS = """
import asyncio
from langgraph.types import interrupt
from langchain.tools import ToolRuntime
from langchain_core.tools import tool
from ucop.agents import AgentContext

def witness(context, what):
    with open(context.folder / "ran.txt", "a") as file:
        file.write(f"{what} {context.key}\\n")

@tool
async def note(word: str, runtime: ToolRuntime[AgentContext]) -> str:
    "Note a word."
    witness(runtime.context, "note")
    return "noted " + word

@tool
async def hold(runtime: ToolRuntime[AgentContext]) -> str:
    "Wait for a file."
    witness(runtime.context, "hold")
    while not (runtime.context.folder / "go.txt").exists():
        await asyncio.sleep(0.02)
    return "held"

@tool
async def consent(runtime: ToolRuntime[AgentContext]) -> str:
    "Ask a person."
    return "they said " + interrupt("May I?")
"""

FLOW = """
name: solve
input: {words: {type: array, items: string}}
agents:
  solver:
    prompt: "Solve ${word}"
    tools: [note, hold]
    input: {word: string}
    output: {said: string}
nodes:
  solve: {agent: solver, each: "${words}", as: word, with: {word: "${word}"}, writes: said}
output: "${said}"
"""


def model(request: Request) -> Reply:
    """Calls both tools, one after the other, says what it saw, and gives it in form."""
    if request.get("format"):
        return answer({"said": "solved"})
    done = [message for message in request["messages"] if message["role"] == "tool"]
    word = request["messages"][0]["content"].rpartition(" ")[2]
    return [tool_call("note", {"word": word}), tool_call("hold", {}), text("Solved it.")][len(done)]


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama(model) as one:
        yield one


@pytest.fixture
def project(tmp_path: Path, ollama: ScriptedOllama) -> dict[str, Any]:
    (tmp_path / "solve.yaml").write_text(FLOW, encoding="utf-8")
    (tmp_path / "job_tools.py").write_text(TOOLS, encoding="utf-8")
    patterns = {"workflows": ["solve.yaml"], "agents": ["job_tools.py"]}
    return {**patterns, "ollama_host": ollama.url, "embedded": False}


def ran(folder: Path) -> list[list[str]]:
    file = folder / "ran.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def test_given_a_worker_that_stops_inside_a_tool_then_finished_tools_are_not_called_again(
    open_engine: Callable[..., Engine],
    project: dict[str, Any],
    ollama: ScriptedOllama,
    tmp_path: Path,
) -> None:
    with open_engine(settings=project) as first:
        job = first.submit("solve", {"words": ["one", "two"]})
        until(lambda: [what for what, _ in ran(tmp_path)].count("hold") == 2, "both hold")
        first.close(grace=0)
    assert ollama.calls == 4
    (tmp_path / "go.txt").touch()
    with open_engine(settings=project) as second:
        found = second.job(job.id)
        assert found.result(DEADLINE) == [{"said": "solved"}, {"said": "solved"}]
        assert found.get().attempt == 2
        (step,) = found.steps()[-1:]
    assert ollama.calls == 8
    calls = ran(tmp_path)
    notes = [key for what, key in calls if what == "note"]
    holds = [key for what, key in calls if what == "hold"]
    assert (len(notes), len(set(notes))) == (2, 2)
    # What was not done is called again, under the key that it had.
    assert (len(holds), len(set(holds))) == (4, 2)
    assert all(key.startswith(job.id) for key in (*notes, *holds))
    assert step.node == "solve"


def test_given_a_used_up_budget_inside_then_the_job_goes_on_behind_the_tool(
    open_engine: Callable[..., Engine],
    project: dict[str, Any],
    ollama: ScriptedOllama,
    tmp_path: Path,
) -> None:
    (tmp_path / "go.txt").touch()
    engine = open_engine(settings=project)
    job = engine.submit("solve", {"words": ["one"]}, budget={"model_calls": 2})
    assert job.wait(DEADLINE) == "paused"
    assert ollama.calls == 2
    job.resume(budget={"model_calls": 4})
    assert job.result(DEADLINE) == [{"said": "solved"}]
    assert ollama.calls == 4
    assert sorted(what for what, _ in ran(tmp_path)) == ["hold", "note"]
    assert job.get().usage.model_calls == 4


def test_given_a_worker_without_the_tool_then_the_job_waits_for_one_that_has_it(
    open_engine: Callable[..., Engine], project: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "go.txt").touch()
    sender = open_engine(settings=project, worker=False)
    job = sender.submit("solve", {"words": ["one"]})
    (tmp_path / "plain.yaml").write_text(
        "name: plain\nnodes: {a: {agent: assembler, with: {title: T, sections: []}, writes: n}}\n"
    )
    less = {**project, "agents": [], "workflows": ["plain.yaml"]}
    with open_engine(settings=less) as without:
        without.submit("plain").wait(DEADLINE)
        assert without.job(job.id).status == "pending"
    with open_engine(settings=project) as complete:
        assert complete.job(job.id).result(DEADLINE) == [{"said": "solved"}]


ASKING = """
name: asking
agents: {solver: {prompt: Solve, tools: [note, consent]}}
nodes:
  solve: {agent: solver, retry: {attempts: 3, delay: 10ms}, writes: said}
output: "${said}"
"""


def test_given_a_tool_that_asks_a_person_then_the_job_waits_and_goes_on_inside(
    open_engine: Callable[..., Engine], project: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "asking.yaml").write_text(ASKING, encoding="utf-8")
    asking = [tool_call("note", {"word": "x"}), tool_call("consent", {})]
    with ScriptedOllama([*asking, text("Done.")]) as ollama:
        there = {"workflows": ["asking.yaml"], "ollama_host": ollama.url}
        engine = open_engine(settings={**project, **there})
        job = engine.submit("asking")
        assert job.wait(DEADLINE) == "waiting"
        assert [question.question for question in job.questions()] == ["May I?"]
        job.answer("yes")
        assert job.result(DEADLINE) == "Done."
        assert ollama.calls == 3
        assert ollama.requests[-1]["messages"][-1]["content"] == "they said yes"
    assert len(ran(tmp_path)) == 1


def test_given_a_model_that_fails_then_a_retry_goes_on_behind_the_tool(
    open_engine: Callable[..., Engine], project: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "asking.yaml").write_text(ASKING, encoding="utf-8")
    replies = [tool_call("note", {"word": "x"}), status(400), text("Done.")]
    with ScriptedOllama(replies) as ollama:
        there = {"workflows": ["asking.yaml"], "ollama_host": ollama.url}
        engine = open_engine(settings={**project, **there})
        job = engine.submit("asking")
        assert job.result(DEADLINE) == "Done."
        assert ollama.calls == 3
        assert [len(request["messages"]) for request in ollama.requests] == [1, 3, 3]
        assert [step.tries for step in job.steps()] == [2]
    assert len(ran(tmp_path)) == 1


def test_given_an_answer_that_never_fits_then_a_person_may_retry_without_the_tools(
    open_engine: Callable[..., Engine], project: dict[str, Any], tmp_path: Path
) -> None:
    flow = ASKING.replace("[note, consent]", "[note], repairs: 0, output: integer")
    (tmp_path / "asking.yaml").write_text(flow.replace(", retry: {attempts: 3, delay: 10ms}", ""))
    replies = [tool_call("note", {"word": "x"}), text("well"), answer("no"), answer(7)]
    with ScriptedOllama(replies) as ollama:
        there = {"workflows": ["asking.yaml"], "ollama_host": ollama.url}
        engine = open_engine(settings={**project, **there})
        job = engine.submit("asking")
        assert job.wait(DEADLINE) == "failed"
        job.retry()
        assert job.result(DEADLINE) == 7
    assert len(ran(tmp_path)) == 1
