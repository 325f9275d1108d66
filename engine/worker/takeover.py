"""The jobs of workers that are gone: their next attempts are queued."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from ..database.database import Database
from ..faults import fault
from ..jobs.job import WorkerId
from ..ledger import lifecycle
from ..ledger import workers as roster
from ..ledger.workers import WorkerAt

log = logging.getLogger("ucop.worker")


class Takeover:
    """What one worker knows of the others."""

    def __init__(
        self, database: Database, id: WorkerId, *, lease: float, tell: Callable[[str], None]
    ) -> None:
        """`tell` is called with each job that is taken over."""
        self._database, self._id = database, id
        self._lease, self._tell = lease, tell
        self._beats: dict[str, tuple[float | None, float]] = {}
        """Each other worker's last heartbeat, and since when (monotonic) it is the last."""

    async def look(self) -> bool:
        """Take over the jobs of all that are lost; whether there were any."""
        lost = [worker for worker in await self._others() if not await self.lives(worker)]
        for worker in lost:
            await self._take_over(worker)
            self._beats.pop(worker, None)
        return bool(lost)

    async def _others(self) -> list[str]:
        workers = await self._database.read(roster.working)
        return [worker for worker in workers if worker != self._id]

    async def lives(self, worker: str) -> bool:
        """Whether a worker may still commit. One that is found dead is marked lost first."""
        if worker == self._id:
            return True
        if await self._database.read(lambda: roster.is_lost(worker)):
            return False
        at = await self._database.read(lambda: roster.where_is(worker))
        if at is not None and await self._database.is_held(worker):
            if not self._is_silent(worker, at):
                return True
            await self._database.unblock(at, self._lease)
        fault("before mark lost")
        if await self._database.write(lambda: roster.mark_lost(worker)):
            log.warning("worker %s is gone; its jobs are taken over", worker)
        fault("after mark lost")
        return False

    def _is_silent(self, worker: str, at: WorkerAt) -> bool:
        """Whether a worker that exists gave no heartbeat for a lease, watched on this
        process's own clock: no two clocks are compared, and a laptop that slept has nobody
        declared lost when it wakes."""
        now = time.monotonic()
        known, since = self._beats.get(worker, (None, now))
        if known != at.beat_at:
            since = now
        self._beats[worker] = (at.beat_at, since)
        return now - since > self._lease

    async def _take_over(self, worker: str) -> None:
        why = f"worker {worker} was lost"
        at = await self._database.read(lambda: roster.where_is(worker))
        if at is not None and await self._database.is_held(worker):
            await self._database.unblock(at, self._lease)
        for job, number in await self._database.read(lambda: roster.running_on(worker)):
            fault("before takeover")
            await self._database.dispatch(partial(lifecycle.release, job, number, why, lost=True))
            fault("after takeover")
            self._tell(job)
