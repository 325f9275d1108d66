"""Interceptors: code of others around nodes, agents and models, on real jobs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.errors import GraphDrained, GraphInterrupt

from tests.support.graphs import chain
from tests.support.ollama import Reply, Request, ScriptedOllama, text
from ucop.agents import AgentRun, Interceptor, ModelRun, NodeRun
from ucop.engine import Engine, InvalidInput, JobHandle, Settings

DEADLINE = 60.0

FLOW = """
name: flow
input: {word: string}
nodes:
  first: {agent: asker, with: {text: "${word}"}, writes: one}
  ask: {ask: "Go on?", writes: answer}
  last: {agent: asker, with: {text: "last"}, writes: two}
edges: [START -> first -> ask -> last -> END]
output: {one: "${one}", two: "${two}"}
agents:
  asker: {prompt: "Say ${text}", input: {text: string}}
"""


class Trace(Interceptor):
    """What a tracer would keep: starts, ends, errors, and tokens."""

    def __init__(self) -> None:
        self.spans: list[tuple[Any, ...]] = []
        self.names: set[tuple[str, str, int]] = set()

    async def wrap_node(self, run: NodeRun, call_next: Any) -> Any:
        self.names.add((run.job_id, run.workflow, run.attempt))
        self.spans.append(("node", run.node, "starts"))
        try:
            result = await call_next()
        except GraphInterrupt:
            self.spans.append(("node", run.node, "asks"))
            raise
        except Exception as error:
            self.spans.append(("node", run.node, type(error).__name__))
            raise
        usage = run.usage
        self.spans.append(
            ("node", run.node, (usage.model_calls, usage.tokens_in, usage.tokens_out))
        )
        return result

    async def wrap_agent_call(self, run: AgentRun, call_next: Any) -> Any:
        output = await call_next()
        self.spans.append(("agent", run.node.node, run.agent, run.input["text"], output))
        return output

    async def wrap_model_call(self, run: ModelRun, call_next: Any) -> Any:
        answer = await call_next()
        tokens = answer.usage_metadata["total_tokens"]
        self.spans.append(("model", run.node.node, run.model, run.messages[-1].content, tokens))
        return answer


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    def echo(request: Request) -> Reply:
        said = str(request["messages"][-1]["content"]).removeprefix("Say ")
        return text(said.upper(), tokens=(3, 1))

    with ScriptedOllama(echo) as endpoint:
        yield endpoint


@pytest.fixture
def settings(tmp_path: Path, ollama: ScriptedOllama) -> Settings:
    url = f"sqlite:///{tmp_path}/ucop.db"
    settings = Settings.load(tmp_path, database=url, poll=0.02, sweep=0.2)
    return settings.model_copy(update={"ollama_host": ollama.url, "embedded": False})


def ends(job: JobHandle) -> tuple[str, str | None]:
    status = job.wait(DEADLINE)
    error = job.get().error
    return status, error.type if error else None


def test_a_trace_sees_the_whole_job(settings: Settings, tmp_path: Path) -> None:
    file, trace = tmp_path / "flow.yaml", Trace()
    file.write_text(FLOW)
    with Engine(settings=settings, interceptors=[trace]) as engine:
        job = engine.submit(file, {"word": "tea"})
        assert job.wait(DEADLINE) == "waiting"
        job.answer("yes")
        assert job.result(DEADLINE) == {"one": "TEA", "two": "LAST"}
        steps = [(step.node, step.model_calls, step.tokens_in) for step in job.steps()]
    assert trace.names == {(job.id, "flow", 1), (job.id, "flow", 2)}
    model = next(span[2] for span in trace.spans if span[0] == "model")
    assert trace.spans == [
        ("node", "first", "starts"),
        ("model", "first", model, "Say tea", 4),
        ("agent", "first", "asker", "tea", "TEA"),
        ("node", "first", (1, 3, 1)),
        ("node", "ask", "starts"),
        ("node", "ask", "asks"),
        ("node", "ask", "starts"),
        ("node", "ask", (0, 0, 0)),
        ("node", "last", "starts"),
        ("model", "last", model, "Say last", 4),
        ("agent", "last", "asker", "last", "LAST"),
        ("node", "last", (1, 3, 1)),
    ]
    assert ("first", 1, 3) in steps  # the ledger counts the same


class Raises(Interceptor):
    def __init__(self, error: BaseException, node: str = "b") -> None:
        self.error, self.node = error, node

    async def wrap_node(self, run: NodeRun, call_next: Any) -> Any:
        if run.node == self.node and run.workflow == "flow":
            raise self.error
        return await call_next()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        GraphDrained("no"),
        GraphInterrupt(["no"]),  # type: ignore[list-item]
    ],
    ids=repr,
)
def test_whatever_an_interceptor_raises_fails_its_own_job_and_no_other(
    settings: Settings, error: BaseException
) -> None:
    with Engine(settings=settings, interceptors=[Raises(error)]) as engine:
        engine.add("flow", chain("a", "b"))
        engine.add("other", chain("a", "b"))
        failed, other = engine.submit("flow"), engine.submit("other")
        assert ends(failed)[0] == "failed"
        assert failed.get().error.node == "b"  # type: ignore[union-attr]
        assert other.result(DEADLINE)
        assert engine.submit("other").result(DEADLINE)
        assert [step.node for step in failed.steps() if step.status == "completed"] == ["a"]


class Swallows(Interceptor):
    async def wrap_node(self, run: NodeRun, call_next: Any) -> Any:
        try:
            return await call_next()
        except Exception:
            return None


class Skips(Interceptor):
    async def wrap_node(self, run: NodeRun, call_next: Any) -> Any:
        return None


def test_a_node_that_failed_or_asks_cannot_be_passed_off_as_done(
    settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW)
    with Engine(settings=settings, interceptors=[Swallows(), Raises(ValueError(), "a")]) as engine:
        engine.add("flow", chain("a", "b"))
        job = engine.submit(file, {"word": "tea"})
        assert job.wait(DEADLINE) == "waiting"
        job.answer("yes")
        assert job.result(DEADLINE)


def test_a_node_that_is_not_run_fails(settings: Settings) -> None:
    with Engine(settings=settings, interceptors=[Skips()]) as engine:
        engine.add("flow", chain("a"))
        assert ends(engine.submit("flow")) == ("failed", "InterceptorMisused")


class Hangs(Interceptor):
    async def wrap_node(self, run: NodeRun, call_next: Any) -> Any:
        await asyncio.sleep(3600)
        return await call_next()


def test_a_job_whose_interceptor_hangs_can_be_cancelled(settings: Settings) -> None:
    with Engine(settings=settings, interceptors=[Hangs()]) as engine:
        engine.add("flow", chain("a"))
        job = engine.submit("flow")
        for event in job.events(follow=True):
            if event.type == "job.running":
                break
        job.cancel()
        assert job.wait(DEADLINE) == "cancelled"


class NotAsync(Interceptor):
    def wrap_node(self, run: NodeRun, call_next: Any) -> Any:
        return call_next()


@pytest.mark.parametrize("wrong", [NotAsync(), object(), Trace])
def test_what_is_no_interceptor_is_refused_at_once(settings: Settings, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="interceptors:"):
        Engine(settings=settings, interceptors=[wrong])


PACKAGE = """
from ucop.agents import Interceptor

class Keeper(Interceptor):
    async def wrap_node(self, run, call_next):
        print("around", run.node, flush=True)
        return await call_next()

def broken():
    raise SystemExit("I leave")

class Broken(Interceptor):
    def __init__(self):
        raise SystemExit("I leave")
"""

ENTRY_POINTS = """[ucop.interceptors]
keeper = ucop_keeper:Keeper
broken = ucop_keeper:Broken
gone = ucop_keeper:nonesuch
none = ucop_keeper:broken
"""

PROGRAM = """
from tests.support.graphs import chain
from ucop.engine import Engine
with Engine("sqlite:///ucop.db") as engine:
    engine.add("flow", chain("a", "b"))
    engine.submit("flow").result(60)
"""


def test_an_installed_package_wraps_and_a_broken_one_takes_nothing_down(tmp_path: Path) -> None:
    info = tmp_path / "ucop_keeper-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ucop-keeper\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "ucop_keeper.py").write_text(PACKAGE)
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{tmp_path}:{root}", "PATH": ""}, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["around a", "around b"]
    for name in ("broken", "gone", "none"):
        assert f"the interceptor '{name}'" in done.stderr
