"""Those in this process who follow jobs live: their leases, and what wakes them.

A reader is a row of `live_listeners` that is renewed as long as it lives, so that workers emit
what it wants; after a kill -9 its lease ends. On the engine's loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from ..errors import DatabaseError
from ..jobs.status import ACTIVE
from ..ledger import live_rows
from ..ledger.live_rows import LISTEN_LEASE, LivePage, Place
from ..loop.cancellation import end
from ..loop.duty import repeat
from .changes import live_ear

if TYPE_CHECKING:
    from ..database.database import Database
    from ..jobs.job import JobId
    from ..notices import Notices

log = logging.getLogger("ucop.live")

RENEW = LISTEN_LEASE / 3

LOOK_AGAIN = 1.0
"""Longest pause in seconds between two looks, should a notice be missed."""


class LiveReaders:
    """Args:
    on_listeners: Has this process's worker look who listens, where it has one.
    """

    def __init__(
        self,
        database: Database,
        notices: Notices,
        *,
        on_listeners: Callable[[], Awaitable[None]],
    ) -> None:
        self._database, self._notices, self._on_listeners = database, notices, on_listeners
        self._open: dict[str, tuple[JobId, frozenset[str]]] = {}
        self._news: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Future[None]] = set()

    async def join(self, id: str, job: JobId, modes: frozenset[str]) -> None:
        """Listen to a job until `leave`."""
        if id in self._open:
            return
        self._open[id] = (job, modes)
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._renew(), name="ucop-live-lease"),
                asyncio.create_task(self._hear(), name="ucop-live-ear"),
            ]
        await self._database.write(lambda: live_rows.join(id, job, modes))
        await self._on_listeners()

    async def leave(self, id: str) -> None:
        """Listen no more. Where the database cannot take it, the lease ends by itself."""
        if self._open.pop(id, None) is None:
            return
        self.tell(None)
        if not self._open:
            await self._end_tasks()
        with contextlib.suppress(DatabaseError):
            await self._database.write(lambda: live_rows.leave(id))
            await self._on_listeners()

    def leave_soon(self, id: str) -> None:
        """`leave`, for who cannot await it."""
        leaving = asyncio.ensure_future(self.leave(id))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def page(self, id: str, job: JobId, after: Place) -> LivePage | None:
        """Rows of a job behind a place, waiting for at least one; without any the job rests. None
        where the reader was made to leave. Raises JobNotFound, DatabaseError."""
        with self._notices.follow(job) as news:
            self._news[job].add(news)
            try:
                while id in self._open:
                    news.clear()
                    found = await self._database.read(lambda: live_rows.page(job, after))
                    if found.rows or found.status not in ACTIVE:
                        return found
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_AGAIN):
                            await news.wait()
                return None
            finally:
                waiting = self._news[job]
                waiting.discard(news)
                if not waiting:
                    del self._news[job]

    def tell(self, jobs: Collection[str] | None) -> None:
        """These jobs emitted something; None: any may have."""
        for job in list(self._news) if jobs is None else jobs:
            for news in self._news.get(job, ()):
                news.set()

    async def close(self) -> None:
        for id in list(self._open):
            await self.leave(id)
        await self._end_tasks()

    async def _end_tasks(self) -> None:
        tasks, self._tasks = self._tasks, []
        await end(*tasks)

    async def _renew(self) -> None:
        async def leases() -> float:
            for id, (job, modes) in list(self._open.items()):
                await self._database.write(partial(live_rows.join, id, job, modes))
            return RENEW

        await asyncio.sleep(RENEW)
        await repeat(leases, name="the leases of readers", log=log, again=LOOK_AGAIN)

    async def _hear(self) -> None:
        async def listen() -> float:
            await live_ear(self._database.url).listen(self.tell)
            return LOOK_AGAIN

        late = "what other processes emit is heard late"
        await repeat(listen, name=late, log=log, again=LOOK_AGAIN)


def new_reader_id() -> str:
    return f"r-{secrets.token_hex(8)}"
