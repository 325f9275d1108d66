"""A worker: claims attempts, runs them, watches itself and the others.

Three loops beside the running attempts: the heartbeat, the watch (which attempts of mine are
no longer wanted?) and the sweep (whose attempts has nobody any more?). Lives on the engine's
loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ucop.agents.models.interceptor import Interceptors
from ucop.agents.text.raised import text_of
from ucop.graphs.nodes.breaker import BreakerRules

from ..attempts.attempt import Equipment
from ..attempts.flushing import Pace
from ..checkpoints.savers import saver_of
from ..database.database import Database
from ..errors import (
    DatabaseError,
    JobNotFound,
    RefusedChange,
)
from ..jobs.job import JobId, WorkerId
from ..ledger import live_rows, overdue
from ..ledger import workers as roster
from ..ledger.live_rows import Bounds
from ..ledger.retention import BATCH
from ..live.writer import LiveChannel
from ..loop.cancellation import end
from ..loop.duty import Duty, repeat
from ..notices import Notices
from ..queue import fair_shares
from ..queue.queue import Queue
from ..stores.answers import Answers
from ..stores.mesh_calls import Meshes
from .pulse import Pulse
from .retention import carry_out
from .running import Running
from .takeover import Takeover

if TYPE_CHECKING:
    from ucop.agents.models.models import Models
    from ucop.graphs.workflow import Workflow

    from ..settings import Settings
    from ..stores.memory import JobStore

log = logging.getLogger("ucop.worker")

BEATS_PER_LEASE = 5
"""Heartbeats in one lease: so many must be missed before a worker counts as lost."""

EXPIRED_AT_ONCE = 50
"""Jobs whose questions expire in one sweep, so that the others of the sweep's duties have time."""

SIGN_OFF = 10.0
"""Seconds that the database gets to take a worker's last words."""

LOST = (
    "this worker gave no sign of life for {lease:g} s (was the process stopped, or the machine "
    "asleep?) and was declared lost; its jobs went to other workers, and nothing it did "
    "after that was committed"
)


