"""Wakes whoever waits for news of a job."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Notices:
    """Waiters by job. Lives on the engine's loop.

    A waiter first subscribes, then reads the ledger, then waits: so it misses nothing that
    is told between its read and its wait.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._trouble: dict[str, Exception] = {}

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._waiting[job_id].add(event)
        try:
            yield event
        finally:
            waiting = self._waiting[job_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[job_id]

    def tell(self, job_id: str) -> None:
        """Something about this job was committed in this process."""
        for event in self._waiting.get(job_id, ()):
            event.set()

    def tell_all(self) -> None:
        """Another process committed something."""
        for events in self._waiting.values():
            for event in events:
                event.set()

    def trouble(self, job_id: str, error: Exception) -> None:
        """An attempt of this job broke off for a reason that is not the job's own (the disk
        is full, say). Who waits for the job here is told; the job itself goes on later."""
        if job_id in self._waiting:
            self._trouble[job_id] = error
            self.tell(job_id)

    def take_trouble(self, job_id: str) -> Exception | None:
        return self._trouble.pop(job_id, None)

    def __bool__(self) -> bool:
        return bool(self._waiting)
