"""Finding the next job stays cheap, however many wait: it goes by indexes, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from tests.support.graphs import chain
from tests.support.ledger import new_job, submit
from ucop.engine import Engine
from ucop.engine.database.database import Database
from ucop.engine.declared.queue_limits import QueueLimits
from ucop.engine.jobs.job import WorkerId
from ucop.engine.ledger import lifecycle, overdue
from ucop.engine.ledger import workers as roster
from ucop.engine.ledger.operation import Alone, One, Operation
from ucop.engine.ledger.records import Claimed
from ucop.engine.queue import fair_shares, order
from ucop.engine.queue.claims import Claims
from ucop.engine.queue.order import Look, Serving
from ucop.engine.reading import reader

MANY = 5000

_FILL = """
insert into jobs (id, thread_id, queued_at, not_before, tenant, workflow, fingerprint, needs, status,
    attempt, queue, priority, input, labels, budget, seq, progress, stalls, created_at)
with recursive n (i) as (select 1 union all select i + 1 from n where i < :many)
select :tenant || cast(i as text), :tenant || cast(i as text), queued_at + i, not_before,
    nullif(cast(:tenant as text), 'none'), workflow, fingerprint, needs, status, attempt, queue, i - i / 3 * 3,
    input, labels, budget, seq, progress, stalls, created_at
