"""Wakes whoever waits for news of a job."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class Notices:
    """Waiters by job. Lives on the engine's loop.

    A waiter first subscribes, then reads the ledger, then waits: so it misses nothing that
    is told between its read and its wait.
    """

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._following: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._trouble: dict[str, Exception] = {}
        self._anyone: tuple[Callable[[], None], ...] = ()
        self._changing = threading.Lock()

    def listen(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have something called, on the loop, when events of any job were committed, until what
        this returns is called. From any thread; `call` must return at once."""
        with self._changing:
            self._anyone = (*self._anyone, call)

        def forget() -> None:
            with self._changing:
                self._anyone = tuple(other for other in self._anyone if other is not call)

        return forget

    def subscribe(self, job_id: str) -> AbstractContextManager[asyncio.Event]:
        """Hear when the job's status changes."""
        return _listed(self._waiting, job_id)

    def follow(self, job_id: str) -> AbstractContextManager[asyncio.Event]:
        """Hear of every event."""
        return _listed(self._following, job_id)

    def tell_events(self, job_id: str) -> None:
        """Events of this job were committed in this process."""
        for call in self._anyone:
            call()
        for event in self._following.get(job_id, ()):
            event.set()

    def tell(self, job_id: str) -> None:
        """This job's status was changed in this process."""
        self.tell_events(job_id)
        for event in self._waiting.get(job_id, ()):
            event.set()

    def tell_all(self) -> None:
        """Another process committed something."""
        for call in self._anyone:
            call()
        for events in (*self._waiting.values(), *self._following.values()):
            for event in events:
                event.set()

    def trouble(self, job_id: str, error: Exception) -> None:
        """An attempt of this job broke off for a reason that is not the job's own (the disk
        is full, say). Who waits for the job here is told; the job itself goes on later."""
        if job_id in self._waiting or job_id in self._following:
            self._trouble[job_id] = error
            self.tell(job_id)

    def take_trouble(self, job_id: str) -> Exception | None:
        return self._trouble.pop(job_id, None)


@contextmanager
def _listed(
    listeners: defaultdict[str, set[asyncio.Event]], job_id: str
) -> Iterator[asyncio.Event]:
    event = asyncio.Event()
    listeners[job_id].add(event)
    try:
        yield event
    finally:
        listening = listeners[job_id]
        listening.discard(event)
        if not listening:
            del listeners[job_id]
