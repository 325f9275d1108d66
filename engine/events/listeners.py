"""What hears of every event in one worker at a time: webhooks and plug-ins.

Each listener has a row with the position that it has come to, and the worker that serves it. A
worker holds it for a lease, on the database's clock, and renews that; when it is gone, another
goes on from the position. Operations, and the loop that all listeners share.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import DatabaseError
from ..ledger.operation import One, Operation
from ..loop.duty import repeat
from .subscriptions import Page, Wanted, page

if TYPE_CHECKING:
    from ..database.database import Database
    from ..jobs.job import WorkerId

log = logging.getLogger("ucop.events")

TOGETHER = 100
"""Events that are taken at once."""

GATHER = 0.2
"""Seconds for which news gather before they are looked at."""

LOOK_AGAIN = 5.0
"""Longest pause in seconds of who holds a listener; an open transaction may hold events back."""

_HELD = """
select position, case when worker is null or worker = :worker or held_until < {now}
    or not exists (select 1 from workers where workers.id = listeners.worker and lost = 0)
    then 1 else 0 end as free
from listeners where name = :name"""

_ADD = """
insert into listeners (name, position, held_until) values (:name, {settled}, 0)
on conflict (name) do nothing"""

_HOLD = """
update listeners set worker = :worker, held_until = {now} + :lease,
    position = case when worker = :worker and :reach > position then :reach else position end
where name = :name and (worker is null or worker = :worker or held_until < {now}
    or not exists (select 1 from workers where workers.id = listeners.worker and lost = 0))
returning position"""

_LET_GO = """
update listeners set worker = null, held_until = 0,
    position = case when :reach > position then :reach else position end
where name = :name and worker = :worker"""

_REACH = """
update listeners set position = :reach
where name = :name and worker = :worker and position < :reach returning position"""


def free(name: str, worker: str) -> Operation[bool]:
    """Whether this worker may serve a listener; a new one is free."""
    rows = yield One(_HELD, {"name": name, "worker": worker})
    return not rows or bool(rows[0]["free"])


def hold(name: str, worker: str, lease: float, reach: int) -> Operation[int | None]:
    """Serve a listener for a lease. Returns the position to go on behind, None where another
    worker has it. A listener that is new begins with what comes."""
    params = {"name": name, "worker": worker, "lease": lease, "reach": reach}
    rows = yield One(_HOLD, params)
    if not rows:
        yield One(_ADD, {"name": name})
        rows = yield One(_HOLD, params)
    return int(rows[0]["position"]) if rows else None


def reached(name: str, worker: str, reach: int) -> Operation[bool]:
    """All up to `reach` was seen to. False where another worker has the listener by now."""
    return bool((yield One(_REACH, {"name": name, "worker": worker, "reach": reach})))


def let_go(name: str, worker: str, reach: int) -> Operation[None]:
    """Another worker may have it."""
    yield One(_LET_GO, {"name": name, "worker": worker, "reach": reach})


@dataclass(frozen=True, kw_only=True)
class Post:
    """What every listener needs."""

    database: Database
    worker: WorkerId
    lease: float
    """Seconds for which a worker that gives no sign keeps a listener."""
    listen: Callable[[Callable[[], None]], Callable[[], None]]
    """Has something called on the loop whenever there are events."""


class Listener:
    """One listener's loop in one worker. Lives on the engine's loop; `serve` is what differs."""

    def __init__(self, name: str, post: Post, asked: Wanted) -> None:
        self.name, self._post, self._asked = name, post, asked
        self._news = asyncio.Event()
        self._reach = 0
        """How far the events were looked at; those that were not asked for are not written."""
        self._holds = False

    def wake(self) -> None:
        """There may be events."""
        self._news.set()

    async def run(self) -> None:
        """Go on until cancelled; then let another worker have it."""
        deaf = self._post.listen(self._news.set)
        try:
            await repeat(self._round, name=self.name, log=log, again=LOOK_AGAIN, sleep=self._sleep)
        finally:
            deaf()
            await self._let_go()

    async def serve(self, found: Page) -> float:
        """See to some events, and note with `reached` how far. Returns the longest pause until
        the next look, in seconds."""
        raise NotImplementedError

    async def close(self) -> None:
        """The loop ends."""

    async def _round(self) -> float:
        self._news.clear()
        if not await self._hold():
            return self._post.lease / 3
        found = await self._post.database.read(lambda: page(self._asked, self._reach, TOGETHER))
        pause = await self._serve(found)
        self._reach = max(self._reach, found.position)
        return 0.0 if len(found.events) == TOGETHER else min(pause, LOOK_AGAIN)

    async def _serve(self, found: Page) -> float:
        """`serve`, with the listener held for as long as it takes: whoever is told may be slow."""
        serving = asyncio.ensure_future(self.serve(found))
        try:
            while not serving.done():
                done, _ = await asyncio.wait({serving}, timeout=self._post.lease / 3)
                if not done:
                    await self._renew()
        finally:
            serving.cancel()
            await asyncio.wait({serving})
        return serving.result()

    async def _renew(self) -> None:
        """Where another worker has it by now, or the database does not answer, `serve` finds out
        when it notes what it did."""
        name, post = self.name, self._post
        with contextlib.suppress(DatabaseError):
            await post.database.write(lambda: hold(name, post.worker, post.lease, 0))

    async def _sleep(self, seconds: float) -> None:
        if seconds and not self._holds:
            return await asyncio.sleep(seconds)  # news are for who serves it
        await asyncio.sleep(min(seconds, GATHER))
        try:
            async with asyncio.timeout(max(0.0, seconds - GATHER)):
                await self._news.wait()
        except TimeoutError:
            pass
        return None

    async def _hold(self) -> bool:
        """Whether this worker serves it for a lease from now on."""
        post, held = self._post, self._holds
        self._holds = False
        if not held and not await post.database.read(lambda: free(self.name, post.worker)):
            return False
        position = await post.database.write(
            lambda: hold(self.name, post.worker, post.lease, self._reach if held else 0)
        )
        if position is None:
            return False
        self._reach = max(self._reach, position) if held else position
        self._holds = True
        return True

    async def _let_go(self) -> None:
        try:
            if self._holds:
                await self._post.database.write(
                    lambda: let_go(self.name, self._post.worker, self._reach)
                )
        except DatabaseError as error:
            log.warning("%s: could not be left to another worker: %s", self.name, error)
        finally:
            await self.close()