from jobs, n where jobs.id = :model"""

PLAIN = {"default": QueueLimits()}
SERVING = Serving(worker=WorkerId("w"), queues={**PLAIN, "other": QueueLimits(paused=True)})


def fill(model: str, many: int, *tenants: str) -> Operation[None]:
    """Many more jobs like one that is there."""
    for tenant in tenants:
        yield One(_FILL, {"model": model, "many": many, "tenant": tenant})


def look(free: int = 5) -> Operation[Look]:
    return order.look(SERVING, "[]", free)


@pytest.fixture
async def crowded(database: Database) -> Database:
    """Thousands are in line, in lanes of several tenants; thousands are delayed or held."""
    await submit(database, new_job("a"))
    await submit(database, new_job("later", delay=3600.0))
    await submit(database, new_job("held", queue="other"))

    def crowd() -> Operation[None]:
        yield from fill("a", MANY, "none", "acme", "bond")
        yield from fill("later", MANY, "late")
        yield from fill("held", MANY, "stuck")

    await database.write(crowd)
    if not database.url.startswith("sqlite:"):
        await database.write(lambda: _one("analyze jobs"))
    return database


def _one(sql: str, **params: Any) -> Operation[Sequence[Any]]:
    return (yield One(sql, params))


async def plan(database: Database, sql: str, **params: Any) -> str:
    lite = database.url.startswith("sqlite:")
    explained = f"explain {'query plan ' if lite else ''}{sql}"
    rows = await database.read(lambda: _one(explained, **params))
    return "\n".join(row["detail" if lite else "QUERY PLAN"] for row in rows)


async def test_no_statement_of_the_queue_reads_all_jobs(crowded: Database) -> None:
    in_lane: dict[str, Any] = {"lane": "default/acme", "known": "[]", "limit": 5}
    await explain(crowded, order._SCENE)
    await explain(crowded, order._HEADS, **in_lane)
    await explain(crowded, order._RUNNING, sorts=True)
    await explain(crowded, fair_shares._SHARES, sorts=True, memory=10.0, least=1.0)
    await explain(crowded, order._LINE_UP)
    await explain(crowded, overdue._EXPIRED)
    await explain(crowded, lifecycle._CLAIM, job="a", attempt=1, worker="w")
    await explain(crowded, reader._FORKS, sorts=True, id="a")


async def explain(database: Database, sql: str, *, sorts: bool = False, **params: Any) -> None:
    """That it goes by indexes, and sorts nothing unless it may."""
    found = await plan(database, sql, **params)
    assert "jobs_" in found, found
    for line in found.splitlines():
        whole = line.strip().startswith("SCAN jobs") and "USING" not in line
        assert not whole, found
        assert "Seq Scan on jobs" not in line, found
        assert sorts or ("TEMP B-TREE" not in line and "Sort" not in line), found


# SQLite alone counts its steps.
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_the_work_of_a_look_does_not_grow_with_what_waits(crowded: Database) -> None:
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    crowded._connection.set_progress_handler(count, 1)  # type: ignore[attr-defined]
    try:
        found = await crowded.read(look)
    finally:
        crowded._connection.set_progress_handler(None, 0)  # type: ignore[attr-defined]
    assert len(found.picks) == 5
    assert counted < 3000, counted


@pytest.mark.parametrize(
    "url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
async def test_a_process_that_stops_while_all_others_wait_for_it_loses_its_session(
    database: Database,
) -> None:
    def alone() -> Operation[str]:
        yield Alone("turns")
        rows = yield One("show idle_in_transaction_session_timeout", {})
        return str(rows[0]["idle_in_transaction_session_timeout"])

    assert await database.write(alone) == "15s"
    assert await database.write(alone) == "15s"


async def test_every_pick_can_be_taken(crowded: Database) -> None:
    await crowded.write(lambda: roster.join(WorkerId("w"), "here", 1, "[]"))
    found = await crowded.read(lambda: look(30))
    assert {pick.tenant for pick in found.picks} == {"", "acme", "bond"}
    taken = await crowded.write(lambda: order.take(SERVING, found.picks))
    assert [claimed.job_id for claimed in taken] == [pick.job for pick in found.picks]
    again = await crowded.read(lambda: look(3))
    assert not {pick.job for pick in again.picks} & {pick.job for pick in found.picks}


async def test_what_tenants_held_counts_until_it_has_faded(database: Database) -> None:
    await database.write(lambda: roster.join(WorkerId("w"), "here", 1, "[]"))
    for number in range(6):
        for tenant in ("a", "b"):
            await submit(database, new_job(f"{tenant}{number}", tenant=tenant))

    async def claim(many: int, had: dict[str, float]) -> str:
        found = await database.read(lambda: order.look(SERVING, "[]", many, had=had))
        taken = await database.write(lambda: order.take(SERVING, found.picks, had=had))
        return "".join(job.thread_id[0] for job in taken)

    assert await claim(3, {"a": 50.0}) == "bbb"
    assert await claim(2, {}) == "bb"


@pytest.mark.parametrize("limits", [{"concurrency": 3}, {"rate": "3/1h"}, {}])
async def test_a_limit_is_exact_though_several_workers_claim_at_once(
    database: Database, limits: dict[str, Any]
) -> None:
    """With neither, it is the workflow's."""
    queues = {"default": QueueLimits(**limits)}
    workers = [WorkerId(f"w{number}") for number in range(4)]
    servings = [
        Serving(worker=worker, queues=queues, workflows={} if limits else {"flow": 3})
        for worker in workers
    ]
    for worker in workers:
        await database.write(partial(roster.join, worker, "here", 1, "[]"))
    for number in range(20):
        await submit(database, new_job(f"j{number:02}"))

    async def claim(serving: Serving, picks: Sequence[order.Pick]) -> list[str]:
        taken = await database.write(lambda: order.take(serving, picks))
        return [job.job_id for job in taken]

    looks = [await database.read(partial(order.look, serving, "[]", 20)) for serving in servings]
    assert [len(found.picks) for found in looks] == [3] * 4
    every = await database.read(
        lambda: order.look(Serving(worker=workers[0], queues=PLAIN), "[]", 20)
    )
    shifted = [every.picks[start : start + 5] for start in (0, 5, 10, 15)]
    claimed = await asyncio.gather(*map(claim, servings, shifted))
    assert sum(map(len, claimed)) == 3


async def test_what_was_claimed_while_a_worker_stops_is_begun_and_not_lost(
    database: Database, open_engine: Callable[..., Engine]
) -> None:
    sender = open_engine(worker=False)
    job = await sender.asubmit(sender.add("one", chain("a")))
    await database.write(lambda: roster.join(WorkerId("w"), "h", 1, sender._workflows.names()))
    committed, gate, begun = asyncio.Event(), asyncio.Event(), list[str]()

    class Slow:
        """The commit's answer is on its way when the claim is cancelled."""

        read = staticmethod(database.read)

        async def write(self, make: Any) -> Any:
            result = await database.write(make)
            committed.set()
            await gate.wait()
            return result

    def run(attempt: Claimed) -> asyncio.Task[None]:
        begun.append(attempt.job_id)
        return asyncio.create_task(asyncio.sleep(0))

    slow: Any = Slow()
    claims = Claims(slow, serving=SERVING, known=sender._workflows.names, slots=1)
    claims.run = run
    taking = asyncio.create_task(claims.take())
    await committed.wait()
    taking.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert begun == [job.id]
