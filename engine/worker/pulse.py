"""A thread that speaks for a worker whose loop is blocked.

Code that blocks in an `async` node holds up every job of its worker, and the heartbeat with them.
The jobs beside it must not lose their worker for that: while the loop does not answer, this thread
gives the heartbeat, and tells in the log and the ledger which node blocks. It does so for a bounded
time: a loop that never comes back must not keep its jobs forever.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from types import FrameType

from ucop.agents.text.raised import text_of

from ..database.database import Database
from ..jobs.failure import is_own
from ..jobs.job import WorkerId
from ..ledger import workers
from ..loop.at_work import AtWork
from ..values.json_text import shown_json

log = logging.getLogger("ucop.worker")

LEASES = 10
"""Leases for which a worker whose loop is blocked keeps its jobs."""

LONGEST_TICK = 2.0
"""Most seconds between two signs of life of a loop."""

LATE = 3
"""Ticks that a loop may miss before it counts as blocked: a crowded machine is no blocked loop."""


@dataclass(frozen=True, kw_only=True)
class Blocked:
    """What blocks a worker's loop, as the ledger keeps it."""

    job: str | None
    node: str | None
    place: str | None
    """File and line in the user's own code."""
    seconds: float
    """For how long, when the ledger was told: with the heartbeat."""

    def in_words(self) -> str:
        node = f" in node {self.node} of job {self.job}" if self.node else ""
        place = f" (at {self.place})" if self.place else ""
        return f"the loop is blocked{node} for {self.seconds:.0f} s{place}"


class Pulse:
    """Starts on the loop that it watches; `stop` ends it."""

    def __init__(
        self,
        worker: WorkerId,
        database: Database,
        lease: float,
        *,
        on_lost: Callable[[], None],
        on_end: Callable[[str], None],
    ) -> None:
        """`on_lost` is called on the loop, once it answers, if the worker was declared lost
        meanwhile; `on_end` on this thread, if the loop was blocked for too long."""
        self._worker, self._database, self._lease = worker, database, lease
        self._on_lost, self._on_end = on_lost, on_end
        self._tick = min(LONGEST_TICK, lease / 5)
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._alive_at = time.monotonic()
        self._ends = threading.Event()
        self._timer: asyncio.Handle | None = None
        self._again: float | None = None
        """For how long the loop will have been blocked when that is logged again."""
        self._thread = threading.Thread(target=self._watch, name="ucop-pulse", daemon=True)

    def start(self) -> None:
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._alive_at = time.monotonic()
        self._timer = self._loop.call_later(self._tick, self._beat)

    def _watch(self) -> None:
        spoke = 0.0
        while not self._ends.wait(self._tick):
            late = time.monotonic() - self._alive_at
            if late < self._tick * (LATE + 1):
                self._again = None
                continue
            if late > LEASES * self._lease:
                return self._give_up(late)
            blocked = self._blocked(late)
            self._log(blocked, late)
            if time.monotonic() - spoke >= self._lease / 5:
                spoke = time.monotonic()
                self._speak(blocked)
        return None

    def _log(self, blocked: Blocked, late: float) -> None:
        if self._again is None or late >= self._again:
            self._again = 2 * late
            words = blocked.in_words()
            log.warning("worker %s: %s; all its jobs wait for that", self._worker, words)

    def _speak(self, blocked: Blocked) -> None:
        told = shown_json(asdict(blocked))
        try:
            lives = self._database.write_apart(lambda: workers.speak(self._worker, told))
        except Exception as error:  # noqa: BLE001 - tried again; without it the worker is lost
            log.error("worker %s: no heartbeat: %s", self._worker, text_of(error))
            return
        if not lives:
            self._ends.set()
            self._loop.call_soon_threadsafe(self._on_lost)

    def _give_up(self, late: float) -> None:
        words = self._blocked(late).in_words()
        why = f"{words}, and its worker waits no longer than {LEASES * self._lease:g} s"
        log.critical("worker %s: %s", self._worker, why)
        self._on_end(why)

    def _blocked(self, late: float) -> Blocked:
        task = asyncio.current_task(self._loop)
        work: AtWork | None = getattr(task.get_coro(), "at_work", None) if task else None
        return Blocked(
            job=work.job if work else None,
            node=work.node if work else None,
            place=_place(sys._current_frames().get(self._loop_thread)),
            seconds=late,
        )


def _place(frame: FrameType | None) -> str | None:
    while frame is not None:
        if is_own(frame):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return None
