"""Tenants share a worker's slots, whoever came first and however long their jobs take.

The statements that workers run, on SQLite, with a clock that stands still while they run: there
the ledger goes by the time that it is given.
"""

from __future__ import annotations

import heapq
import random
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.contract.engine.ledger.test_ledger import new_job
from ucop.engine.database.database import Database
from ucop.engine.declared.queue_limits import QueueLimits
from ucop.engine.jobs.job import WorkerId
from ucop.engine.jobs.status import Change
from ucop.engine.ledger import lifecycle, workers
from ucop.engine.ledger.records import Outcome
from ucop.engine.queue import order
from ucop.engine.queue.fair_shares import LEAST, MEMORY, Ended, Shares, counted
from ucop.engine.queue.order import Serving

SERVING = Serving(worker=WorkerId("w"), queues={"default": QueueLimits()})
BEGAN = 1_800_000_000.0


@dataclass(frozen=True, kw_only=True, order=True)
class Queued:
    at: float
    tenant: str
    seconds: float
    """For which it holds its slot."""


@dataclass(frozen=True, kw_only=True)
class Held:
    queued: Queued
    started: float

    @property
    def waited(self) -> float:
        return self.started - self.queued.at


class Worker:
    """Does what a worker does, and lets the time pass by itself."""

    def __init__(self, database: Database, slots: int) -> None:
        self._database, self._free = database, slots
        self._now = BEGAN
        database.clock = lambda: self._now  # type: ignore[attr-defined]
        self._ended = Ended(lambda: self._now)
        self._ends: list[tuple[float, str, Queued]] = []
        self._line: dict[str, Queued] = {}
        self.held: list[Held] = []

    async def work(self, queued: Iterable[Queued], until: float) -> list[Held]:
        """What held a slot, in the order in which it got it."""
        join = partial(workers.join, SERVING.worker, "here", 1, "[]")
        await self._database.write(join)
        coming = sorted(queued, reverse=True)
        while coming or self._ends:
            times = [coming[-1].at] if coming else []
            times += [self._ends[0][0]] if self._ends else []
            if min(times) > until:
                break
            self._now = BEGAN + min(times)
            while coming and BEGAN + coming[-1].at <= self._now:
                await self._submit(coming.pop())
            while self._ends and BEGAN + self._ends[0][0] <= self._now:
                await self._end(*heapq.heappop(self._ends)[1:])
            if self._free:
                await self._claim()
        return self.held

    async def _submit(self, queued: Queued) -> None:
        id = f"j{len(self._line):05}"
        self._line[id] = queued
        job = new_job(id, tenant=queued.tenant)
        await self._database.write(lambda: lifecycle.submit(job))

    async def _end(self, id: str, queued: Queued) -> None:
        outcome = Outcome(change=Change.COMPLETE)
        await self._database.write(lambda: lifecycle.finish(id, 1, outcome))
        self._ended.add(queued.tenant, queued.seconds)
        self._free += 1

    async def _claim(self) -> None:
        free, had = self._free, self._ended.had()
        look = await self._database.read(lambda: order.look(SERVING, "[]", free, had=had))
        if not look.picks:
            return
        had = self._ended.take() if look.shared else {}
        for job in await self._database.write(lambda: order.take(SERVING, look.picks, had=had)):
            queued = self._line[job.job_id]
            self.held.append(Held(queued=queued, started=self._now - BEGAN))
            heapq.heappush(self._ends, (self._now - BEGAN + queued.seconds, job.job_id, queued))
            self._free -= 1


def bursts(tenants: str, *, many: int, each: int, every: float, start: float = 0) -> list[Queued]:
    """Jobs of 0.4 seconds, as many of each tenant at once."""
    return [
        Queued(at=start + number * every, tenant=tenant, seconds=0.4)
        for number in range(many)
        for tenant in tenants
        for _ in range(each)
    ]


