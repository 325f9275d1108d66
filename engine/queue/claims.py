"""Claiming: one worker's slots, and the jobs that it takes for them, on either database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from ..database.database import Database
from ..faults import fault
from ..ledger.records import Claimed
from . import order
from .fair_shares import Ended
from .order import Look, Serving
from .queue import Run


class Claims:
    """Takes jobs whose turn it is (see order.py) and counts what runs. Looks never overlap."""

    def __init__(
        self,
        database: Database,
        *,
        serving: Serving,
        known: Callable[[], str],
        slots: int,
    ) -> None:
        self._database, self._serving, self._known = database, serving, known
        self._free = slots
        self._had = Ended()
        self._claiming: set[tuple[str, int]] = set()
        self._turn = asyncio.Lock()
        self.run: Run | None = None
        self.left = True
        """Whether jobs may be in line, or soon be, that nothing else will tell of."""
        self.again_at = float("inf")
        """When (monotonic) it is worth looking again though nothing was told."""
        self.ended = asyncio.Event()
        """Set whenever a slot becomes free."""

    @property
    def is_full(self) -> bool:
        """Whether no slot is free."""
        return self._free <= 0

    def is_claiming(self, job: str, attempt: int) -> bool:
        return (job, attempt) in self._claiming

    async def take(self) -> list[asyncio.Task[None]]:
        """Claim as many jobs as there are free slots, and begin them. Raises DatabaseError."""
        async with self._turn:
            # Nothing is known before the look has ended, and should it break off.
            self.left, self.again_at = True, float("inf")
            try:
                return await self._take(self._free) if self._free > 0 else []
            finally:
                self._claiming.clear()

    async def _take(self, free: int) -> list[asyncio.Task[None]]:
        # Looking takes no lock; only where there is something is the write lock asked for.
        look = await self._look(free)
        while look.due:
            await self._database.write(lambda: order.line_up())
            look = await self._look(free)
        self.left = look.left
        wait = look.again_in
        self.again_at = float("inf") if wait is None else time.monotonic() + max(wait, 0.0)
        if not look.picks:
            return []
        fault("before claim")
        self._claiming.update((pick.job, pick.attempt) for pick in look.picks)
        had = self._had.take()
        claim = asyncio.ensure_future(
            self._database.write(
                lambda: order.take(self._serving, look.picks, had=had if look.shared else None)
            )
        )
        try:
            return self._begin_all(await asyncio.shield(claim))
        except asyncio.CancelledError:
            # Amid a commit nobody knows whether it happens: what was claimed must be begun, or it
            # would run nowhere. A worker that stops gives it back.
            await asyncio.wait([claim])
            if not claim.cancelled() and claim.exception() is None:
                self._begin_all(claim.result())
            raise

    def _begin_all(self, claimed: Sequence[Claimed]) -> list[asyncio.Task[None]]:
        self._free -= len(claimed)
        return [self._begin(attempt) for attempt in claimed]

    def _begin(self, attempt: Claimed) -> asyncio.Task[None]:
        assert self.run is not None
        task = self.run(attempt)
        task.add_done_callback(partial(self._ended, attempt.tenant, time.monotonic()))
        return task

    async def _look(self, free: int) -> Look:
        known, had = self._known(), self._had.had()
        return await self._database.read(lambda: order.look(self._serving, known, free, had=had))

    def _ended(self, tenant: str | None, began: float, _: asyncio.Task[None]) -> None:
        self._free += 1
        self._had.add(tenant, time.monotonic() - began)
        self.ended.set()
