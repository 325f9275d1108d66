"""LangGraph's PostgreSQL saver, fenced."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

import psycopg
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
)
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row

from ucop.graphs.pregel.wanted import need, need_use, wanted

from ..database.drivers import on_async_postgres, on_postgres
from ..database.group_commit import cancel_again
from ..database.postgres import Apart as ApartPostgres
from ..database.postgres import PostgresDatabase, reachable
from ..dialect import POSTGRES
from ..faults import fault
from ..journal.journal import Journal
from ..journal.notes import Call
from ..ledger.operation import Operation, drive, run
from ..ledger.progress import superseded
from ..values.serializer import Apart as Row
from ..values.serializer import serializer
from ..values.stored import MOST_INLINE
from .fence import Fenced, T
from .fenced_write import HELD_UP, HELD_UP_BY_A_NODE, FencedWrite

if TYPE_CHECKING:
    from psycopg import AsyncConnection, AsyncCursor
    from psycopg.rows import DictRow

    from ..database.database import Database


VERSION = "langgraph-checkpoint-postgres 3.2"

with wanted("fences checkpoints in PostgreSQL", VERSION):
    from langgraph.checkpoint.postgres import _ainternal

    need(_ainternal, "get_connection")
    # By `_cursor` nothing is written past the fence; the rows of many tasks are written together.
    need(AsyncPostgresSaver, "_cursor", "_dump_writes", "INSERT_CHECKPOINT_WRITES_SQL")
    for method in (AsyncPostgresSaver.aput, AsyncPostgresSaver.aput_writes):
        need_use(method, "_cursor")


class FencedPostgresSaver(Fenced, AsyncPostgresSaver):
    """The PostgreSQL saver over a pool. Each attempt has its own lock, so that attempts do
    not wait for each other, and the writes of one attempt keep their order."""

    tables = POSTGRES.tables
    url: str = ""
    apart: ApartPostgres
    """Connections of other threads."""
    _inside: AsyncCursor[DictRow] | None = None

    def for_attempt(self, journal: Journal) -> Self:
        clone = copy.copy(self)
        clone.journal = journal
        clone.lock = journal.lock
        return clone

    async def _change(self, make: Callable[[], Operation[None]]) -> None:
        async with (
            _ainternal.get_connection(self.conn) as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            await drive(make(), partial(on_async_postgres, cursor))

    def _change_apart(self, make: Callable[[], Operation[None]]) -> None:
        with (
            reachable(self.url),
            self.apart.connection() as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            run(make(), partial(on_postgres, cursor))

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[AsyncCursor[DictRow]]:
        if self._inside is not None and pipeline:
            yield self._inside
        elif self.journal is None or not pipeline:
            # A read takes its own connection and must not wait for this attempt's writes.
            with reachable(self.url):
                async with (
                    _ainternal.get_connection(self.conn) as connection,
                    _pipeline(connection, pipeline),
                    connection.cursor(binary=True, row_factory=dict_row) as cursor,
                ):
                    yield cursor
        else:
            raise RuntimeError("a fenced saver writes through aput, aput_writes and flush only")

    async def _commit(self, write: FencedWrite) -> None:
        # A commit that was begun is seen to its end: who is cancelled amid it must know whether it
        # happened, or would tell the same twice, or not at all.
        commit = asyncio.ensure_future(self._commit_whole(write))
        cancelled: asyncio.CancelledError | None = None
        while not commit.done():
            try:
                await asyncio.wait([commit])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is None:
            commit.result()
        elif commit.exception() is not None:
            raise cancelled
        else:
            cancel_again()

    async def _commit_whole(self, write: FencedWrite) -> None:
        journal = write.journal
        while not journal.committing.acquire(blocking=False):  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0.001)
        try:
            with write, journal.certain(), reachable(self.url), _fenced(journal):
                await self._transact(write)
                write.told()
        finally:
            journal.committing.release()

    async def _transact(self, write: FencedWrite) -> None:
        async with (
            _ainternal.get_connection(self.conn) as connection,
            connection.pipeline(),
            connection.transaction(),
            connection.cursor(binary=True, row_factory=dict_row) as cursor,
        ):
            await _tell(cursor, write)
            inside = copy.copy(self)
            inside._inside = cursor
            assert write.load is not None
            for method, group in groupby(write.load.held, key=lambda each: each[0]):
                given = [arguments for _, arguments in group]
                if method == "put_writes":
                    rows = await asyncio.to_thread(self._rows_of, given)
                    await cursor.executemany(self.INSERT_CHECKPOINT_WRITES_SQL, rows)
                else:
                    for arguments in given:
                        await inside._save(("put", arguments))
            for call in write.calls:
                await inside._save(call)
            fault("inside saver write")

    def _commit_apart(self, write: FencedWrite) -> None:
        journal = write.journal
        if not journal.committing.acquire(timeout=HELD_UP):
            raise RuntimeError(HELD_UP_BY_A_NODE)
        try:
            with write, journal.certain(), reachable(self.url), _fenced(journal):
                with (
                    self.apart.connection() as connection,
                    connection.transaction(),
                    connection.cursor() as cursor,
                ):
                    saver = PostgresSaver(connection, serde=self.serde)
                    write.into(partial(on_postgres, cursor), partial(save_by, saver))
                write.told()
        finally:
            journal.committing.release()

    def _save_apart(self, call: Call) -> None:
        method, arguments = call
        with reachable(self.url), self.apart.connection() as connection:
            save_by(PostgresSaver(connection, serde=self.serde), (method, arguments))

    def _read_apart(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        with reachable(self.url), self.apart.connection() as connection:
            return read(PostgresSaver(connection, serde=self.serde))

    async def _save(self, call: Call) -> None:
        method, arguments = as_rows(call)
        await getattr(AsyncPostgresSaver, f"a{method}")(self, *arguments)

    def _rows_of(self, held: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The rows of many tasks' values: one statement for all costs a fraction of one for each."""
        return [
            row
            for config, writes, task_id, task_path in held
            for row in self._dump_writes(
                config["configurable"]["thread_id"],
                config["configurable"]["checkpoint_ns"],
                config["configurable"]["checkpoint_id"],
                task_id,
                task_path,
                writes,
            )
        ]


