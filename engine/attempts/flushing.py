"""What follows from what an attempt's journal is told: steps are counted, readers are woken, and notes that
no checkpoint takes along are written alone."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import DatabaseError, Superseded
from ..journal.observer import Observer

if TYPE_CHECKING:
    from ..checkpoints.savers import FencedSaver
    from ..journal.journal import Journal
    from .limits import AttemptLimits

log = logging.getLogger("ucop.runner")

FLUSH_AFTER = 0.02
"""Seconds that a note may wait for a checkpoint to ride with, before it is written alone."""

FLUSH_AGAIN = 1.0
"""Seconds before notes that the database did not take are tried again."""

PATIENCE = 0.2
"""Longest wait, in seconds, while the loop is busy with other jobs."""

PUNCTUAL = 0.001
"""Seconds that a timer is late on a loop with nothing else to do."""


class Pace:
    """How long notes wait, on one worker's loop. While the loop is busy with other jobs a
    checkpoint that they can ride with is near, and each write of their own would delay all."""

    def __init__(self) -> None:
        self._late = 0.0

    def wait(self) -> float:
        """Seconds that a note may wait from now on."""
        return min(FLUSH_AFTER + 20 * self._late, PATIENCE)

    def was_late(self, seconds: float) -> None:
        """A timer came so much later than it was due."""
        self._late += (max(seconds - PUNCTUAL, 0.0) - self._late) / 8


class Flushing(Observer):
    """Of one attempt. On the engine's loop. `on_commit` is called after each commit of events."""

    journal: Journal
    saver: FencedSaver
    """Both are set before anything is noted."""

    def __init__(
        self, pace: Pace, limits: AttemptLimits | None, on_commit: Callable[[], None]
    ) -> None:
        self._pace, self._limits, self._on_commit = pace, limits, on_commit
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def begins(self, node: str) -> None:
        """Raises StepsUsedUp."""
        if self._limits is not None:
            self._limits.begin_step(node)

    def committed(self) -> None:
        self._on_commit()

    def noted(self) -> None:
        if self._timer is None and self._task is None and not self._ended:
            self._in(self._pace.wait())

    async def end(self) -> None:
        """Nothing is flushed from now on: what a flush that is under way has written must not
        be written again at the end, and what can be written no more is not tried forever."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is not None:
            await asyncio.wait([self._task])

    def _in(self, seconds: float) -> None:
        # The timer itself may not know when it is due: uvloop makes one that is due at once, and
        # on a crowded machine that is any, into a call without a time.
        due = self._loop.time() + seconds
        self._timer = self._loop.call_at(due, self._begin, due)

    def _begin(self, due: float) -> None:
        self._timer = None
        self._pace.was_late(self._loop.time() - due)
        first = self.journal.noted_at
        if first is None:
            return
        if (left := first + self._pace.wait() - time.monotonic()) > FLUSH_AFTER:
            # Others rode with a checkpoint meanwhile; these have just come.
            self._in(left)
            return
        self._task = asyncio.ensure_future(self._flush())

    async def _flush(self) -> None:
        # The next checkpoint meets the same errors and ends the attempt; here they are only told.
        failed = False
        try:
            await self.saver.flush()
        except Superseded as error:
            log.debug("job %s: notes not written: %s", self.journal.job_id, error)
            self._ended = True
        except DatabaseError as error:
            log.debug("job %s: notes not written yet: %s", self.journal.job_id, error)
            failed = True
        finally:
            self._task = None
        if failed and not self._ended:
            self._in(FLUSH_AGAIN)
        elif self.journal.noted_at is not None:
            self.noted()
