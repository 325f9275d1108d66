"""Commands: what people ask of jobs and queues. Each is one transaction of the ledger, after which
whoever waits for the job is notified, and so is this process's worker.

Light: no workflow is loaded here, so the command line gives these commands without an engine. Those
that need the job's workflow are in workflow_commands.py. What each does, and refuses, is in
ledger/commands.py, ledger/retention.py and ledger/pruning.py.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ..connect import connect
from ..database.database import Database, DatabaseSettings
from ..declared.queue_limits import QueueLimits, undeclared
from ..declared.retention import Retention
from ..dialect import SQLITE, dialect_of
from ..errors import JobNotFound, RefusedChange
from ..jobs.command import Changed, Command
from ..jobs.job import JobId, new_job_id
from ..ledger import busy_thread, commands, reads, retention
from ..ledger.commands import NewTerms
from ..ledger.events import signed
from ..ledger.operation import Operation
from ..ledger.pruning import Pruning, prune
from ..ledger.reads import Submitted
from ..ledger.retention import Rule
from ..notices import Notices
from ..worker.retention import carry_out

if TYPE_CHECKING:
    from ..transfer.job_parts import Contents
    from ..worker.supervisor import Supervisor

T = TypeVar("T")

TOGETHER = 50
"""Changes that are under way at the same time; on SQLite they share transactions."""


class Commands:
    """Carries out commands on an open database. Lives on the loop that opened it.

    Args:
        notices: Who waits for news of jobs in this process.
        supervisor: Of this process's worker, if it has one.
    """

    def __init__(
        self,
        database: Database,
        notices: Notices | None = None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.database = database
        self._notices = notices or Notices()
        self._supervisor = supervisor
        self._tables = dialect_of(database.url).tables

    async def _write(self, make: Callable[[], Operation[T]]) -> T:
        return await self.database.write(signed(make))

    async def change(
        self, command: Command, ids: Sequence[JobId], now: bool, terms: NewTerms
    ) -> list[Changed]:
        changed: list[Changed] = []
        for first in range(0, len(ids), TOGETHER):
            some = ids[first : first + TOGETHER]
            each = (self._change(command, id, now, terms) for id in some)
            changed += await asyncio.gather(*each)
        return changed

    async def _change(self, command: Command, id: JobId, now: bool, terms: NewTerms) -> Changed:
        refused = None
        try:
            match command:
                case Command.PAUSE:
                    await self.pause(id, now)
                case Command.CANCEL:
                    await self.cancel(id)
                case Command.RESUME:
                    await self.resume(id, terms)
                case Command.RETRY:
                    await self.retry(id, terms)
                case Command.ARCHIVE | Command.UNARCHIVE:
                    await self.archive(id, undo=command is Command.UNARCHIVE)
                case Command.DELETE:
                    await self.delete(id)
                    return Changed(id=id, status=None)
        except RefusedChange as error:
            refused = str(error)
        except JobNotFound as error:
            return Changed(id=id, status=None, refused=str(error))
        try:
            status = (await self.database.read(lambda: reads.rest(id))).status
        except JobNotFound as error:  # deleted at this moment
            return Changed(id=id, status=None, refused=refused or str(error))
        return Changed(id=id, status=status, refused=refused)

    # ------------------------------------------------------------ what a worker does next

    async def pause(self, id: JobId, at_once: bool) -> None:
        await self._write(lambda: commands.pause(id, at_once=at_once))
        await self._heed(id)

    async def cancel(self, id: JobId, *, rollback: bool = False) -> None:
        await self._write(
            lambda: busy_thread.roll_back(id, self._tables) if rollback else commands.cancel(id)
        )
        await self._heed(id)

    async def resume(self, id: JobId, terms: NewTerms) -> None:
        await self._write(lambda: commands.resume(id, terms))
        self._queued(id)

    async def retry(self, id: JobId, terms: NewTerms) -> None:
        await self._write(lambda: commands.retry(id, terms))
        self._queued(id)

    async def answer(self, id: JobId, question: str, answer: str) -> None:
        await self._write(lambda: commands.answer(id, question, answer))
        self._queued(id)

    # ------------------------------------------------------------ how long jobs are kept

    async def add(self, contents: Contents, new_id: bool) -> JobId:
        from ..transfer import importing

        id = new_job_id(time.time()) if new_id else JobId(contents.job.id)
        return await self._write(lambda: importing.add(self._tables, contents, id))

    async def prune(self, id: JobId, pruning: Pruning, dry: bool) -> int:
        thread = (await self._job(id)).thread_id
        return await self._write(lambda: prune(self._tables, id, thread, pruning, dry=dry))

    async def archive(self, id: JobId, *, undo: bool) -> None:
        await self._write(lambda: retention.archive(id, undo=undo))
        self._notices.tell(id)

    async def delete(self, id: JobId) -> None:
        await self._write(lambda: retention.delete(self._tables, id))
        self._notices.tell(id)

    async def tidy(self, keep: Retention, dry_run: bool) -> dict[Rule, int]:
        if dry_run:
            due = await self.database.read(lambda: retention.due(keep, None))
            return {each.rule: len(each.jobs) for each in due}
        done: Counter[Rule] = Counter()
        while some := await carry_out(self.database, keep, retention.BATCH):
            done += some
        return dict(done)

    async def forget(self, namespace: Sequence[str], key: str | None) -> int:
        """Delete what is remembered in a space, or under one key there; returns how many."""
        from ..stores import memory_rows

        cascades = dialect_of(self.database.url) is not SQLITE
        return await self._write(lambda: memory_rows.forget(namespace, key, cascades=cascades))

    async def _job(self, id: JobId) -> Submitted:
        return await self.database.read(lambda: reads.submitted(id))

    # ------------------------------------------------------------ queues

    async def set_queue(
        self, name: str, changes: Mapping[str, Any] | None, declared: Mapping[str, QueueLimits]
    ) -> None:
        """`changes` hold in place of the `declared` limits; None lets those hold again."""
        from ..queue import limits

        if name not in declared:
            raise undeclared(name, declared)
        await self._write(
            lambda: (
                limits.reset(name)
                if changes is None
                else limits.change(name, declared[name], changes)
            )
        )
        self._wake()

    # ------------------------------------------------------------ whom to notify

    def _queued(self, id: JobId) -> None:
        """An attempt was queued."""
        self._notices.tell(id)
        self._wake()

    async def _heed(self, id: JobId) -> None:
        """Something was asked of a job that may run in this process."""
        self._notices.tell(id)
        await self._watch()

    async def tell_all(self) -> None:
        """Something was asked of several jobs that may run in this process."""
        self._notices.tell_all()
        await self._watch()

    async def _watch(self) -> None:
        if self._supervisor is not None:
            await self._supervisor.watch()

    def _wake(self) -> None:
        if self._supervisor is not None:
            self._supervisor.wake()


@asynccontextmanager
async def open_commands(settings: DatabaseSettings) -> AsyncIterator[Commands]:
    """Commands without an engine. Workers of other processes hear of them as they hear of all that
    is written."""
    database = connect(settings, connections=1)
    await database.open()
    try:
        yield Commands(database)
    finally:
        await database.close()