def save_by(saver: PostgresSaver, call: Call) -> None:
    method, arguments = as_rows(call)
    getattr(saver, method)(*arguments)


def as_rows(call: Call) -> Call:
    """A checkpoint whose numbers and texts PostgreSQL's JSON would change or refuse, such as NaN,
    -0.0, enums and texts with NUL, so that the saver keeps them in rows of their own."""
    method, arguments = call
    if method != "put":
        return call
    config, checkpoint, *rest = arguments
    values = checkpoint["channel_values"]
    odd = {name: Row(value) for name, value in values.items() if not _fits_json(value)}
    if not odd:
        return call
    return "put", (config, {**checkpoint, "channel_values": {**values, **odd}}, *rest)


def _fits_json(value: Any) -> bool:
    kind = type(value)
    if kind is str:
        return "\0" not in value and len(value) <= MOST_INLINE
    if kind is int:
        return bool(-(2**63) <= value < 2**64)
    return kind is bool or not isinstance(value, (str, int, float))


@contextmanager
def _fenced(journal: Journal) -> Iterator[None]:
    """What PostgreSQL raises at the fence, as what it means."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == "UC001":
            raise superseded(journal.job_id, journal.attempt) from None
        raise


async def _tell(cursor: AsyncCursor[DictRow], write: FencedWrite) -> None:
    """The fence, then the journal, as one flow of statements: in a pipeline nothing waits
    for an answer, so the fence is a function that raises, and the whole transaction with it."""
    journal = write.journal
    await cursor.execute("select ucop_fence(%s, %s)", (journal.job_id, journal.attempt))
    await drive(write.tell(), partial(on_async_postgres, cursor, pipelined=True))


@asynccontextmanager
async def _pipeline(connection: AsyncConnection[DictRow], wanted: bool) -> AsyncIterator[None]:
    if wanted:
        async with connection.pipeline():
            yield
    else:
        yield


def postgres_saver(database: Database, types: Sequence[str]) -> FencedPostgresSaver:
    """See savers.saver_of."""
    assert isinstance(database, PostgresDatabase)
    saver = FencedPostgresSaver(database.pool, serde=serializer(types))
    saver.loop, saver._by_graph = asyncio.get_running_loop(), {}
    saver.apart, saver.url, saver.place = database.apart, database.url, database.url
    return saver


async def save(calls: Sequence[Call], connection: psycopg.AsyncConnection[Any]) -> None:
    """See savers.save_on."""
    saver = AsyncPostgresSaver(connection, serde=serializer())
    for method, arguments in map(as_rows, calls):
        await getattr(saver, f"a{method}")(*arguments)
