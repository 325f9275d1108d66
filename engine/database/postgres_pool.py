"""PostgreSQL's connections for one loop, whose users may be cancelled at any moment.

psycopg's pool waits with `asyncio.wait_for`, which on Python 3.11 returns the connection and drops
a cancellation that comes as it is handed over: a loop that only its cancellation ends goes on for
ever. And who is cancelled while it gives a connection back loses it to all the others. So here
both happen in tasks that nobody cancels amid their work.
"""

from __future__ import annotations

import asyncio
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool


class Pool(AsyncConnectionPool[AsyncConnection[Any]]):
    """psycopg's pool, in which neither a cancellation nor a connection is lost."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._coming_back: set[asyncio.Task[None]] = set()

    async def getconn(self, timeout: float | None = None) -> AsyncConnection[Any]:
        getting = asyncio.ensure_future(super().getconn(timeout))
        try:
            return await asyncio.shield(getting)
        except asyncio.CancelledError:
            getting.cancel()
            getting.add_done_callback(self._unwanted)
            raise

    async def putconn(self, conn: AsyncConnection[Any]) -> None:
        await asyncio.shield(self._put(conn))

    async def close(self, timeout: float = 5.0) -> None:
        await super().close(timeout)
        if self._coming_back:
            await asyncio.wait(self._coming_back, timeout=timeout)

    def _put(self, conn: AsyncConnection[Any]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(super().putconn(conn))
        self._coming_back.add(task)
        task.add_done_callback(self._coming_back.discard)
        return task

    def _unwanted(self, getting: asyncio.Task[AsyncConnection[Any]]) -> None:
        """Nobody waits any more for what this brings."""
        if not getting.cancelled() and getting.exception() is None:
            self._put(getting.result())
