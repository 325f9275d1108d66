"""What goes on in the background as long as an engine or its worker lives: one loop for all of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..errors import DatabaseError
from .cancellation import is_cancelled


class Duty(Protocol):
    """Something that goes on as long as a worker lives, beside its attempts."""

    name: str

    async def run(self) -> None:
        """Go on until cancelled."""

    def wake(self) -> None:
        """Something was written."""


async def repeat(
    look: Callable[[], Awaitable[float]],
    *,
    name: str,
    log: logging.Logger,
    again: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Look, sleep for the seconds that `look` returns, and look again, until cancelled.

    Whatever `look` raises is logged, and followed by a pause of `again` seconds: a loop that ended
    in silence would leave jobs stuck. So would one that code ends by a CancelledError of its own.
    """
    while True:
        try:
            pause = await look()
        except DatabaseError as error:
            log.error("%s: %s", name, error)
            pause = again
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            log.exception("%s", name)
            pause = again
        await sleep(pause)