class Worker:
    """One worker in this process."""

    def __init__(
        self,
        *,
        database: Database,
        queue: Callable[[WorkerId], Queue],
        settings: Settings,
        models: Models,
        store: JobStore,
        notices: Notices,
        workflow: Callable[[str, JobId], Awaitable[Workflow]],
        knows: Callable[[], str],
        serves: str,
        on_lost: Callable[[str], None],
        on_end: Callable[[str], None],
        on_live: Callable[[Sequence[str]], None] = lambda jobs: None,
        interceptors: Interceptors = Interceptors(()),  # noqa: B008 - it holds nothing
        duties: Callable[[WorkerId], Sequence[Duty]] = lambda worker: (),
    ) -> None:
        self.id = WorkerId(f"w-{secrets.token_hex(6)}")
        self._database, self._settings, self._notices = database, settings, notices
        self._knows, self._serves = knows, serves
        self._on_lost, self._on_end = on_lost, on_end
        self._live = LiveChannel(
            database,
            keep=Bounds(rows=settings.live.rows, bytes=settings.live.bytes),
            tell=on_live,
        )
        rules = BreakerRules(failures=settings.mesh_failures, pause=settings.mesh_pause)
        self.running = Running(
            self.id,
            database,
            notices,
            restore=workflow,
            equipment=Equipment(
                saver=saver_of(database, settings.state.types),
                models=models,
                answers=Answers(database),
                store=store,
                folder=settings.root,
                production=settings.mode == "production",
                interceptors=interceptors,
                pace=Pace(),
                on_news=notices.tell_events,
            ),
            meshes=Meshes(database, rules),
            live=self._live,
            project=settings.memory.project,
        )
        self._queue = queue(self.id)
        self._duties = duties(self.id)
        self._takeover = Takeover(database, self.id, lease=settings.lease, tell=notices.tell)
        self._pulse: Pulse | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._held = ExitStack()
        self._abandoning: asyncio.Task[None] | None = None
        """Ends everything here, once this worker was declared lost."""

    # ------------------------------------------------------------ start and stop

    async def start(self) -> None:
        self._held.enter_context(self._database.hold(self.id))
        try:
            await self._join()
            await self._sweep()
            await self._queue.start(self.running.begin)
        except BaseException:
            self._held.close()
            raise
        self._pulse = Pulse(
            self.id,
            self._database,
            self._settings.lease,
            on_lost=self._declared_lost,
            on_end=self._on_end,
        )
        self._pulse.start()
        beat, sweep = self._settings.lease / BEATS_PER_LEASE, self._settings.sweep
        stale = min(max(self._settings.live.keep / 10, sweep), 60.0)
        loops = {
            "heartbeat": self._every(beat, self._beat),
            "sweep": self._every(sweep, self._sweep),
            "live-retention": self._every(stale, self._drop_stale),
            **{duty.name: duty.run() for duty in self._duties},
        }
        if not self._settings.retention.is_none:
            # Apart from the sweep, which must not wait for it.
            loops["retention"] = self._every(sweep, self._tidy)
        for name, work in loops.items():
            loop = asyncio.create_task(work, name=f"ucop-{name}")
            loop.add_done_callback(self._ended_early)
            self._loops.append(loop)

    def _ended_early(self, loop: asyncio.Task[None]) -> None:
        """One of the loops ended that go on as long as the worker: without it jobs would hang."""
        if self._ends:
            return
        error = None if loop.cancelled() else loop.exception()
        why = "it was cancelled" if loop.cancelled() else error and text_of(error)
        message = f"this worker cannot go on: its loop {loop.get_name()!r} ended ({why})"
        log.critical("worker %s: %s", self.id, message, exc_info=error)
        self._give_up(message)

    async def _join(self) -> None:
        host, pid, knows = socket.gethostname(), os.getpid(), self._knows()
        await self._database.write(lambda: roster.join(self.id, host, pid, knows, self._serves))
        await self._database.write(fair_shares.forget)

    async def stop(self, *, grace: float | None = None) -> None:
        """Drain: claim nothing more, let running nodes end within `grace` seconds, then stop
        them; the jobs go back to the queue and go on elsewhere from their last checkpoint."""
        if self._abandoning is not None:
            await self._abandoning
            return
        self.running.is_stopping = True
        try:
            await self._queue.stop()
        except Exception:  # whatever it is, its jobs must be given back
            log.exception("worker %s: the end of its queue", self.id)
        await end(*self._loops)
        await self.running.drain(self._settings.grace if grace is None else grace)
        try:
            async with asyncio.timeout(SIGN_OFF):
                await self._sign_off()
        except (DatabaseError, TimeoutError) as error:
            why = str(error) or f"no answer within {SIGN_OFF:g} s"
            log.warning("worker %s could not sign off: %s", self.id, why)
        finally:
            self.let_go()

    async def _sign_off(self) -> None:
        await self.running.give_back()
        await self._database.write(lambda: roster.leave(self.id))

    def let_go(self) -> None:
        """Drop what says that this worker lives: it has ended, or its loop has, or never comes back.
        From any thread."""
        if self._pulse is not None:
            self._pulse.stop()
        self._held.close()

    @property
    def _ends(self) -> bool:
        return self._abandoning is not None or self.running.is_stopping

    def wake(self) -> None:
        self._queue.wake()
        for duty in self._duties:
            duty.wake()

    async def _abandon(self, message: str) -> None:
        """Stop at once and write nothing: this worker was declared lost."""
        for loop in self._loops:
            loop.cancel()
        tasks = self.running.abandon()
        try:
            await self._queue.stop()
            if tasks:
                await asyncio.wait(tasks, timeout=self._settings.grace)
        except Exception:  # whatever it is, a new worker must come
            log.exception("worker %s: its end", self.id)
        self.let_go()
        self._on_lost(message)

    # ------------------------------------------------------------ the loops

    async def _every(self, pause: float, look: Callable[[], Awaitable[None]]) -> None:
        async def turn() -> float:
            await look()
            return pause

        await asyncio.sleep(pause)
        await repeat(turn, name=f"worker {self.id}", log=log, again=pause)

    async def _beat(self) -> None:
        if await self._database.touch(lambda: roster.beat(self.id)):
            if self._live.is_listened_to:
                await self.hear_listeners()  # the lease of one may have ended
            return
        self._declared_lost()

    def _declared_lost(self) -> None:
        if self._ends:
            return
        message = LOST.format(lease=self._settings.lease)
        log.error("worker %s: %s", self.id, message)
        self._give_up(message)

    def _give_up(self, message: str) -> None:
        self.running.is_lost = True
        self._abandoning = asyncio.create_task(self._abandon(message), name="ucop-abandon")

    async def watch(self) -> None:
        """Something was written: it may be about this worker's attempts, or who follows them."""
        if self.running.attempts:
            await self.running.watch()
            await self.hear_listeners()

    async def hear_listeners(self) -> None:
        """Let what runs emit what somebody listens to, and nothing else."""
        if self.running.attempts:
            self._live.listen(await self._database.read(lambda: live_rows.modes_on(self.id)))

    async def _sweep(self) -> None:
        """Take up what nobody runs any more."""
        taken = await self._takeover.look()
        await self.running.release_forgotten(self._queue)
        await self._expire_questions()
        await self._expire()
        await self._queue.repair(self._takeover.lives)
        if taken:
            self._queue.wake()

    async def _expire(self) -> None:
        """Fail the jobs whose deadline passed while nobody worked on them."""
        for job in await self._database.read(lambda: overdue.late_jobs()):
            await self._database.write(partial(overdue.expire_job, job))
            self._notices.tell(job)

    async def _expire_questions(self) -> None:
        for job in await self._database.read(lambda: overdue.waiting(EXPIRED_AT_ONCE)):
            # A person, or another worker, may be faster.
            with contextlib.suppress(RefusedChange, JobNotFound):
                await self._database.write(partial(overdue.expire_questions, job))
            self._notices.tell(job)
            self._queue.wake()

    async def _tidy(self) -> None:
        """See to a few jobs whose time in the database is over."""
        await carry_out(self._database, self._settings.retention, BATCH)

    async def _drop_stale(self) -> None:
        """What jobs have emitted, once nobody can want it any more."""
        keep = self._settings.live.keep
        jobs, gone = await self._database.read(lambda: live_rows.stale(keep))
        if jobs or gone:
            await self._database.write(lambda: live_rows.drop(jobs))
