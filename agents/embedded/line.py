"""Whose turn it is: one answer is generated at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL = 0.1
"""Seconds between two looks whether the client has hung up."""


class Line:
    """First come, first served: one answer is generated at a time."""

    def __init__(self) -> None:
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)

    @contextmanager
    def turn(self, meanwhile: Callable[[], None]) -> Iterator[None]:
        """Hold the model; `meanwhile` is called every POLL seconds of waiting."""
        ticket = threading.Event()
        with self._lock:
            self._waiting.append(ticket)
            self._waiting[0].set()
        try:
            while not ticket.wait(POLL):
                meanwhile()
            yield
        finally:
            with self._lock:
                self._waiting.remove(ticket)
                self._left.notify_all()
                if self._waiting:
                    self._waiting[0].set()

    def wait_until_empty(self, timeout: float) -> None:
        with self._left:
            self._left.wait_for(lambda: not self._waiting, timeout)