def wait_of(held: Iterable[Held], tenants: str, *, start: float = 0, end: float = 1e9) -> float:
    return statistics.mean(
        each.waited
        for each in held
        if each.queued.tenant in tenants and start <= each.queued.at < end
    )


@pytest.fixture
def url(tmp_path: Path) -> str:
    """On SQLite alone the time can be given."""
    return f"sqlite:///{tmp_path}/ucop.db"


@pytest.fixture
def worker(database: Database) -> Worker:
    return Worker(database, slots=10)


@pytest.mark.parametrize("tenants", ["ab", "a"])
async def test_bursts_beside_a_flood_wait_no_more_than_twice_as_long(
    worker: Worker, tenants: str
) -> None:
    """Alone first, then the same tenants again, beside a newcomer. What they had alone, a moment
    ago, counts against them for some seconds."""
    alone = bursts(tenants, many=3, each=50, every=7)
    beside = bursts(tenants, many=4, each=50, every=7, start=21)
    flood = [Queued(at=20.5, tenant="f", seconds=0.4)] * 800
    held = await worker.work([*alone, *beside, *flood], 56)
    before = wait_of(held, tenants, end=21)
    ratios = [
        wait_of(held, tenants, start=start, end=start + 7) / before for start in (21, 28, 35, 42)
    ]
    assert statistics.mean(ratios) < 2, ratios
    assert ratios[0] < 3, ratios
    assert max(ratios[1:]) < 1.6, ratios
    assert sum(each.queued.tenant == "f" for each in held) > 300


async def test_a_newcomer_that_floods_does_not_stop_those_who_worked_before(
    worker: Worker,
) -> None:
    chance = random.Random(7)
    steady = [
        Queued(at=chance.uniform(0, 40), tenant=tenant, seconds=0.4)
        for tenant in "ab"
        for _ in range(250)
    ]
    flood = [Queued(at=20, tenant="f", seconds=0.4)] * 600
    held = await worker.work([*steady, *flood], 60)
    # Half of all slots are theirs; a third each would be their due.
    assert wait_of(held, "ab", start=20, end=25) < 1.5
    assert wait_of(held, "ab", start=30) < 0.4
    assert wait_of(held, "f") > 5


async def test_tenants_hold_as_many_slots_however_long_their_jobs_take(worker: Worker) -> None:
    long = [Queued(at=0, tenant="l", seconds=60.0)] * 60
    short = [Queued(at=0, tenant="s", seconds=2.0)] * 900
    held = await worker.work([*long, *short], 240)
    seconds = dict.fromkeys("ls", 0.0)
    for each in held:
        seconds[each.queued.tenant] += min(each.queued.seconds, 240 - each.started)
    assert 0.4 < seconds["s"] / sum(seconds.values()) < 0.6, seconds


async def test_who_held_little_of_late_goes_first_until_it_holds_as_much(worker: Worker) -> None:
    flood = [Queued(at=0, tenant="f", seconds=5.0)] * 40
    others = [Queued(at=4, tenant=tenant, seconds=5.0) for tenant in "ab" for _ in range(8)]
    held = await worker.work([*flood, *others], 9)
    first = "".join(each.queued.tenant for each in held[10:20])
    # Ten slots for five seconds count as if it held ten still.
    assert Counter(first) == {"a": 5, "b": 5}


def test_very_short_jobs_count_alike() -> None:
    assert counted(0.001) == counted(LEAST) == LEAST / (LEAST + MEMORY)
    assert counted(MEMORY) == 0.5
    shares = Shares()
    shares.serve("a")
    assert shares.standing("a") > 1 > shares.standing("b") == 0


def test_what_ended_long_ago_counts_little() -> None:
    now = 0.0
    ended = Ended(lambda: now)
    ended.add("a", MEMORY)
    now = MEMORY
    ended.add(None, MEMORY)
    assert ended.had() == {"a": 0.25, "": 0.5}
    now = 2 * MEMORY
    assert ended.take() == {"a": 0.125, "": 0.25}
    assert ended.had() == {}
