"""The tables of what jobs emit, on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.engine.ledger.test_ledger import (
    ME,
    OTHER,
    claim,
    finish,
    new_job,
    release,
    submit,
)
from ucop.engine.database.database import Database
from ucop.engine.errors import JobNotFound
from ucop.engine.jobs.job import WorkerId
from ucop.engine.jobs.status import Change, JobStatus
from ucop.engine.ledger import live_rows, workers
from ucop.engine.ledger.live_rows import Bounds, LiveRow, Place
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.ledger.records import Outcome


@pytest.fixture
async def running(database: Database) -> Database:
    """Job `a` runs, its attempt 1, at worker ME."""
    for worker in (ME, OTHER):
        await database.write(lambda w=worker: workers.join(w, "here", 1, "[]"))  # type: ignore[misc]
    await submit(database, new_job())
    await claim(database)
    return database


async def put(
    database: Database, *places: Place, body: bytes = b"x", keep: Bounds | None = None
) -> None:
    rows = [LiveRow(job="a", attempt=at, n=n, body=body) for at, n in places]
    bounds = keep or Bounds()
    full = ["a"] if keep else []
    await database.emit(lambda: live_rows.put(rows, full, bounds), ["a"])


async def kept(database: Database, after: Place = Place(), limit: int = 50) -> list[Place]:  # noqa: B008
    found = await database.read(lambda: live_rows.page("a", after, limit))
    return [row.place for row in found.rows]


async def pass_time(database: Database, seconds: float) -> None:
    """As if all that happened had happened so much earlier."""

    def earlier() -> Operation[None]:
        yield One("update live set at = at - :seconds", {"seconds": seconds})
        sql = "update attempts set finished_at = finished_at - :seconds"
        yield One(sql, {"seconds": seconds})

    await database.write(earlier)


async def listen(database: Database, id: str, *modes: str, lease: float = 60) -> None:
    await database.write(lambda: live_rows.join(id, "a", modes, lease=lease))


async def heard(database: Database, worker: WorkerId = ME) -> Any:
    return await database.read(lambda: live_rows.modes_on(worker))


async def test_rows_are_read_in_order_from_any_place(running: Database) -> None:
    await put(running, Place(1, 1), Place(1, 2), Place(1, 3))
    assert await kept(running) == [(1, 1), (1, 2), (1, 3)]
    assert await kept(running, Place(1, 1)) == [(1, 2), (1, 3)]
    assert await kept(running, limit=2) == [(1, 1), (1, 2)]
    found = await running.read(lambda: live_rows.page("a", Place(1, 3)))
    assert (found.rows, found.status) == ([], JobStatus.RUNNING)


async def test_a_row_that_is_written_again_is_there_once(running: Database) -> None:
    await put(running, Place(1, 1))
    await put(running, Place(1, 1), Place(1, 2))
    assert await kept(running) == [(1, 1), (1, 2)]


async def test_rows_of_an_attempt_that_lost_its_job_are_refused(running: Database) -> None:
    await put(running, Place(1, 1))
    await release(running, 1, lost=False)
    await put(running, Place(1, 2))
    await claim(running, attempt=2, worker=OTHER)
    await put(running, Place(1, 3), Place(2, 1))
    assert await kept(running) == [(1, 1), (2, 1)]
    await finish(running, Outcome(change=Change.COMPLETE, output="1"), attempt=2)
    await put(running, Place(2, 2))
    assert await kept(running) == [(1, 1), (2, 1)]


async def test_only_the_newest_rows_stay_within_the_bounds(running: Database) -> None:
    await put(running, *(Place(1, n) for n in range(1, 11)), body=b"x" * 100)
    await put(running, Place(1, 11), body=b"x" * 100, keep=Bounds(rows=4))
    assert await kept(running) == [(1, n) for n in (8, 9, 10, 11)]
    await put(running, Place(1, 12), body=b"x" * 100, keep=Bounds(bytes=250))
    assert await kept(running) == [(1, 11), (1, 12)]


async def test_a_worker_hears_of_those_who_listen_to_its_running_jobs(running: Database) -> None:
    assert await heard(running) == {}
    await listen(running, "one", "values", "messages")
    await listen(running, "two", "custom")
    assert await heard(running) == {"a": {"values", "messages", "custom"}}
    assert await heard(running, OTHER) == {}
    await running.write(lambda: live_rows.leave("one"))
    assert await heard(running) == {"a": {"custom"}}
    await listen(running, "two", "custom", lease=-1)
    assert await heard(running) == {}


async def test_a_claim_tells_who_listens_already(running: Database) -> None:
    await submit(running, new_job("b"))
    await running.write(lambda: live_rows.join("r", "b", ["debug"]))
    assert (await claim(running, "b")).listened == {"debug"}
    await submit(running, new_job("c"))
    await running.write(lambda: live_rows.join("s", "c", ["debug"], lease=-1))
    assert (await claim(running, "c")).listened == frozenset()


async def test_rows_are_stale_some_time_after_the_job_rests(running: Database) -> None:
    await put(running, Place(1, 1))

    async def stale(keep: float) -> list[str]:
        jobs, _ = await running.read(lambda: live_rows.stale(keep))
        return jobs

    await pass_time(running, 3600)
    assert await stale(1.0) == []
    await finish(running, Outcome(change=Change.COMPLETE, output="1"))
    assert await stale(60.0) == []
    await pass_time(running, 61)
    assert await stale(60.0) == ["a"]
    await running.write(lambda: live_rows.drop(["a"]))
    assert await kept(running) == []


async def test_listeners_that_are_gone_are_dropped(running: Database) -> None:
    await listen(running, "lives", "values")
    await listen(running, "gone", "values", lease=-2 * live_rows.LISTEN_LEASE)
    assert await running.read(lambda: live_rows.stale(60.0)) == ([], True)
    await running.write(lambda: live_rows.drop([]))
    assert await running.read(lambda: live_rows.stale(60.0)) == ([], False)
    assert await heard(running) == {"a": {"values"}}


async def test_a_job_that_is_not_there_has_no_page(database: Database) -> None:
    with pytest.raises(JobNotFound, match="no job 'none'"):
        await database.read(lambda: live_rows.page("none", Place()))
