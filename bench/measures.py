"""What is measured. Every figure comes with its baseline from the same run, interleaved,
because machines are shared and their speed changes from minute to minute."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bench.graphs import chain
from ucop.engine import Engine, Settings
from ucop.engine.handle import JobHandle

IDLE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table."""

    what: str
    measured: str
    baseline: str
    target: str
    met: bool | None
    """None: for orientation, no target."""


@contextmanager
def engine(url: str | None, *, concurrency: int = 100) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        database = url or f"sqlite:///{folder}/bench.db"
        settings = Settings.load(folder, database=database, concurrency=concurrency)
        with Engine(settings=settings) as running:
            yield running


def cpu_of_ten_nodes(url: str | None, *, jobs: int = 30, rounds: int = 5) -> list[Figure]:
    """CPU of a job of ten empty nodes, against LangGraph bare and with its own saver."""
    graph = chain(10)
    times: dict[str, list[float]] = {"bare": [], "saver": [], "ucop": []}
    with engine(url) as running, tempfile.TemporaryDirectory() as folder:
        running.add("ten", graph)
        running.submit("ten", {"n": 0}).result()
        for turn in range(rounds):
            times["bare"].append(_cpu(lambda: asyncio.run(_bare(graph, jobs)), jobs))
            path = f"{folder}/{turn}.db"
            times["saver"].append(_cpu(lambda: asyncio.run(_saver(graph, path, jobs)), jobs))  # noqa: B023
            times["ucop"].append(_cpu(lambda: _jobs(running, "ten", jobs), jobs))
    bare, saver, ours = (statistics.median(times[name]) for name in ("bare", "saver", "ucop"))
    return [
        Figure(
            what="CPU of a job of 10 empty nodes",
            measured=f"{ours / bare:.2f}× bare ({ours * 1e3:.1f} ms)",
            baseline=f"AsyncSqliteSaver, sync: {saver / bare:.2f}× bare ({bare * 1e3:.1f} ms)",
            target="below LangGraph with its own AsyncSqliteSaver",
            met=None if url else ours < saver,
        )
    ]


def wall_of_waiting_nodes(url: str | None, *, rounds: int = 9) -> list[Figure]:
    """Wall time of ten nodes that wait 50 ms each."""
    graph = chain(10, wait=0.05)
    bare, ours = [], []
    with engine(url) as running:
        running.add("ten", graph)
        running.submit("ten", {"n": 0}).result()
        for _ in range(rounds):
            bare.append(_wall(lambda: asyncio.run(_bare(graph, 1))))
            ours.append(_wall(lambda: _jobs(running, "ten", 1)))
    ratio = statistics.median(ours) / statistics.median(bare)
    return [
        Figure(
            what="Wall time, 10 nodes of 50 ms",
            measured=f"{ratio:.3f}× bare",
            baseline=f"bare LangGraph: {statistics.median(bare) * 1e3:.0f} ms",
            target="≤ 1.05×",
            met=None if url else ratio <= 1.05,
        )
    ]


def latency(url: str | None, *, jobs: int = 200) -> list[Figure]:
    """Submit to result, and submit to the first node's event, of three empty nodes."""
    results, firsts = [], []
    with engine(url) as running:
        running.add("three", chain(3))
        running.submit("three", {"n": 0}).result()
        jobs = jobs if url is None else jobs // 4
        for _ in range(jobs):
            results.append(_wall(lambda: running.submit("three", {"n": 0}).result()))
        for _ in range(jobs):
            firsts.append(_wall(lambda: _first_node(running.submit("three", {"n": 0}))))
    bare = [_wall(lambda: asyncio.run(_bare(chain(3), 1))) for _ in range(30)]
    base = f"bare LangGraph, built and run: {statistics.median(bare) * 1e3:.1f} ms"
    result, first = statistics.median(results) * 1e3, statistics.median(firsts) * 1e3
    return [
        Figure(
            what="Submit → result, 3 nodes, p50",
            measured=f"{result:.1f} ms",
            baseline=base,
            target="≤ 20 ms",
            met=None if url else result <= 20,
        ),
        Figure(
            what="Submit → first node event, p50",
            measured=f"{first:.1f} ms",
            baseline=base,
            target="≤ 12 ms",
            met=None if url else first <= 12,
        ),
    ]


def burst(url: str | None, *, jobs: int = 500, rounds: int = 3) -> list[Figure]:
    """Five hundred jobs of three empty nodes at once, in one process."""
    rates, bares = [], []
    graph = chain(3)
    jobs = jobs if url is None else jobs // 2
    for _ in range(rounds):
        bares.append(jobs / _wall(lambda: asyncio.run(_bare(graph, jobs))))
        with engine(url) as running:
            running.add("three", graph)
            running.submit("three", {"n": 0}).result()
            rates.append(jobs / _wall(lambda: _at_once(running, "three", jobs)))
    rate, bare = statistics.median(rates), statistics.median(bares)
    return [
        Figure(
            what=f"Burst of {jobs} jobs of 3 nodes",
            measured=f"{rate:.0f} jobs/s ({rate / bare:.2f}× bare)",
            baseline=f"bare LangGraph, one after the other: {bare:.0f} runs/s",
            target="≥ 150 jobs/s",
            met=None if url else rate >= 150,
        )
    ]


