"""The embedded queue: the ledger's pending rows, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from ..errors import DatabaseError
from ..loop.cancellation import is_cancelled
from . import Run
from .claims import Claims

log = logging.getLogger("ucop.queue")

LOOK_AGAIN = 1.0
"""Longest pause between two looks, in seconds: should ever a word be lost."""


class EmbeddedQueue:
    """See queue.Queue."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._news = claims.ended
        self._loop: asyncio.Task[None] | None = None

    async def start(self, run: Run) -> None:
        self._claims.run = run
        self._loop = asyncio.create_task(self._claim_always(), name="ucop-queue")

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
            self._loop = None

    def wake(self) -> None:
        self._news.set()

    def is_claiming(self, job: str, attempt: int) -> bool:
        return self._claims.is_claiming(job, attempt)

    async def repair(self, alive: Callable[[str], Awaitable[bool]]) -> None:
        """A pending row is the queue's row."""

    async def _claim_always(self) -> None:
        while True:
            self._news.clear()
            try:
                claimed = await self._claims.take()
            except DatabaseError as error:
                log.error("cannot claim jobs: %s", error)
                await asyncio.sleep(LOOK_AGAIN)
                continue
            except BaseException as error:  # a loop that ended in silence would leave jobs stuck
                if isinstance(error, asyncio.CancelledError) and is_cancelled():
                    raise
                log.exception("cannot claim jobs")
                await asyncio.sleep(LOOK_AGAIN)
                continue
            if not claimed:
                await self._wait()

    async def _wait(self) -> None:
        pause = min(LOOK_AGAIN, max(0.0, self._claims.again_at - time.monotonic()))
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
        except TimeoutError:
            pass
