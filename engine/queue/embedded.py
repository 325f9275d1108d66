"""The embedded queue: the ledger's pending rows, claimed in order by one `update`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ucop.engine import ledger
from ucop.engine.database import Database
from ucop.engine.errors import DatabaseError
from ucop.engine.faults import fault
from ucop.engine.job import WorkerId
from ucop.engine.queue import Run
from ucop.engine.rows import Claimed

log = logging.getLogger("ucop.queue")

LOOK_AGAIN = 1.0
"""Longest pause between two looks for delayed attempts, which nobody announces."""


class EmbeddedQueue:
    """See queue.Queue."""

    def __init__(
        self, database: Database, *, worker: WorkerId, known: Callable[[], str], slots: int
    ) -> None:
        self._database, self._worker, self._known = database, worker, known
        self._free = slots
        self._news = asyncio.Event()
        self._claiming: set[tuple[str, int]] = set()
        self._loop: asyncio.Task[None] | None = None

    async def start(self, run: Run) -> None:
        self._loop = asyncio.create_task(self._claim_always(run), name="ucop-queue")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    def wake(self) -> None:
        self._news.set()

    def is_claiming(self, job: str, attempt: int) -> bool:
        return (job, attempt) in self._claiming

    async def repair(self, alive: Callable[[str], Awaitable[bool]]) -> int:
        return 0  # a pending row is the queue's row

    async def _claim_always(self, run: Run) -> None:
        while True:
            self._news.clear()
            try:
                claimed = await self._claim()
            except DatabaseError as error:
                log.error("cannot claim jobs: %s", error)
                await asyncio.sleep(LOOK_AGAIN)
                continue
            for attempt in claimed:
                self._free -= 1
                run(attempt).add_done_callback(self._ended)
            self._claiming.clear()
            if not claimed or not self._free:
                await self._wait()

    async def _claim(self) -> list[Claimed]:
        if self._free <= 0:
            return []
        known, limit, now = self._known(), self._free, time.time()
        # Looking takes no lock; only where there is something is the write lock asked for.
        due = await self._database.read(lambda: ledger.due(known, limit, now))
        if not due:
            return []
        fault("before claim")
        self._claiming.update(due)
        return await self._database.write(lambda: ledger.claim_all(due, self._worker, now))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._free += 1
        self._news.set()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_AGAIN):
                await self._news.wait()
        except TimeoutError:
            pass
