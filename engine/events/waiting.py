"""Waiting for one job: until it rests, or for its next events."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from ..errors import ResultTimeout
from ..jobs.status import ACTIVE
from ..ledger import reads
from .subscriptions import LOOK_AGAIN

if TYPE_CHECKING:
    from ..database.database import Database
    from ..jobs.job import Event, JobId
    from ..ledger.reads import Rest
    from ..notices import Notices

EVENT_PAGE = 500
"""Events read at once."""


class Waiting:
    """On the engine's loop. What breaks off an attempt of the job in this process is raised here."""

    def __init__(self, database: Database, notices: Notices) -> None:
        self._database, self._notices = database, notices

    async def rest(self, id: JobId, timeout: float | None) -> Rest:
        """Wait until the job rests. Raises ResultTimeout."""
        with self._notices.subscribe(id) as news:
            try:
                async with asyncio.timeout(timeout):
                    while True:
                        news.clear()
                        rest = await self._read(id)
                        if rest.status not in ACTIVE:
                            return rest
                        self._raise_trouble(id)
                        await news.wait()
            except TimeoutError:
                raise ResultTimeout(
                    f"job {id} did not end within {timeout:g} s; it goes on. "
                    f"`ucop jobs watch {id}` shows it"
                ) from None

    async def events(self, id: JobId, after: int) -> tuple[list[Event], bool]:
        """A page of events above `after`, waiting for at least one, and whether it is the last
        page of a job that rests."""
        with self._notices.follow(id) as news:
            while True:
                news.clear()
                rests = (await self._read(id)).status not in ACTIVE
                page = await self._database.read(lambda: reads.events(id, after, EVENT_PAGE))
                self._raise_trouble(id)
                if page or rests:
                    return page, rests and len(page) < EVENT_PAGE
                # PostgreSQL notifies nobody of another process's checkpoints (changes.py).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN):
                        await news.wait()

    async def _read(self, id: JobId) -> Rest:
        return await self._database.read(lambda: reads.rest(id))

    def _raise_trouble(self, id: JobId) -> None:
        if (trouble := self._notices.take_trouble(id)) is not None:
            raise trouble
