"""Cancelling tasks, and whether one was cancelled."""

from __future__ import annotations

import asyncio
from typing import Any


def is_cancelled() -> bool:
    """Whether somebody cancelled this task: code may also raise CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def end(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks, and wait until they have ended, however they do."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
