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
from pathlib import Path
from typing import TYPE_CHECKING

from ucop.agents.models.interceptor import Interceptors
from ucop.agents.text.raised import escaped, text_of, type_of
from ucop.graphs.nodes.breaker import BreakerRules

from ..checkpoints.savers import FencedSaver, saver_of
from ..database.database import Database
from ..errors import (
    DatabaseError,
    DatabaseRefusal,
    JobNotFound,
    RefusedChange,
    Superseded,
    UcopError,
)
from ..faults import fault
from ..jobs.failure import failure
from ..jobs.job import JobId, WorkerId
from ..jobs.status import Change, JobStatus
from ..ledger import lifecycle, live_rows, overdue
from ..ledger import workers as roster
from ..ledger.live_rows import Bounds
from ..ledger.records import PAUSE, PAUSE_NOW, Claimed, Outcome
from ..ledger.retention import BATCH
from ..live.writer import LiveChannel
from ..loop.cancellation import end, is_cancelled
from ..loop.duty import Duty, repeat
from ..notices import Notices
from ..queue import Queue, fair_shares
from ..stores.answers import KeptAnswers
from ..stores.mesh_calls import Meshes
from ..values.json_text import shown_json
from .attempt import Attempt, Drained, Pace
from .pulse import Pulse
from .retention import carry_out
from .takeover import Takeover

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage
    from ucop.agents.models.models import Models
    from ucop.graphs.workflow import Workflow

    from ..checkpoints.savers import FencedSaver
    from ..settings import Settings
    from ..stores.memory import JobStore

log = logging.getLogger("ucop.worker")

BEATS_PER_LEASE = 5
"""Heartbeats in one lease: so many must be missed before a worker counts as lost."""

EXPIRED_AT_ONCE = 50
"""Jobs whose questions expire in one sweep, so that the others of the sweep's duties have time."""

