"""A worker's look at the schedules: sleeps until one is due, and submits its job.

Every worker has one; schedules.py sees to it that one of them submits. Nothing here decides by
this process's clock: what time it is, the database says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ucop.agents.text.raised import text_of, type_of

from ..errors import DatabaseError, KeyConflict, UcopError, UnknownWorkflow
from ..faults import fault
from ..ledger.records import NewJob
from ..loop.cancellation import is_cancelled
from ..loop.duty import repeat
from . import schedules
from .recurrence import LATE, turn
from .schedules import Fired, Schedule, key_of, recurrence_of, told

if TYPE_CHECKING:
    from ..database.database import Database
    from .recurrence import Turn

log = logging.getLogger("ucop.scheduler")

LONGEST = 60.0
"""Seconds after which it looks in any case: clocks are set, machines sleep."""

AGAIN = 15.0
"""Seconds until what could not be submitted is tried again."""

Make = Callable[[Schedule, str], NewJob]
"""The job of a schedule under a key, by the project's workflow of now. Raises UcopError."""


class Scheduler:
    """Submits what is due. Lives on the engine's loop."""

    name = "schedules"

    def __init__(
        self,
        database: Database,
        *,
        make: Make,
        pause: float,
        on_job: Callable[[], None],
    ) -> None:
        """`pause` is the shortest time between two looks that news of
        other processes cause, in seconds; `on_job` is called when a job was submitted."""
        self._database, self._make = database, make
        self._pause, self._on_job = pause, on_job
        self._news = asyncio.Event()
        self._held: dict[str, float] = {}
        """Schedules whose job could not be made, and when (on the loop's clock) to try again."""

    def wake(self) -> None:
        """Something was written: a schedule, perhaps."""
        self._news.set()

    async def run(self) -> None:
        """Look, and sleep, until cancelled."""
        await repeat(self.look, name="schedules", log=log, again=AGAIN, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        # News come with every write of another process, so they are not followed at once.
        await asyncio.sleep(min(seconds, self._pause))
        try:
            async with asyncio.timeout(max(0.0, seconds - self._pause)):
                await self._news.wait()
        except TimeoutError:
            pass

    async def look(self) -> float:
        """Submit what is due; returns the seconds until there may be more to do."""
        self._news.clear()
        due, wait, now = await self._database.read(schedules.due)
        wait = min(wait, LONGEST)
        for schedule in due:
            assert schedule.next_at is not None
            wait = min(wait, await self._see_to(schedule, schedule.next_at.timestamp(), now))
        return wait

    async def _see_to(self, schedule: Schedule, at: float, now: float) -> float:
        """Seconds until this schedule is to be looked at again."""
        loop = asyncio.get_running_loop()
        if (held := self._held.get(schedule.name, 0.0)) > loop.time():
            return held - loop.time()
        try:
            await self._submit(schedule, at, now)
        except DatabaseError:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            # Noted; one schedule keeps no other back, whatever its workflow's code raises.
            await self._blame(schedule, error, now - at)
            self._held[schedule.name] = loop.time() + AGAIN
            return AGAIN
        self._held.pop(schedule.name, None)
        return 0.0

    async def _submit(self, schedule: Schedule, at: float, now: float) -> None:
        to_do = turn(recurrence_of(schedule), at, now, schedule.catch_up, schedule.catch_up_limit)
        skipped = _passed_over(schedule, at, to_do)
        if to_do.due is None:
            return await self._skip(schedule, None, to_do.next, skipped or "")
        due = to_do.due
        job = await asyncio.to_thread(self._make, schedule, key_of(schedule.name, due))
        fault("before schedule")
        try:
            fired = await self._database.write(
                lambda: schedules.fire(schedule, due, to_do.next, job, skipped=skipped)
            )
        except KeyConflict as error:
            return await self._skip(
                schedule, due, to_do.next, f"skipped the run due at {told(due)}: {error}"
            )
        fault("after schedule")
        if fired is not None:
            self._tell(schedule, due, fired)
        return None

    def _tell(self, schedule: Schedule, due: float, fired: Fired) -> None:
        if fired.skipped is not None:
            log.warning("schedule %s: %s", schedule.name, fired.skipped)
        if fired.job is not None:
            log.info("schedule %s: job %s for %s", schedule.name, fired.job, told(due))
            self._on_job()

    async def _skip(
        self, schedule: Schedule, due: float | None, next_at: float | None, why: str
    ) -> None:
        if await self._database.write(lambda: schedules.skip(schedule, due, next_at, why)):
            log.warning("schedule %s: %s", schedule.name, why)

    async def _blame(self, schedule: Schedule, error: BaseException, late: float) -> None:
        if isinstance(error, UnknownWorkflow) and late < LATE:
            return  # a worker of the project that has it may be about to submit
        if not isinstance(error, UcopError):
            log.exception("schedule %s", schedule.name, exc_info=error)
        text = f"{type_of(error)}: {text_of(error)}"
        if await self._database.write(lambda: schedules.blame(schedule, text)):
            log.error("schedule %s: what is due cannot be submitted: %s", schedule.name, text)


def _passed_over(schedule: Schedule, at: float, to_do: Turn) -> str | None:
    if not to_do.skipped:
        return None
    policy = f"catch-up: {schedule.catch_up}"
    if to_do.due is None:
        return f"skipped runs due since {told(at)} ({policy})"
    return f"skipped runs due between {told(at)} and {told(to_do.due)} ({policy})"
