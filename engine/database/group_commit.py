"""Group commit: writes that come in one turn of the loop share a transaction.

On SQLite a transaction costs more than the few statements in it, and only one can be open.
Each write stays all or nothing: where one of a group raises, the group is rolled back, and each
of its writes runs again in a transaction of its own. Lives on the engine's loop only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ..errors import DatabaseBusy, DatabaseError

log = logging.getLogger("ucop.database")

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Write:
    work: Callable[[], Any]
    then: Callable[[Any], None] | None
    done: asyncio.Future[Any]


class GroupCommit:
    """Commits what it is given, in the order in which it came.

    Args:
        transaction: Opens a transaction; commits at its end, rolls back on an error. Raises
            DatabaseBusy, before anything is done, while another process holds the lock.
        insist: Runs something again until it no longer raises DatabaseBusy.
    """

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[Any]],
        insist: Callable[[Callable[[], None]], Awaitable[None]],
    ) -> None:
        self._transaction, self._insist = transaction, insist
        self._waiting: list[_Write] = []
        self._busy = False
        self._insisting: asyncio.Task[None] | None = None

    async def write(self, work: Callable[[], T], then: Callable[[T], None] | None = None) -> T:
        """Run `work` in a transaction and return what it returns, once that is committed.

        `work` may be run several times, each time after a rollback. `then` is called with its
        result right after the commit, before anything else can happen on the loop. A caller that
        is cancelled earlier has written nothing; one that is cancelled later gets the result, and
        meets its cancellation at its next pause: whether something was written is always known.
        """
        loop = asyncio.get_running_loop()
        mine = _Write(work, then, loop.create_future())
        self._waiting.append(mine)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._commit_waiting)
        try:
            return cast("T", await mine.done)
        except asyncio.CancelledError:
            if mine.done.cancelled():
                raise
            cancel_again()
            return cast("T", mine.done.result())

    def _commit_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        try:
            self._commit(group)
        except DatabaseBusy:
            self._insisting = asyncio.ensure_future(self._commit_later(group))
            return
        self._next()

    async def _commit_later(self, group: list[_Write]) -> None:
        try:
            await self._insist(lambda: self._commit(group))
        except DatabaseError as error:
            for write in _open(group):
                write.done.set_exception(error)
        finally:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            asyncio.get_running_loop().call_soon(self._commit_waiting)

    def _commit(self, group: list[_Write]) -> None:
        group = _open(group)
        if not group:
            return
        try:
            with self._transaction():
                results = [write.work() for write in group]
        except DatabaseBusy:
            raise
        except Exception as error:  # noqa: BLE001 - handed on to whose write it is
            if len(group) == 1:
                group[0].done.set_exception(error)
                return
            for write in group:
                self._commit([write])
            return
        for write, result in zip(group, results, strict=True):
            _finish(write, result)


def _open(group: list[_Write]) -> list[_Write]:
    """Those that are neither done nor withdrawn."""
    return [write for write in group if not write.done.done()]


def _finish(write: _Write, result: Any) -> None:
    # The result first: whoever is cancelled by what follows must learn of the commit.
    write.done.set_result(result)
    if write.then is not None:
        try:
            write.then(result)
        except Exception:  # a defect, and no reason to leave the rest of the group waiting
            log.exception("after a commit")


def cancel_again() -> None:
    """Let the current task meet its cancellation at its next pause instead of now."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
        task.cancel()
