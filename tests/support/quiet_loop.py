"""An event loop that runs until nothing is left to do, with a clock of its own.

    loop = QuietLoop()
    loop.complete(work())        # runs `work`, and all that it leads to
    loop.settle()                # runs what was set free since

Time stands still while anything can run, and jumps over short waits when nothing can: so tests
of timed work neither wait nor depend on how fast the machine is. Connections and threads are
waited for in real time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HORIZON = 0.5
"""Seconds of waiting that are jumped over; what waits longer counts as doing nothing."""

MOST_JUMPS = 1000
"""Jumps after which a loop counts as one that never comes to rest."""

LOOK = 0.05
"""Real seconds between two looks while a connection or a thread is waited for."""


class _Selector(selectors.DefaultSelector):
    loop: QuietLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self.loop.outside or len(self.get_map()) > 1:  # one is the loop's own
            return super().select(LOOK)
        if events := super().select(0):
            return events
        if timeout is None or timeout > HORIZON:
            self.loop.stop()
        else:
            self.loop.jump(timeout)
        return []


class QuietLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        self.outside = 0
        """Calls that run in threads."""
        self._jumps = 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def jump(self, seconds: float) -> None:
        self.now += seconds
        self._jumps += 1
        assert self._jumps < MOST_JUMPS, "something is tried again and again, and leads nowhere"

    def settle(self) -> None:
        """Run until nothing is left to do."""
        self._jumps = 0
        self.run_forever()

    def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` and all that it leads to; its result. Raises AssertionError where it waits
        for what nobody does."""
        task = self.create_task(work)
        self.settle()
        if not task.done():
            where = task.get_stack()
            task.cancel()
            self.settle()
            raise AssertionError(f"waits for ever: {where}")
        return task.result()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self.outside += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, future: Any) -> None:
        self.outside -= 1

    def finish(self) -> None:
        """Cancel what still runs, and close."""
        tasks = asyncio.all_tasks(self)
        for task in tasks:
            task.cancel()
        self.settle()
        self.outside += 1  # the executor's threads end in one more
        self.run_until_complete(self.shutdown_default_executor())
        self.close()