LAST = 30.0
"""Seconds that attempts which were stopped get to end in, before a worker ends without them."""

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
        self._database, self._settings, self._models = database, settings, models
        self._notices, self._workflow, self._knows = notices, workflow, knows
        self._serves = serves
        self._store = store
        self._interceptors = interceptors
        self._on_lost, self._on_end = on_lost, on_end
        self._saver: FencedSaver
        self._pulse: Pulse | None = None
        self._answers = KeptAnswers(database)
        rules = BreakerRules(failures=settings.mesh_failures, pause=settings.mesh_pause)
        self._meshes = Meshes(database, rules)
        self._live = LiveChannel(
            database,
            keep=Bounds(rows=settings.live.rows, bytes=settings.live.bytes),
            tell=on_live,
        )
        self._queue = queue(self.id)
        self._duties = duties(self.id)
        self._running: dict[tuple[JobId, int], tuple[Attempt, asyncio.Task[None]]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._held = ExitStack()
        self._stopping = False
        self._pace = Pace()
        self._abandoning: asyncio.Task[None] | None = None
        """Ends everything here, once this worker was declared lost."""
        self._takeover = Takeover(database, self.id, lease=settings.lease, tell=notices.tell)
        self._missing: set[tuple[str, int]] = set()
        self._broken: dict[tuple[str, int], str] = {}
        """Why attempts broke off whose jobs are not given back yet."""

    @property
    def folder(self) -> Path:
        return self._settings.root

    # ------------------------------------------------------------ start and stop

    async def start(self) -> None:
        self._held.enter_context(self._database.hold(self.id))
        self._saver = saver_of(self._database, self._settings.state.types)
        try:
            await self._join()
            await self._sweep()
            await self._queue.start(self._begin)
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
        beat = self._settings.lease / BEATS_PER_LEASE
        self._loops = [
            asyncio.create_task(self._every(beat, self._beat), name="ucop-heartbeat"),
            asyncio.create_task(self._every(self._settings.sweep, self._sweep), name="ucop-sweep"),
            *(asyncio.create_task(duty.run(), name=f"ucop-{duty.name}") for duty in self._duties),
        ]
        self._loops.append(asyncio.create_task(self._drop_stale(), name="ucop-live-retention"))
        if not self._settings.retention.is_none:
            # Apart from the sweep, which must not wait for it.
            tidy = self._every(self._settings.sweep, self._tidy)
            self._loops.append(asyncio.create_task(tidy, name="ucop-retention"))
        for loop in self._loops:
            loop.add_done_callback(self._ended_early)

    def _ended_early(self, loop: asyncio.Task[None]) -> None:
        """One of the loops ended that go on as long as the worker: without it jobs would hang."""
        if self._stopping or self._abandoning is not None:
            return
        error = None if loop.cancelled() else loop.exception()
        why = "it was cancelled" if loop.cancelled() else error and text_of(error)
        message = f"this worker cannot go on: its loop {loop.get_name()!r} ended ({why})"
        log.critical("worker %s: %s", self.id, message, exc_info=error)
        self._abandoning = asyncio.create_task(self._abandon(message), name="ucop-abandon")

    async def _join(self) -> None:
        host, pid = socket.gethostname(), os.getpid()
        knows = self._knows()
        serves = self._serves
        await self._database.write(lambda: roster.join(self.id, host, pid, knows, serves))
        await self._database.write(fair_shares.forget)

    async def stop(self, *, grace: float | None = None) -> None:
        """Drain: claim nothing more, let running nodes end within `grace` seconds, then stop
        them; the jobs go back to the queue and go on elsewhere from their last checkpoint."""
        if self._abandoning is not None:
            await self._abandoning
            return
        self._stopping = True
        try:
            await self._queue.stop()
        except Exception:  # whatever it is, its jobs must be given back
            log.exception("worker %s: the end of its queue", self.id)
        await end(*self._loops)
        await self._drain(self._settings.grace if grace is None else grace)
        try:
            async with asyncio.timeout(SIGN_OFF):
                await self._sign_off()
        except (DatabaseError, TimeoutError) as error:
            why = str(error) or f"no answer within {SIGN_OFF:g} s"
            log.warning("worker %s could not sign off: %s", self.id, why)
        finally:
            self._end_pulse()
            self._held.close()

    def _end_pulse(self) -> None:
        if self._pulse is not None:
            self._pulse.stop()

    async def _sign_off(self) -> None:
        for job, number in list(self._running):
            log.error("job %s: attempt %d does not end, and is given back as it is", job, number)
            await self._release(job, number, "the worker was stopped")
        await self._database.write(lambda: roster.leave(self.id))

    async def _drain(self, grace: float) -> None:
        tasks = [task for _, task in self._running.values()]
        for attempt, _ in self._running.values():
            attempt.control.request_drain()
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for attempt, task in list(self._running.values()):
            _cancel(attempt, task)
        if self._running:
            await asyncio.wait([task for _, task in self._running.values()], timeout=LAST)

    def wake(self) -> None:
        self._queue.wake()
        for duty in self._duties:
            duty.wake()

    def let_go(self) -> None:
        """The loop has ended, or never comes back: drop what says that this worker lives. From any
        thread."""
        self._end_pulse()
        self._held.close()

    async def _abandon(self, message: str) -> None:
        """Stop at once and write nothing: this worker was declared lost."""
        self._stopping = True
        for loop in self._loops:
            loop.cancel()
        tasks = [task for _, task in self._running.values()]
        for attempt, task in list(self._running.values()):
            _cancel(attempt, task)
        try:
            await self._queue.stop()
            if tasks:
                await asyncio.wait(tasks, timeout=self._settings.grace)
        except Exception:  # whatever it is, a new worker must come
            log.exception("worker %s: its end", self.id)
        self._end_pulse()
        self._held.close()
        self._on_lost(message)

    # ------------------------------------------------------------ one attempt

    def _begin(self, claimed: Claimed) -> asyncio.Task[None]:
        """Run a claimed attempt and write how it ended, in a task that never raises."""
        fault("after claim")
        log.info("job %s: attempt %d runs (%s)", claimed.job_id, claimed.attempt, claimed.workflow)
        self._notices.tell(claimed.job_id)
        attempt = Attempt(
            claimed=claimed,
            on_news=self._notices.tell_events,
            answers=self._answers,
            calls=self._meshes.calls_of(claimed.job_id, claimed.attempt),
            memory=self._store.memory(self._settings.memory.project, claimed.tenant),
            store=self._store,
            production=self._settings.mode == "production",
            live=self._live.open(claimed.job_id, claimed.attempt, claimed.listened),
            pace=self._pace,
            interceptors=self._interceptors,
        )
        key = (claimed.job_id, claimed.attempt)
        task = asyncio.create_task(self._execute(attempt))
        self._running[key] = (attempt, task)
        task.add_done_callback(partial(self._ended, key))
        if self._abandoning is not None:
            _cancel(attempt, task)  # and where the worker only stops, it drains this one too
        return task

    def _ended(self, key: tuple[JobId, int], task: asyncio.Task[None]) -> None:
        _ = task.cancelled() or task.exception()
        self._running.pop(key, None)
        self._live.shut(*key)
        self._notices.tell(key[0])

    def spending(self, job: JobId) -> dict[str, Usage]:
        """What the open nodes of a job that runs here have spent so far."""
        spent: dict[str, Usage] = {}
        for (running, _), (attempt, _) in self._running.items():
            if running == job:
                for node, usage in attempt.spending():
                    spent[node] = spent[node] + usage if node in spent else usage
        return spent

    async def _execute(self, attempt: Attempt) -> None:
        claimed = attempt.claimed
        job, number = claimed.job_id, claimed.attempt
        try:
            outcome = await self._outcome(attempt)
            fault("before finish")
            status = await self._finish(job, number, outcome)
            fault("after finish")
            log.info("job %s: %s", job, status)
        except Drained:
            await self._release(job, number, "the worker was stopped")
        except asyncio.CancelledError as error:
            if not is_cancelled():  # code that is no node's raised it by itself
                self._broke_off(attempt, error)
                return
            if not (self._stopping or attempt.given_back):
                log.info("job %s: attempt %d was stopped", job, number)
                return
            await self._release(job, number, "the worker was stopped")
        except Superseded as error:
            log.error("%s", error)
        except DatabaseError as error:
            # The row stays as it is; the sweep queues the job again once the database works.
            self._broke_off(attempt, error)
            await self._tell_superseded(job, number)
        except BaseException as error:  # noqa: BLE001 - never let one job take the worker down
            self._broke_off(attempt, error)

    async def _finish(self, job: JobId, number: int, outcome: Outcome) -> JobStatus:
        """Write how an attempt ended. What the database refuses of it fails the job."""
        try:
            return await self._database.write(lambda: lifecycle.finish(job, number, outcome))
        except Superseded:
            raise
        except DatabaseError as error:
            if not isinstance(error, DatabaseRefusal):
                raise
            refused: Exception = error
        except Exception as error:  # noqa: BLE001 - too large for SQLite, or no text of its
            refused = error
        log.error("job %s: its end cannot be written: %s", job, text_of(refused))
        failed = _failure(refused)
        return await self._database.write(lambda: lifecycle.finish(job, number, failed))

    def _broke_off(self, attempt: Attempt, error: BaseException) -> None:
        """An attempt ended for no fault of its graph's; the sweep gives its job back."""
        job, number = attempt.claimed.job_id, attempt.claimed.attempt
        trace = None if isinstance(error, DatabaseError) else error
        log.error("job %s: attempt %d broke off: %s", job, number, text_of(error), exc_info=trace)
        self._broken[(job, number)] = f"{type_of(error)}: {text_of(error)}"
        told = error if isinstance(error, Exception) else escaped(error)
        self._notices.trouble(job, told)

    async def _tell_superseded(self, job: JobId, number: int) -> None:
        """An attempt that lost its connection may have lost it because its worker was taken
        for dead, and another attempt has the job: then the log says that too."""
        with contextlib.suppress(DatabaseError):
            mine = await self._database.read(lambda: roster.wanted(self.id))
            if mine.get(job, (0, None))[0] != number:
                log.error("%s", lifecycle.superseded(job, number))

    async def _outcome(self, attempt: Attempt) -> Outcome:
        try:
            workflow = await self._workflow(attempt.claimed.fingerprint, attempt.claimed.job_id)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            if isinstance(error, DatabaseError) and error.place == self._saver.place:
                raise  # not the job's fault: it goes on when the database works
            # A graph that cannot be built fails its job; tried again for ever it would only
            # keep the workers busy.
            if not isinstance(error, UcopError):
                log.error(
                    "job %s: its workflow cannot be built", attempt.claimed.job_id, exc_info=error
                )
            return _failure(error)
        return await attempt.run(
            workflow,
            saver=self._saver,
            models=self._models,
            folder=self.folder,
        )

    async def _release(self, job: JobId, number: int, why: str, *, broke_off: bool = False) -> None:
        if self._abandoning is not None:
            log.error("job %s: attempt %d was stopped; this worker was declared lost", job, number)
            return
        try:
            status = await self._database.write(
                lambda: lifecycle.release(job, number, why, lost=False, broke_off=broke_off)
            )
        except DatabaseError as error:
            if broke_off:
                self._broken[(job, number)] = why
            log.error("job %s: could not be given back: %s", job, error)
            return
        if status is JobStatus.FAILED:
            log.error("job %s: failed, because its attempts break off: %s", job, why)

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
        if self._abandoning is not None or self._stopping:
            return
        message = LOST.format(lease=self._settings.lease)
        log.error("worker %s: %s", self.id, message)
        self._abandoning = asyncio.create_task(self._abandon(message), name="ucop-abandon")

    async def watch(self) -> None:
        """See to what the ledger wants of this worker's attempts: stop those that are no longer
        its own, drain those that shall pause. Called when something was written."""
        # What runs is noted before the ledger is asked: an attempt that is claimed meanwhile
        # is not in its answer.
        running = list(self._running.items())
        if not running:
            return
        mine = await self._database.read(lambda: roster.wanted(self.id))
        for (job, number), (attempt, task) in running:
            held, want = mine.get(job, (0, None))
            if held != number:
                _cancel(attempt, task)
            elif want == PAUSE:
                attempt.control.request_drain("pause")
            elif want == PAUSE_NOW:
                attempt.given_back = True
                _cancel(attempt, task)
        await self.hear_listeners()

    async def hear_listeners(self) -> None:
        """Let what runs emit what somebody listens to, and nothing else."""
        if self._running:
            self._live.listen(await self._database.read(lambda: live_rows.modes_on(self.id)))

    async def _sweep(self) -> None:
        """Take up what nobody runs any more."""
        taken = await self._takeover.look()
        await self._release_forgotten()
        await self._expire_questions()
        await self._expire()
        await self._queue.repair(self._takeover.lives)
        if taken:
            self._queue.wake()

    async def _expire(self) -> None:
        """Fail the jobs whose deadline passed while nobody worked on them."""
        for job in await self._database.read(lambda: lifecycle.expired()):
            await self._database.write(partial(lifecycle.expire, job))
            self._notices.tell(job)

    async def _expire_questions(self) -> None:
        for job in await self._database.read(lambda: overdue.waiting(EXPIRED_AT_ONCE)):
            # A person, or another worker, may be faster.
            with contextlib.suppress(RefusedChange, JobNotFound):
                await self._database.write(partial(overdue.expire, job))
            self._notices.tell(job)
            self._queue.wake()

    async def _tidy(self) -> None:
        """See to a few jobs whose time in the database is over."""
        await carry_out(self._database, self._settings.retention, BATCH)

    async def _drop_stale(self) -> None:
        keep = self._settings.live.keep

        async def look() -> None:
            jobs, gone = await self._database.read(lambda: live_rows.stale(keep))
            if jobs or gone:
                await self._database.write(lambda: live_rows.drop(jobs))

        await self._every(min(max(keep / 10, self._settings.sweep), 60.0), look)

    async def _release_forgotten(self) -> None:
        """Attempts that the ledger gives to this worker, and that it does not run: the end of
        one could not be written. One that was only just claimed is not among `_running` yet,
        so an attempt must be missing twice."""
        missing = set()
        for job, number in await self._database.read(lambda: roster.running_on(self.id)):
            if (job, number) in self._running or self._queue.is_claiming(job, number):
                continue
            if (job, number) not in self._missing:
                missing.add((job, number))
                continue
            why = self._broken.pop((job, number), "its end could not be written")
            await self._release(JobId(job), number, why, broke_off=True)
            self._notices.tell(job)
            self._queue.wake()
        self._missing = missing


def _cancel(attempt: Attempt, task: asyncio.Task[None]) -> None:
    """Once only: a second time would break into what the first one ends in good order. Nodes
    that do not heed it are told again (stopping.py)."""
    if not task.cancelling():
        task.cancel()
        attempt.insist(task)


def _failure(error: BaseException) -> Outcome:
    return Outcome(change=Change.FAIL, error=shown_json(failure(error)))
