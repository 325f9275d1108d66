"""Engines among threads and event loops: several in a process, callers on loops of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import Log, chain
from tests.support.ollama import ScriptedOllama, answer
from tests.support.paths import ROOT
from tests.support.tally import Tally
from tests.support.waiting import DEADLINE
from ucop.engine import Engine, JobHandle
from ucop.engine.errors import EngineClosed

FLOW = """\
name: flow
input: {mark: string}
agents:
  asker: {input: {mark: string}, prompt: "${mark}: words", output: {reply: string}}
nodes:
  asks: {agent: asker, with: {mark: "${mark}"}, writes: a}
"""


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW)
    return file


# ---------------------------------------------------------------- several engines, one file


def test_two_engines_of_one_process_share_the_jobs_of_one_file(
    open_engine: Callable[..., Engine], flow: Path, tally: Tally, ollama: ScriptedOllama
) -> None:
    one, two = open_engine(concurrency=2), open_engine(concurrency=2)
    marks = [f"job {n}" for n in range(20)]
    jobs = [(one if n % 2 else two).submit(flow, {"mark": mark}) for n, mark in enumerate(marks)]
    for n, job in enumerate(jobs):
        other = (two if n % 2 else one).job(job.id)
        assert other.result(DEADLINE) == job.result(DEADLINE)
        assert [e.type for e in other.events()] == [e.type for e in job.events()]
    assert sorted(tally.marks) == sorted(marks)
    workers = {attempt.worker for job in jobs for attempt in job.attempts()}
    assert workers <= {one._supervisor.worker.id, two._supervisor.worker.id}  # type: ignore[union-attr]


def test_when_one_of_two_engines_closes_the_other_finishes_its_jobs(
    open_engine: Callable[..., Engine], flow: Path, tally: Tally, ollama: ScriptedOllama
) -> None:
    one = open_engine()
    tally.script("m", answer({"reply": "late"}, delay=30))
    job = one.submit(flow, {"mark": "m"})
    assert ollama.until(lambda o: o.calls == 1)
    two = open_engine()
    waiting = ThreadPoolExecutor(1).submit(two.job(job.id).result, DEADLINE)
    tally.script("m")
    one.close(grace=0)
    assert waiting.result(DEADLINE)["a"]["reply"]
    assert two.job(job.id).get().attempt == 2


def test_two_engines_may_submit_under_one_key_at_once(
    open_engine: Callable[..., Engine], flow: Path, ollama: ScriptedOllama
) -> None:
    engines = [open_engine(), open_engine()]
    with ThreadPoolExecutor(20) as pool:
        found = list(
            pool.map(lambda n: engines[n % 2].submit(flow, {"mark": "m"}, key="k").id, range(20))
        )
    assert len(set(found)) == 1
    engines[0].job(found[0]).result(DEADLINE)
    assert ollama.calls == 1


# ---------------------------------------------------------------- callers on their own loops


def test_one_engine_serves_callers_of_several_loops(
    engine: Engine, flow: Path, tally: Tally
) -> None:
    """As web servers do it: each worker thread has its own loop, all share one engine."""

    async def request(mark: str) -> list[str]:
        job = await engine.asubmit(flow, {"mark": mark})
        following = asyncio.create_task(_types(job))
        await job.aresult(DEADLINE)
        return await following

    def serve(loop: int) -> list[list[str]]:
        async def requests() -> list[list[str]]:
            return await asyncio.gather(*(request(f"{loop}.{n}") for n in range(5)))

        return asyncio.run(requests())

    with ThreadPoolExecutor(4) as pool:
        served = list(pool.map(serve, range(4)))
    assert all(types[-1] == "job.completed" for loop in served for types in loop)
    assert sorted(tally.marks) == sorted(f"{loop}.{n}" for loop in range(4) for n in range(5))


async def test_a_callers_loop_goes_on_while_it_awaits_a_job(
    engine: Engine, flow: Path, tally: Tally
) -> None:
    tally.script("m", answer({"reply": "late"}, delay=0.5))
    job = await engine.asubmit(flow, {"mark": "m"})
    ticks = 0
    waiting = asyncio.create_task(job.aresult(DEADLINE))
    while not waiting.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert (await waiting)["a"]["reply"] == "late"
    assert ticks > 5


async def test_a_caller_who_gives_up_waiting_leaves_the_job_alone(
    engine: Engine, flow: Path, tally: Tally
) -> None:
    tally.script("m", answer({"reply": "late"}, delay=0.5))
    job = await engine.asubmit(flow, {"mark": "m"})
    for wait in (job.aresult(DEADLINE), _types(job)):
        waiting = asyncio.create_task(wait)
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert (await job.aresult(DEADLINE))["a"]["reply"] == "late"
    assert tally.marks == ["m"]


async def test_an_engine_opens_and_closes_inside_a_running_loop(
    tmp_path: Path, ollama: ScriptedOllama, flow: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ucop.db"
    async with Engine(url, root=tmp_path) as engine:
        job = await engine.asubmit(engine.add("a", chain("a")))
        assert await job.aresult(DEADLINE) == {"log": ["a"]}
    with pytest.raises(EngineClosed):
        await engine.asubmit("a")
    with Engine(url, root=tmp_path) as engine:
        assert engine.job(job.id).result(DEADLINE) == {"log": ["a"]}


async def test_the_synchronous_methods_work_inside_a_running_loop(
    engine: Engine, flow: Path
) -> None:
    """As in a cell of a notebook, whose loop always runs."""
    job = engine.submit(flow, {"mark": "m"})
    assert job.result(DEADLINE)["a"]["reply"]
    assert [event.type for event in job.events()][-1] == "job.completed"
    assert [step.node for step in job.steps()] == ["asks"]
    assert job.checkpoints()
    assert job.wait(DEADLINE) == "completed"
    assert engine.jobs()[0].id == job.id


def test_a_cell_of_a_notebook_may_use_either_way(tmp_path: Path) -> None:
    """IPython runs each cell in one loop that never ends; engines outlive the cells."""
    cells = """