def many_at_once(url: str | None, *, jobs: int = 1000) -> list[Figure]:
    """A thousand jobs in one worker, each of three nodes that wait a second."""
    jobs = jobs if url is None else jobs // 4
    with engine(url, concurrency=jobs) as running:
        running.add("wait", chain(3, wait=1.0))
        seconds = _wall(lambda: _at_once(running, "wait", jobs))
    return [
        Figure(
            what=f"{jobs} jobs at once, 3 nodes of 1 s",
            measured=f"{seconds:.1f} s",
            baseline="the waiting alone: 3 s",
            target="≤ 12 s",
            met=None if url else seconds <= 12,
        )
    ]


def idle(url: str | None) -> list[Figure]:
    """CPU of a worker that has nothing to do."""
    with engine(url) as running:
        running.add("three", chain(3))
        running.submit("three", {"n": 0}).result()
        time.sleep(1)
        cpu = time.process_time()
        time.sleep(IDLE_SECONDS)
        share = (time.process_time() - cpu) / IDLE_SECONDS
    return [
        Figure(
            what="Idle worker",
            measured=f"{share:.2%} of a core",
            baseline="",
            target="≤ 2 %",
            met=None if url else share <= 0.02,
        )
    ]


def listing(url: str | None, *, jobs: int = 10_000, rounds: int = 7) -> list[Figure]:
    """`ucop jobs list` on a large ledger, in a fresh process."""
    if url is not None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder), jobs)
        command = [sys.executable, "-m", "ucop.console.cli", "jobs", "list"]
        empty = [sys.executable, "-c", "import sqlite3, typer"]
        ours, bare = [], []
        for _ in range(rounds):
            bare.append(_wall(lambda: _run(empty, folder)))
            ours.append(_wall(lambda: _run(command, folder)))
    listed, base = statistics.median(ours), statistics.median(bare)
    return [
        Figure(
            what=f"`ucop jobs list`, {jobs} jobs, fresh process",
            measured=f"{listed * 1e3:.0f} ms",
            baseline=f"a Python that imports sqlite3 and typer: {base * 1e3:.0f} ms",
            target="well under 500 ms",
            met=listed < 0.5,
        )
    ]


MEASURES: tuple[Callable[[str | None], list[Figure]], ...] = (
    cpu_of_ten_nodes,
    wall_of_waiting_nodes,
    latency,
    burst,
    many_at_once,
    idle,
    listing,
)


async def _bare(graph, runs: int) -> None:  # type: ignore[no-untyped-def]
    compiled = graph.compile()
    for _ in range(runs):
        await compiled.ainvoke({"n": 0})


async def _saver(graph, path: str, runs: int) -> None:  # type: ignore[no-untyped-def]
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        compiled = graph.compile(checkpointer=saver)
        for run in range(runs):
            config = {"configurable": {"thread_id": str(run)}}
            await compiled.ainvoke({"n": 0}, config, durability="sync")


def _jobs(running: Engine, name: str, jobs: int) -> None:
    for _ in range(jobs):
        running.submit(name, {"n": 0}).result()


def _at_once(running: Engine, name: str, jobs: int) -> None:
    for handle in [running.submit(name, {"n": 0}) for _ in range(jobs)]:
        handle.result()


def _first_node(handle: JobHandle) -> None:
    for event in handle.events():
        if event.type.startswith("step."):
            break


def _fill(folder: Path, jobs: int) -> None:
    """A ledger with many jobs; written in one transaction, through the ledger's own operations."""
    import sqlite3

    from ucop.engine.database.drivers import on_sqlite
    from ucop.engine.database.sqlite import open_file, prepare
    from ucop.engine.jobs.job import JobId, ThreadId
    from ucop.engine.ledger import lifecycle
    from ucop.engine.ledger.operation import run
    from ucop.engine.ledger.records import NewJob

    path = folder / ".ucop" / "ucop.db"
    prepare(path)
    connection: sqlite3.Connection = open_file(path)
    connection.execute("begin")
    for number in range(jobs):
        id = f"{number:016x}"
        job = NewJob(
            id=JobId(id),
            workflow="three",
            fingerprint="bench",
            definition="{}",
            needs='["graph:none"]',
            input='{"n":0}',
            thread_id=ThreadId(id),
        )
        run(lifecycle.submit(job), lambda statement: on_sqlite(connection, statement))
    connection.execute("commit")
    connection.close()


def _run(command: list[str], folder: str) -> None:
    environment = {**os.environ, "UCOP_DATABASE": "sqlite:///.ucop/ucop.db"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())


def _cpu(work: Callable[[], object], runs: int) -> float:
    before = time.process_time()
    work()
    return (time.process_time() - before) / runs


def _wall(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before
