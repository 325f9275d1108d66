"""PostgreSQL's connections are there again for others, and whoever is cancelled ends, at whatever
moment the cancellation comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ucop.engine.database.postgres_pool import Pool

pytestmark = pytest.mark.postgres

DEADLINE = 60.0

MOMENTS = range(1, 12)
"""Turns of the loop after which a cancellation comes: more than a connection takes from hand to
hand."""


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    opened = Pool(postgres_url, min_size=1, max_size=1, kwargs={"autocommit": True}, open=False)
    await opened.open(wait=True)
    yield opened
    await opened.close()


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def use_for_ever(pool: Pool) -> None:
    """What every loop of a worker does: only its cancellation ends it."""
    while True:
        async with pool.connection():
            pass
        await asyncio.sleep(DEADLINE)


async def ended(task: asyncio.Task[None]) -> bool:
    done, _ = await asyncio.wait([task], timeout=DEADLINE / 6)
    return bool(done)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancellation_while_a_connection_is_handed_over_is_not_lost(
    pool: Pool, moment: int
) -> None:
    held = await pool.getconn()
    waits = asyncio.create_task(use_for_ever(pool))
    await turns(5)
    await pool.putconn(held)
    await turns(moment)
    waits.cancel()
    assert await ended(waits), "its cancellation was lost"
    async with pool.connection(timeout=DEADLINE / 4):
        pass


@pytest.mark.parametrize("other", MOMENTS)
async def test_a_connection_whose_user_is_cancelled_amid_its_return_is_not_lost(
    pool: Pool, other: int
) -> None:
    for moment in MOMENTS:
        held = await pool.getconn()
        waits = asyncio.create_task(use_for_ever(pool))
        await turns(5)
        waits.cancel()
        await turns(other)
        returns = asyncio.create_task(pool.putconn(held))
        await turns(moment)
        returns.cancel()
        await asyncio.wait([waits, returns])
        async with pool.connection(timeout=DEADLINE / 4):
            pass


async def test_a_pool_that_is_closed_closes_what_is_given_back_later(pool: Pool) -> None:
    held = await pool.getconn()
    returns = asyncio.create_task(pool.putconn(held))
    await turns(1)
    returns.cancel()
    await pool.close()
    assert held.closed
