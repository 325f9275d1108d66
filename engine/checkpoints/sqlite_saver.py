"""LangGraph's SQLite saver, fenced."""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.sqlite import SqliteSaver

from ucop.graphs.pregel.wanted import need, need_use, wanted

from ..database.drivers import on_sqlite
from ..database.sqlite import Apart, SqliteDatabase
from ..dialect import SQLITE
from ..journal.journal import Journal
from ..journal.notes import Call
from ..ledger import threads
from ..ledger.operation import Operation, run
from ..values.serializer import serializer
from ..values.stored import MOST_BYTES
from .fence import Fenced, T
from .fenced_write import FencedWrite

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


VERSION = "langgraph-checkpoint-sqlite 3.1"

with wanted("fences checkpoints in SQLite", VERSION):
    need(SqliteSaver, "is_setup", "cursor")
    # Who ends the transaction is said by `cursor` alone.
    for method in (SqliteSaver.put, SqliteSaver.put_writes):
        need_use(method, "cursor")


class Unfenced(SqliteSaver):
    """LangGraph's own, in a transaction that somebody else ends: it would commit, also after an
    error."""

    is_setup = True

    def __init__(self, connection: sqlite3.Connection, serde: Any) -> None:
        super().__init__(connection, serde=serde)
        self.is_setup = True  # by sqlite.prepare

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        with super().cursor(transaction=False) as cursor:
            yield cursor


class InlineSqliteSaver(SqliteSaver):
    """The synchronous SQLite saver, used inline on the engine's loop: it reads in microseconds there,
    and a thread or aiosqlite would cost more than it frees."""

    retry: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Reads again while another process holds the lock, without blocking the loop."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found: CheckpointTuple | None = await self.retry(
            lambda: SqliteSaver.get_tuple(self, config)
        )
        return found

    async def alist(self, *args: Any, **options: Any) -> AsyncIterator[CheckpointTuple]:
        # get_tuple() while list() is open would wait for its own lock.
        for item in await self._read_here(lambda saver: [*saver.list(*args, **options)]):
            yield item

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        return await self._read_here(
            lambda saver: saver.get_delta_channel_history(config=config, channels=channels)
        )

    async def _read_here(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        found: T = await self.retry(lambda: read(Unfenced(self.conn, self.serde)))
        return found


class FencedSqliteSaver(Fenced, InlineSqliteSaver):
    """See fence.py."""

    tables = SQLITE.tables
    commit: Callable[..., Awaitable[Any]]
    """Writes in a transaction; see group_commit.GroupCommit.write."""
    apart: Apart
    """Reads and writes from other threads."""

    def for_attempt(self, journal: Journal) -> Self:
        clone = copy.copy(self)
        clone.journal = journal
        clone.most_bytes = min(MOST_BYTES, self.conn.getlimit(sqlite3.SQLITE_LIMIT_LENGTH))
        return clone

    def cursor(  # type: ignore[override] # LangGraph's is a generator, and costs more
        self, transaction: bool = True
    ) -> closing[sqlite3.Cursor]:
        # The base class would commit, also after an error.
        return closing(self.conn.cursor())

    def save(self, call: Call) -> None:
        """Save in the transaction that is open on the loop's connection."""
        method, arguments = call
        getattr(SqliteSaver, method)(self, *arguments)

    async def _commit(self, write: FencedWrite) -> None:
        with write:
            await self.commit(
                lambda: write.into(partial(on_sqlite, self.conn), self.save),
                lambda _: write.told(),
            )

    def _commit_apart(self, write: FencedWrite) -> None:
        def work(connection: sqlite3.Connection) -> None:
            saver = Unfenced(connection, self.serde)
            write.into(
                partial(on_sqlite, connection), lambda call: getattr(saver, call[0])(*call[1])
            )

        with write:
            self.apart.write(work)
            write.told()

    async def _save(self, call: Call) -> None:
        await self.commit(lambda: self.save(call))

    def _save_apart(self, call: Call) -> None:
        method, arguments = call
        self.apart.write(lambda at: getattr(Unfenced(at, self.serde), method)(*arguments))

    def _read_apart(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        return self.apart.read(lambda connection: read(Unfenced(connection, self.serde)))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        strategies: dict[str, Callable[[Sequence[str]], Operation[None]]] = {
            "keep_latest": threads.keep_latest,
            "delete": partial(threads.delete_threads, self.tables),
        }
        if strategy not in strategies:
            raise ValueError(f"there is no strategy {strategy!r}; there is {', '.join(strategies)}")
        await self._carry_out(lambda: strategies[strategy](thread_ids))

    async def _change(self, make: Callable[[], Operation[None]]) -> None:
        await self.commit(lambda: run(make(), partial(on_sqlite, self.conn)))

    def _change_apart(self, make: Callable[[], Operation[None]]) -> None:
        self.apart.write(lambda at: run(make(), partial(on_sqlite, at)))


def sqlite_saver(database: SqliteDatabase, types: Sequence[str]) -> FencedSqliteSaver:
    """See savers.saver_of."""
    saver = FencedSqliteSaver(database.connection, serde=serializer(types))
    saver.is_setup = True  # by `sqlite.prepare`
    saver.loop, saver._by_graph = asyncio.get_running_loop(), {}
    saver.retry, saver.commit = database.retry, database.commit
    saver.apart, saver.place = database.apart, str(database.path)
    return saver


def save(calls: Sequence[Call], connection: sqlite3.Connection) -> None:
    """See savers.save_on."""
    saver = Unfenced(connection, serializer())
    for method, arguments in calls:
        getattr(saver, method)(*arguments)