from tests.support.graphs import chain
from ucop.engine import Engine
engine = Engine("sqlite:///nb.db", root=".")
job = engine.submit(engine.add("a", chain("a", "b")))
---
print(job.result(60))
---
print(await job.aresult(60))
---
print(len([event async for event in job.aevents()]) == len(list(job.events())))
---
engine.close()
"""
    program = f"""
import ast, asyncio
async def kernel():
    names = {{}}
    for cell in {cells!r}.split("---"):
        code = compile(cell, "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if (waiting := eval(code, names)) is not None:
            await waiting
asyncio.run(kernel())
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    log = {"log": ["a", "b"]}
    assert (done.stdout.splitlines(), done.stderr) == ([str(log), str(log), "True"], "")


def test_a_job_may_submit_another_and_await_it(engine: Engine) -> None:
    inner = engine.add("inner", chain("x"))

    async def outer(state: Log) -> dict[str, list[str]]:
        job = await engine.asubmit(inner)
        found: dict[str, list[str]] = await job.aresult(DEADLINE)
        return found

    graph = _single(outer)
    assert engine.submit(engine.add("outer", graph)).result(DEADLINE) == {"log": ["x"]}


def test_many_threads_may_follow_one_job(engine: Engine, flow: Path, tally: Tally) -> None:
    tally.script("m", answer({"reply": "late"}, delay=0.3))
    job = engine.submit(flow, {"mark": "m"})
    with ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda _: [event.seq for event in job.events()], range(10)))
    assert all(numbers == list(range(1, len(found[0]) + 1)) for numbers in found)


def test_who_waits_when_the_engine_closes_is_told(
    open_engine: Callable[..., Engine], flow: Path, tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("m", answer({"reply": "late"}, delay=30))
    engine = open_engine()
    job = engine.submit(flow, {"mark": "m"})
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            job.result(DEADLINE)
        except BaseException as error:
            raised.append(error)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert ollama.until(lambda o: o.calls == 1)
    engine.close(grace=0)
    waiting.join(5)
    assert not waiting.is_alive()
    assert isinstance(raised[0], EngineClosed)


async def _types(job: JobHandle) -> list[str]:
    return [event.type async for event in job.aevents()]


def _single(node: Callable[..., Any]) -> Any:
    from langgraph.graph import START, StateGraph

    graph = StateGraph(Log)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph
