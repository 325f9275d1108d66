"""Keeps this process's worker running: if it was declared lost, another takes its place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..errors import DatabaseError
from ..ledger import workers
from ..loop.cancellation import end

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage

    from ..database.database import Database
    from ..jobs.job import JobId, WorkerId
    from .worker import Worker

log = logging.getLogger("ucop.engine")

AGAIN = 1.0
"""Seconds before a worker that could not start is tried again."""


class Supervisor:
    """All but `let_go` on the engine's loop. Without a worker nothing is done.

    Args:
        make: A worker, not started yet; it is given what to call when it was declared lost.
        knows: What this process can run, as the ledger keeps it.
    """

    def __init__(
        self,
        database: Database,
        make: Callable[[Callable[[str], None]], Worker],
        knows: Callable[[], str],
    ) -> None:
        self._database, self._make, self._knows = database, make, knows
        self.worker: Worker | None = None
        self.lost: str | None = None
        """Why the worker was declared lost, if it was."""
        self.on_lost: Callable[[str], None] | None = None
        """Called when that happens; without it a new worker starts."""
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self.worker = self._make(self._replace)
        await self.worker.start()

    async def end_tasks(self) -> None:
        """No new worker comes from now on."""
        self._stopping = True
        await end(*self._tasks)

    async def stop(self, grace: float | None) -> None:
        if self.worker is not None:
            await self.worker.stop(grace=grace)

    def let_go(self, why: str) -> None:
        """The loop broke, or never comes back: nothing runs here any more, and others may have this
        worker's jobs. From any thread."""
        self.lost = why
        if self.worker is not None:
            self.worker.let_go()
        if self.on_lost is not None:
            self.on_lost(why)

    def _replace(self, why: str) -> None:
        self.lost, self.worker = why, None
        if self.on_lost is not None:
            self.on_lost(why)
        elif not self._stopping:
            self._begin(self._restart(), "ucop-restart")

    async def _restart(self) -> None:
        log.error("a new worker takes its place")
        while True:
            try:
                return await self.start()
            except DatabaseError as error:
                self.worker = None
                log.error("no new worker yet: %s", error)
                await asyncio.sleep(AGAIN)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------------------ what the worker hears

    def wake(self) -> None:
        """There may be work."""
        if self.worker is not None:
            self.worker.wake()

    async def watch(self) -> None:
        """Something may be wanted of the jobs that run here."""
        if self.worker is not None:
            await self.worker.watch()

    async def hear_listeners(self) -> None:
        """Somebody began, or ceased, to follow a job."""
        if self.worker is not None:
            await self.worker.hear_listeners()

    def learned(self) -> None:
        """The worker knows another workflow."""
        self.wake()
        if self.worker is not None and not self._stopping:
            self._begin(self._tell_known(self.worker.id), "ucop-add")

    async def _tell_known(self, worker: WorkerId) -> None:
        """Notify readers that ask why a job waits. Jobs do not depend on it."""
        try:
            await self._database.write(lambda: workers.learn(worker, self._knows()))
        except DatabaseError as error:
            log.error("cannot tell what this worker knows: %s", error)

    async def spending(self, id: JobId) -> dict[str, Usage]:
        """What the nodes of a job that run in this process have spent so far."""
        return self.worker.running.spending(id) if self.worker is not None else {}
