"""The attempts that run on one worker, from their claim to their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from ucop.agents.text.raised import escaped, text_of, type_of

from ..attempts.attempt import Attempt, Drained, Equipment
from ..errors import DatabaseError, DatabaseRefusal, Superseded, UcopError
from ..faults import fault
from ..jobs.failure import failure
from ..jobs.job import JobId, WorkerId
from ..jobs.status import Change, JobStatus
from ..ledger import lifecycle
from ..ledger import workers as roster
from ..ledger.progress import superseded
from ..ledger.records import PAUSE, PAUSE_NOW, Claimed, Outcome
from ..loop.cancellation import is_cancelled
from ..values.json_text import shown_json

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage
    from ucop.graphs.workflow import Workflow

    from ..database.database import Database
    from ..live.writer import LiveChannel
    from ..notices import Notices
    from ..queue.queue import Queue
    from ..stores.mesh_calls import Meshes

log = logging.getLogger("ucop.worker")

LAST = 30.0
"""Seconds that attempts which were stopped get to end in, before a worker ends without them."""

_STOPPED = "the worker was stopped"


class Running:
    """Args:
    restore: A job's workflow as it was submitted with it, by its fingerprint.
    project: The name of the project's memory.
    """

    is_stopping = False
    """Whether the worker stops, and gives its jobs back."""
    is_lost = False
    """Whether the worker was declared lost, and writes nothing any more."""

    def __init__(
        self,
        worker: WorkerId,
        database: Database,
        notices: Notices,
        *,
        restore: Callable[[str, JobId], Awaitable[Workflow]],
        equipment: Equipment,
        meshes: Meshes,
        live: LiveChannel,
        project: str,
    ) -> None:
        self._worker, self._database, self._notices = worker, database, notices
        self._restore, self._equipment = restore, equipment
        self._meshes, self._live, self._project = meshes, live, project
        self.attempts: dict[tuple[JobId, int], tuple[Attempt, asyncio.Task[None]]] = {}
        self._missing: set[tuple[str, int]] = set()
        """Attempts that the ledger gives to this worker, and that did not run at the last look."""
        self._broken: dict[tuple[str, int], str] = {}
        """Why attempts broke off whose jobs are not given back yet."""

    def begin(self, claimed: Claimed) -> asyncio.Task[None]:
        """Run a claimed attempt and write how it ended, in a task that never raises."""
        fault("after claim")
        key = job, number = claimed.job_id, claimed.attempt
        log.info("job %s: attempt %d runs (%s)", job, number, claimed.workflow)
        self._notices.tell(job)
        attempt = Attempt(
            claimed=claimed,
            equipment=self._equipment,
            calls=self._meshes.calls_of(job, number),
            memory=self._equipment.store.memory(self._project, claimed.tenant),
            live=self._live.open(job, number, claimed.listened),
        )
        task = asyncio.create_task(self._execute(attempt))
        self.attempts[key] = (attempt, task)
        task.add_done_callback(partial(self._ended, key))
        if self.is_lost:
            _cancel(attempt, task)  # and if the worker only stops, it drains this one too
        return task

    def _ended(self, key: tuple[JobId, int], task: asyncio.Task[None]) -> None:
        _ = task.cancelled() or task.exception()
        self.attempts.pop(key, None)
        self._live.shut(*key)
        self._notices.tell(key[0])

    def spending(self, job: JobId) -> dict[str, Usage]:
        """What the open nodes of a job that runs here have spent so far."""
        spent: dict[str, Usage] = {}
        for (running, _), (attempt, _) in self.attempts.items():
            if running == job:
                for node, usage in attempt.spending():
                    spent[node] = spent[node] + usage if node in spent else usage
        return spent

    # ------------------------------------------------------------ stopping them

    async def drain(self, grace: float) -> None:
        """Let running nodes end within `grace` seconds, then stop them."""
        self.is_stopping = True
        for attempt, _ in self.attempts.values():
            attempt.control.request_drain()
        await self._wait(grace)
        self._cancel_all()
        await self._wait(LAST)

    async def give_back(self) -> None:
        """The jobs of those that do not end."""
        for job, number in list(self.attempts):
            log.error("job %s: attempt %d does not end, and is given back as it is", job, number)
            await self.release(job, number, _STOPPED)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Stop all at once, and write nothing; returns what ends now."""
        self.is_stopping = self.is_lost = True
        tasks = [task for _, task in self.attempts.values()]
        self._cancel_all()
        return tasks

    def _cancel_all(self) -> None:
        for attempt, task in list(self.attempts.values()):
            _cancel(attempt, task)

    async def _wait(self, seconds: float) -> None:
        if self.attempts:
            await asyncio.wait([task for _, task in self.attempts.values()], timeout=seconds)

    async def watch(self) -> None:
        """See to what the ledger wants of this worker's attempts: stop those that are no longer
        its own, drain those that are to pause. Called when something was written."""
        # What runs is noted before the ledger is asked: an attempt that is claimed meanwhile
        # is not in its answer.
        running = list(self.attempts.items())
        if not running:
            return
        mine = await self._database.read(lambda: roster.wanted(self._worker))
        for (job, number), (attempt, task) in running:
            held, want = mine.get(job, (0, None))
            if held != number:
                _cancel(attempt, task)
            elif want == PAUSE:
                attempt.control.request_drain("pause")
            elif want == PAUSE_NOW:
                attempt.given_back = True
                _cancel(attempt, task)

    # ------------------------------------------------------------ one attempt

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
            await self.release(job, number, _STOPPED)
        except asyncio.CancelledError as error:
            if not is_cancelled():  # code that is no node's raised it by itself
                self._broke_off(attempt, error)
                return
            if not (self.is_stopping or attempt.given_back):
                log.info("job %s: attempt %d was stopped", job, number)
                return
            await self.release(job, number, _STOPPED)
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
            mine = await self._database.read(lambda: roster.wanted(self._worker))
            if mine.get(job, (0, None))[0] != number:
                log.error("%s", superseded(job, number))

    async def _outcome(self, attempt: Attempt) -> Outcome:
        try:
            workflow = await self._restore(attempt.claimed.fingerprint, attempt.claimed.job_id)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            if isinstance(error, DatabaseError) and error.place == self._equipment.saver.place:
                raise  # not the job's fault: it goes on when the database works
            # A graph that cannot be built fails its job; tried again and again it would only
            # keep the workers busy.
            if not isinstance(error, UcopError):
                log.error(
                    "job %s: its workflow cannot be built", attempt.claimed.job_id, exc_info=error
                )
            return _failure(error)
        return await attempt.run(workflow)

    async def release(self, job: JobId, number: int, why: str, *, broke_off: bool = False) -> None:
        if self.is_lost:
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

    async def release_forgotten(self, queue: Queue) -> None:
        """Attempts that the ledger gives to this worker, and that it does not run: the end of
        one could not be written. One that was only just claimed is not among `attempts` yet,
        so an attempt must be missing twice."""
        missing = set()
        for job, number in await self._database.read(lambda: roster.running_on(self._worker)):
            if (job, number) in self.attempts or queue.is_claiming(job, number):
                continue
            if (job, number) not in self._missing:
                missing.add((job, number))
                continue
            why = self._broken.pop((job, number), "its end could not be written")
            await self.release(JobId(job), number, why, broke_off=True)
            self._notices.tell(job)
            queue.wake()
        self._missing = missing


def _cancel(attempt: Attempt, task: asyncio.Task[None]) -> None:
    """Once only: a second time would break into what the first one ends in good order. Nodes
    that do not heed it are told again (stopping.py)."""
    if not task.cancelling():
        task.cancel()
        attempt.insist(task)


def _failure(error: BaseException) -> Outcome:
    return Outcome(change=Change.FAIL, error=shown_json(failure(error)))
