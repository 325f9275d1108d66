"""Threads whose time has passed are deleted, with their jobs."""

from __future__ import annotations

import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING

from ..dialect import dialect_of
from ..errors import RefusedChange, ThreadNotFound
from ..ledger import thread_rows
from ..loop.duty import repeat
from .commands import delete_expired

if TYPE_CHECKING:
    from ..database.database import Database

log = logging.getLogger("ucop.threads")

BATCH = 20
"""Threads that are deleted before the loop does other work."""


class Expiry:
    """The duty of a worker that deletes them.

    Args:
        pause: Seconds between two looks.
    """

    name = "expiry of threads"

    def __init__(self, database: Database, pause: float) -> None:
        self._database, self._pause = database, pause

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        await repeat(self._look, name=self.name, log=log, again=self._pause)

    def wake(self) -> None:
        """What was written now expires later."""

    async def _look(self) -> float:
        due = await self._database.read(lambda: thread_rows.expired(BATCH))
        tables = dialect_of(self._database.url).tables
        for thread in due:
            # Other workers do the same, and a person may have given it more time.
            with contextlib.suppress(ThreadNotFound, RefusedChange):
                await self._database.write(partial(delete_expired, tables, thread))
        return 0.0 if len(due) == BATCH else self._pause
