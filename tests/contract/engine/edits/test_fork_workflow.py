"""A changed definition is tried from the middle of a job, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from tests.support.graphs import Log, chain
from tests.support.ollama import Request, ScriptedOllama, text
from tests.support.waiting import DEADLINE
from ucop.engine import Engine, InvalidInput, JobHandle
from ucop.engine.errors import WorkflowChanged

Open = Callable[..., Engine]

FLOW = """
name: tale
input: {topic: string}
agents:
  writer: {prompt: "Write of ${topic}.", input: {topic: string}}
  critic: {prompt: "Praise: ${tale}", input: {tale: string}}
nodes:
  write: {agent: writer, with: {topic: "${topic}"}, writes: tale}
  judge: {agent: critic, with: {tale: "${tale}"}, writes: verdict}
edges: [START -> write -> judge -> END]
output: {tale: "${tale}", verdict: "${verdict}"}
"""


def echo(request: Request) -> Any:
    return text(request["messages"][-1]["content"].upper())


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama(echo) as one:
        yield one


@pytest.fixture
def engine(open_engine: Open, ollama: ScriptedOllama) -> Engine:
    return open_engine(settings={"ollama_host": ollama.url})


def written(folder: Path, text: str, name: str = "tale.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def after_write(job: JobHandle) -> str:
    return next(
        c.id for c in job.checkpoints() if c.nodes == ("write",) or list(c.nodes) == ["write"]
    )


def test_a_changed_prompt_runs_from_the_checkpoint_on(
    engine: Engine, ollama: ScriptedOllama, tmp_path: Path
) -> None:
    job = engine.submit(written(tmp_path, FLOW), {"topic": "rain"})
    assert job.result(DEADLINE) == {"tale": "WRITE OF RAIN.", "verdict": "PRAISE: WRITE OF RAIN."}
    changed = written(tmp_path, FLOW.replace("Praise", "Scold"))
    fork = job.fork(after_write(job), workflow=changed)
    assert fork.result(DEADLINE)["verdict"] == "SCOLD: WRITE OF RAIN."
    assert ollama.calls == 3
    again = fork.fork(after_write(fork))
    assert again.result(DEADLINE)["verdict"] == "SCOLD: WRITE OF RAIN."
    edited = job.fork(after_write(job), replace={"tale": "sun"}, workflow=changed)
    assert edited.result(DEADLINE)["verdict"] == "SCOLD: SUN"
    assert job.get().output == {"tale": "WRITE OF RAIN.", "verdict": "PRAISE: WRITE OF RAIN."}


def test_a_changed_graph_may_have_more_nodes_names_and_inputs(
    engine: Engine, tmp_path: Path
) -> None:
    job = engine.submit(written(tmp_path, FLOW), {"topic": "rain"})
    job.result(DEADLINE)
    more = (
        FLOW.replace(
            "input: {topic: string}", "input: {topic: string, mood: {type: string, default: sad}}"
        )
        .replace(
            "edges: [START -> write -> judge -> END]",
            "edges: [START -> write -> judge -> last -> END]",
        )
        .replace(
            "nodes:",
            'nodes:\n  last: {agent: critic, with: {tale: "${default(extra, verdict)}"}, writes: extra}',
        )
        .replace('verdict: "${verdict}"', 'verdict: "${extra}"')
    )
    fork = job.fork(after_write(job), workflow=written(tmp_path, more, "more.yaml"))
    assert fork.result(DEADLINE)["verdict"] == "PRAISE: PRAISE: WRITE OF RAIN."
    assert fork.get().input == {"topic": "rain", "mood": "sad"}


def test_what_is_due_must_be_there(engine: Engine, tmp_path: Path) -> None:
    job = engine.submit(written(tmp_path, FLOW), {"topic": "rain"})
    job.result(DEADLINE)
    renamed = FLOW.replace("judge:", "judged:").replace("judge ->", "judged ->")
    with pytest.raises(
        WorkflowChanged, match=r"no node 'judge' any more \(renamed to 'judged'\?\)"
    ):
        job.fork(after_write(job), workflow=written(tmp_path, renamed, "renamed.yaml"))
    needs = FLOW.replace("input: {topic: string}", "input: {topic: string, mood: string}", 1)
    with pytest.raises(InvalidInput, match="'mood' is missing"):
        job.fork(after_write(job), workflow=written(tmp_path, needs, "needs.yaml"))
    assert len(engine.jobs()) == 1


def test_a_graph_of_python(engine: Engine) -> None:
    engine.add("old", chain("a", "b"))
    job = engine.submit("old", {"log": []})
    assert job.result(DEADLINE) == {"log": ["a", "b"]}
    at = next(c.id for c in job.checkpoints() if list(c.nodes) == ["a"])
    engine.add("longer", chain("a", "b", "c"))
    assert job.fork(at, workflow="longer").result(DEADLINE) == {"log": ["a", "b", "c"]}
    engine.add("other", chain("a", "x"))
    with pytest.raises(WorkflowChanged, match="no node 'b' any more"):
        job.fork(at, workflow="other")


class Before(TypedDict):
    user: str


class After(TypedDict):
    user: str
    since: int


def told(schema: Any) -> Any:
    def tell(state: Any, runtime: Runtime[Any]) -> dict[str, list[str]]:
        return {"log": [repr(runtime.context)]}

    graph = StateGraph(Log, context_schema=schema)
    graph.add_node("first", lambda state: {"log": ["first"]}).add_edge(START, "first")
    graph.add_node("tell", tell).add_edge("first", "tell")
    return graph


def test_the_context_of_a_fork_is_what_its_own_workflow_takes(engine: Engine) -> None:
    job = engine.submit(engine.add("before", told(Before)), {}, context={"user": "ann"})
    job.result(DEADLINE)
    at = next(c.id for c in job.checkpoints() if c.next == ("tell",))
    after = engine.add("after", told(After))
    fork = job.fork(at, workflow=after, context={"since": 3})
    assert fork.result(DEADLINE)["log"] == ["first", "{'user': 'ann', 'since': 3}"]
    with pytest.raises(InvalidInput, match="since"):
        job.fork(at, workflow=after)
    with pytest.raises(InvalidInput, match="has no 'sinse'"):
        job.fork(at, workflow=after, context={"sinse": 3})
