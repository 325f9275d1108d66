"""The queue wakes workers; whose turn it is says the ledger (order.py), by one rule.

Two implementations behind one contract: the embedded one, where the ledger itself is the
queue (SQLite), and DBOS (PostgreSQL).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..ledger.records import Claimed

Run = Callable[[Claimed], asyncio.Task[None]]
"""Begins to run one claimed attempt; the task never raises."""


class Queue(Protocol):
    """One worker's end of the queue. Lives on the engine's loop."""

    async def start(self, run: Run) -> None:
        """Begin to claim attempts, and hand each to `run`."""

    async def stop(self) -> None:
        """Claim nothing more. Attempts that run go on."""

    def wake(self) -> None:
        """There may be work: look now instead of at the next poll."""

    def is_claiming(self, job: str, attempt: int) -> bool:
        """Whether this attempt is being claimed: the ledger may say so already."""

    async def repair(self, alive: Callable[[str], Awaitable[bool]]) -> None:
        """Clear away what dead workers left in the queue, and look for jobs that it lost.
        `alive` tells whether a worker lives."""
