"""Three tenants, one of which floods: how long do the others wait?

    python -m tests.chaos.tenants --jobs 10000
    python -m tests.chaos.tenants --jobs 10000 --postgres

Twice in the same run, one worker works through the jobs of two tenants, which come steadily in
small bursts, about half of what it can do (two thirds are their share; who asks for more waits, by
the rule): first alone, then beside a third tenant that queued all the rest before. Prints, as
JSON, how long the two waited from submission to start, alone and beside the flood, the ratio, and
how many jobs of the flood began meanwhile. Exits with 1 where the others waited more than twice as
long, or where the flood stood still: then nothing was shared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph

from ucop.engine import Engine, JobHandle
from ucop.engine.settings import Settings
from ucop.graphs.workflows.catalog import Catalog

OTHERS = ("alpha", "beta")
FLOOD = "flood"

WORST = 2.0
"""How much longer the others may wait beside the flood than without it."""


class State(TypedDict):
    n: int


def job_of(seconds: float) -> StateGraph[Any]:
    """One node that waits."""

    async def wait(state: State) -> State:
        await asyncio.sleep(seconds)
        return {"n": state["n"]}

    graph = StateGraph(State)
    graph.add_node("wait", wait)
    graph.add_edge(START, "wait")
    graph.add_edge("wait", END)
    return graph


@dataclass(frozen=True, kw_only=True)
class Waited:
    """From submission to start, in seconds."""

    jobs: int
    p50: float
    p95: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run went."""

    alone: Waited
    beside: Waited
    ratio: float
    """Of the means."""
    flood_began: int
    """Jobs of the flood that began while the others' came."""
    flood_last: bool
    """Whether the flood's last job began after all others."""
    seconds: float

    @property
    def is_fair(self) -> bool:
        return self.ratio <= WORST and self.flood_began > 0


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is queued, and how."""

    jobs: int
    slots: int = 10
    seconds: float = 0.4
    """What one job takes: slots are to be what is scarce, not the processor."""
    burst: int = 50
    """Jobs that each of the others queues at once: together they fill all slots ten times."""
    pause: float = 9.5
    """Seconds between bursts, which take four of them alone."""

    @property
    def bursts(self) -> int:
        """A tenth of all jobs is each of the others', half of it beside the flood."""
        return max(1, self.jobs // 20 // self.burst)

    @property
    def flood(self) -> int:
        return self.jobs - 2 * 2 * self.bursts * self.burst


def run(url: str, folder: Path, load: Load) -> Result:
    began = time.monotonic()
    settings = Settings.load(folder, database=url, concurrency=load.slots)
    catalog = Catalog(folder)
    catalog.add("wait", job_of(load.seconds))
    with Engine(settings=settings, worker=False, catalog=catalog) as sender:
        with Engine(settings=settings, catalog=catalog) as worker:
            worker.submit("wait", {"n": 0}).result(60)
            alone = _steadily(sender, load)
            _finish(worker, alone)
        flood = [sender.submit("wait", {"n": n}, tenant=FLOOD) for n in range(load.flood)]
        with Engine(settings=settings, catalog=catalog) as worker:
            _until_begun(flood[min(load.burst, load.flood - 1)])
            beside = _steadily(sender, load)
            _finish(worker, beside)
            meanwhile = sum(job.status != "pending" for job in flood)
            _finish(worker, flood)
        without, with_flood = _waited(alone), _waited(beside)
        return Result(
            alone=without,
            beside=with_flood,
            ratio=round(with_flood.mean / without.mean, 3),
            flood_began=meanwhile,
            flood_last=max(_started(flood)) > max(_started(beside)),
            seconds=round(time.monotonic() - began, 1),
        )


def _steadily(sender: Engine, load: Load) -> list[JobHandle]:
    jobs = []
    for _ in range(load.bursts):
        jobs += [
            sender.submit("wait", {"n": n}, tenant=tenant)
            for n in range(load.burst)
            for tenant in OTHERS
        ]
        time.sleep(load.pause)
    return jobs


def _finish(worker: Engine, jobs: Sequence[JobHandle]) -> None:
    for job in jobs:
        worker.job(job.id).result(3600)


def _until_begun(job: JobHandle) -> None:
    while job.status == "pending":
        time.sleep(0.01)


def _waited(jobs: Sequence[JobHandle]) -> Waited:
    found = [job.get() for job in jobs]
    times = sorted((job.started_at - job.created_at).total_seconds() for job in found)  # type: ignore[operator]
    return Waited(
        jobs=len(times),
        p50=round(times[len(times) // 2], 4),
        p95=round(times[len(times) * 95 // 100], 4),
        mean=round(statistics.mean(times), 4),
    )


def _started(jobs: Sequence[JobHandle]) -> list[float]:
    return [job.get().started_at.timestamp() for job in jobs]  # type: ignore[union-attr]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.tenants", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--slots", type=int, default=Load.slots)
    parser.add_argument("--seconds", type=float, default=Load.seconds, help="what a job takes")
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    load = Load(jobs=given.jobs, slots=given.slots, seconds=given.seconds)
    with tempfile.TemporaryDirectory() as folder:
        if given.postgres:
            from tests.support.postgres import PostgresServer

            with PostgresServer() as server:
                result = run(server.fresh(), Path(folder), load)
        else:
            result = run(f"sqlite:///{folder}/tenants.db", Path(folder), load)
    print(json.dumps({**asdict(load), **asdict(result), "fair": result.is_fair}))
    return 0 if result.is_fair else 1


if __name__ == "__main__":
    sys.exit(main())
