"""The embedded queue: the ledger's pending rows, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from ..loop.cancellation import end
from ..loop.duty import repeat
from .claims import Claims
from .queue import Run

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
            await end(self._loop)
            self._loop = None

    def wake(self) -> None:
        self._news.set()

    def is_claiming(self, job: str, attempt: int) -> bool:
        return self._claims.is_claiming(job, attempt)

    async def repair(self, alive: Callable[[str], Awaitable[bool]]) -> None:
        """A pending row is the queue's row."""

    async def _claim_always(self) -> None:
        await repeat(
            self._claim, name="cannot claim jobs", log=log, again=LOOK_AGAIN, sleep=self._wait
        )

    async def _claim(self) -> float:
        self._news.clear()
        if await self._claims.take():
            return 0.0
        return min(LOOK_AGAIN, max(0.0, self._claims.again_at - time.monotonic()))

    async def _wait(self, seconds: float) -> None:
        if seconds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._news.wait()
