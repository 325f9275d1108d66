"""Waiting for what threads and other processes bring about.

No test is about a time: a deadline is far, and only ends a test that hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

DEADLINE = 120.0
"""Seconds after which a test gives up."""


class Deadline:
    """The moment at which a test gives up."""

    def __init__(self, seconds: float = DEADLINE) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def check(self, what: str, tell: Callable[[], object] = lambda: "") -> None:
        """Raises AssertionError once it has passed, with what was waited for and what `tell` says."""
        if time.monotonic() > self._end:
            raise AssertionError(f"waited {self._seconds:g} s for {what}\n{tell()}")


def until(
    condition: Callable[[], Any],
    what: str = "a condition",
    tell: Callable[[], object] = lambda: "",
    *,
    seconds: float = DEADLINE,
    longest: float = 0.05,
) -> Any:
    """Wait until something holds, and return it; look at least every `longest` seconds."""
    deadline, pause = Deadline(seconds), 0.001
    while not (value := condition()):
        deadline.check(what, tell)
        time.sleep(pause)
        pause = min(longest, pause * 1.5)
    return value
