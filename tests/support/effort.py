"""How much work something is, in a unit that does not depend on the machine's speed or load."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

ROUNDS = 200_000


def effort(work: Callable[[], Any], *, tries: int = 3) -> float:
    """CPU that `work` takes, in yardsticks: a loop of 200,000 rounds timed beside it.

    The loop is timed right before and after, and the least of some tries counts, so that a slow or
    busy machine slows both alike. One yardstick is about 10 ms of a core of 2024.
    """
    return min(_once(work) for _ in range(tries))


def _once(work: Callable[[], Any]) -> float:
    before = _cpu(_yardstick)
    taken = _cpu(work)
    return taken / max(before, _cpu(_yardstick))


def _yardstick() -> int:
    total = 0
    for number in range(ROUNDS):
        total += number & 7
    return total


def _cpu(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
