"""What cannot be accepted is refused before anything is written, with the line that says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Ucop
from tests.support.graphs import chain
from tests.support.ollama import ScriptedOllama
from ucop.engine import Engine, UcopError
from ucop.engine.errors import InvalidDefinition, InvalidInput, UnknownWorkflow

FLOW = """\
name: flow
input:
  text: {type: string, minLength: 2}
  times: {type: integer, default: 1}
  tags: {type: array, items: string, default: []}
agents:
  asker:
    input: {text: string, times: {type: integer, default: 1}}
    prompt: "${text}"
    output: {reply: string}
nodes:
  asks: {agent: asker, with: {text: "${text}", times: "${times}"}, writes: a}
  tells: {agent: asker, with: {text: "tags ${tags}"}, writes: b}
"""

DEFINITIONS = {
    "an agent that does not exist": ("agent: asker, with", "agent: asked, with", 12, "'asked'"),
    "an input that the agent does not have": ("with: {text: ", "with: {txet: ", 12, "'txet'"),
    "an input that the agent misses": ('text: "${text}", ', "", 12, "'text'"),
    "an input of another type": ('times: "${times}"', "times: many", 12, "times"),
    "a name that nobody writes": ("${tags}", "${tagz}", 13, "tagz"),
    "no YAML": ("input:\n", "input: {\n", 4, ""),
    "the same key twice": ("nodes:\n", "name: twice\nnodes:\n", 11, "name"),
}
"""What is changed in the flow, in which line, and what the message names."""

INPUTS: dict[str, tuple[Any, str]] = {
    "a missing input": ({}, "'text' is missing (declared in {file}:3:3)"),
    "a short input": ({"text": "x"}, "(declared in {file}:3:3)"),
    "a wrong type": ({"text": "ok", "times": "many"}, 'not "many" (declared in {file}:4:3)'),
    "a wrong item": ({"text": "ok", "tags": ["a", 1]}, "tags[1]: must be text"),
    "an unknown input": ({"text": "ok", "txet": 1}, "did you mean 'text'?"),
    "a name that is no text": ({"text": "ok", 5: 1}, "every name is a text"),
    "a number that is none": ({"text": "ok", "times": float("nan")}, "times: must be"),
    "a number without bounds": ({"text": "ok", "times": 10**30}, "64 bits"),
    "half a character": ({"text": "a\ud800b"}, "not valid Unicode"),
    "an object of Python": ({"text": object()}, "text: must be text"),
}

NO_MAPPINGS: dict[str, Any] = {"no mapping": ["text"], "a text": "text", "a number": 5}

BESIDE: dict[str, dict[str, Any]] = {
    "labels": {"labels": {"a": 1}},
    "no labels": {"labels": ["a"]},
    "a priority": {"priority": "high"},
    "a huge priority": {"priority": 10**30},
    "a budget": {"budget": {"tokens": "many"}},
}


@pytest.fixture
def idle(open_engine: Callable[..., Engine]) -> Engine:
    return open_engine(worker=False)


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW)
    return file


def rows(engine: Engine) -> int:
    """How many rows the ledger holds of jobs, however little of one."""
    with sqlite3.connect(engine.settings.url.removeprefix("sqlite:///")) as connection:
        tables = ("jobs", "attempts", "events", "steps", "definitions", "checkpoints", "writes")
        counts = [connection.execute(f"select count(*) from {t}").fetchone()[0] for t in tables]
    connection.close()
    return sum(counts)


def refusal(engine: Engine, workflow: Any, given: Any, **beside: Any) -> UcopError:
    with pytest.raises(UcopError) as caught:
        engine.submit(workflow, given, **beside)
    assert rows(engine) == 0
    assert engine.jobs() == []
    return caught.value


# ---------------------------------------------------------------- by Engine.submit


@pytest.mark.parametrize("what", DEFINITIONS)
def test_a_definition_is_refused_with_its_line(idle: Engine, flow: Path, what: str) -> None:
    old, new, line, named = DEFINITIONS[what]
    assert old in FLOW
    flow.write_text(FLOW.replace(old, new, 1))
    error = refusal(idle, flow, {"text": "ok"})
    assert isinstance(error, InvalidDefinition)
    position = error.findings[0].position
    assert position is not None
    assert (Path(position.file).name, position.line) == ("flow.yaml", line)
    assert named in str(error)
    assert f"flow.yaml:{line}:" in str(error)


@pytest.mark.parametrize("what", INPUTS)
def test_an_input_is_refused_with_the_line_of_its_declaration(
    idle: Engine, flow: Path, what: str
) -> None:
    given, says = INPUTS[what]
    error = refusal(idle, flow, given)
    assert isinstance(error, InvalidInput)
    assert says.format(file=flow) in str(error) or says.format(file="flow.yaml") in str(error)


@pytest.mark.parametrize("what", NO_MAPPINGS)
def test_an_input_that_is_no_mapping_is_refused(idle: Engine, flow: Path, what: str) -> None:
    assert isinstance(refusal(idle, flow, NO_MAPPINGS[what]), InvalidInput)


@pytest.mark.parametrize("what", BESIDE)
def test_what_is_said_beside_the_input_is_refused_where_it_does_not_fit(
    idle: Engine, flow: Path, what: str
) -> None:
    refusal(idle, flow, {"text": "ok"}, **BESIDE[what])


async def test_asubmit_refuses_the_same(idle: Engine, flow: Path) -> None:
    with pytest.raises(InvalidInput, match="declared in"):
        await idle.asubmit(flow, {})
    flow.write_text(FLOW.replace("agent: asker, with", "agent: asked, with"))
    with pytest.raises(InvalidDefinition, match="asked"):
        await idle.asubmit(flow, {"text": "ok"})
    assert rows(idle) == 0


def test_a_workflow_that_is_not_there_is_refused(idle: Engine, tmp_path: Path) -> None:
    assert isinstance(refusal(idle, "blgo", {}), UnknownWorkflow)
    assert isinstance(refusal(idle, tmp_path / "none.yaml", {}), UnknownWorkflow)
    assert isinstance(refusal(idle, lambda: 5, {}), InvalidDefinition)


def test_an_input_of_a_python_graph_that_cannot_be_kept_is_refused(idle: Engine) -> None:
    graph = idle.add("graph", chain("a"))
    beyond = ({"log": [2**64]}, {"log": [float("inf")]}, {"log": [object()]}, {"log": [len]})
    for given in beyond:
        assert "log" in str(refusal(idle, graph, given))


def test_an_input_of_a_python_graph_need_not_be_json(idle: Engine) -> None:
    graph = idle.add("graph", chain("a"))
    for given in ({"log": [datetime(2026, 5, 1, tzinfo=UTC)]}, {"log": [(1, 2)]}):
        assert idle.submit(graph, given).status == "pending"


def test_the_key_of_a_refused_job_stays_free(
    engine: Engine, flow: Path, ollama: ScriptedOllama
) -> None:
    refusal(engine, flow, {}, key="k")
    job = engine.submit(flow, {"text": "ok"}, key="k")
    assert job.result(60)["a"]["reply"]


def test_the_callers_input_is_left_as_it_was_and_defaults_are_filled(
    idle: Engine, flow: Path
) -> None:
    given: dict[str, Any] = {"text": "ok"}
    job = idle.submit(flow, given)
    assert given == {"text": "ok"}
    assert job.get().input == {"text": "ok", "times": 1, "tags": []}


# ---------------------------------------------------------------- by `ucop run`


@pytest.fixture
def ucop(tmp_path: Path) -> Ucop:
    return Ucop(tmp_path)


@pytest.mark.parametrize(
    ("changed", "typed", "says"),
    [
        (("agent: asker, with", "agent: asked, with"), ["text=ok"], "flow.yaml:12:"),
        (('times: "${times}"', "times: many"), ["text=ok"], "flow.yaml:12:"),
        (("", ""), [], "flow.yaml:3:3"),
        (("", ""), ["text=x", "times=many"], "flow.yaml:4:3"),
        (("", ""), ["text=ok", "txet=1"], "did you mean 'text'?"),
    ],
    ids=["no such agent", "an agent's input", "missing", "two that do not fit", "unknown"],
)
def test_ucop_run_refuses_without_a_trace(
    ucop: Ucop, flow: Path, changed: tuple[str, str], typed: list[str], says: str
) -> None:
    flow.write_text(FLOW.replace(*changed, 1))
    done = ucop("run", "flow.yaml", *(word for pair in typed for word in ("-i", pair)))
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert [file.name for file in ucop.folder.iterdir()] == ["flow.yaml"]
