"""LangGraph's savers, fenced.

Each attempt has a shallow copy of its worker's saver, bound to the attempt's journal. Before
anything is written, the saver's own transaction checks that the attempt is current, and
writes what the journal holds: a zombie or a cancelled attempt can commit nothing, and a step
is in the ledger exactly when its writes are in the checkpointer.

What runs on the engine's loop writes there. Graphs that a node runs itself (`subgraph.invoke(…)` in
a thread, in an event loop of its own, or on the engine's loop, which then stands still) read and
write on connections of their own, behind the same fence: none of them ever waits for the loop.
"""

from __future__ import annotations

import asyncio
import copy
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,  # errors, interrupts and resumes: saved at once
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.postgres import PostgresSaver, _ainternal
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from psycopg.rows import dict_row

from ucop.graphs.pregel.allowlist import allowlist_of

from ..database.drivers import on_async_postgres, on_postgres, on_sqlite
from ..database.postgres import Apart as ApartPostgres
from ..database.postgres import PostgresDatabase, reachable
from ..database.sqlite import Apart, SqliteDatabase
from ..dialect import POSTGRES, SQLITE
from ..errors import DatabaseError, Superseded, Unstorable
from ..faults import fault
from ..ledger import lifecycle, threads
from ..ledger.operation import Operation, Statement, drive, run
from ..loop.loop import SAFE
from ..values.serializer import Apart as Row
from ..values.serializer import StateSerializer, serializer, used_types
from ..values.state_types import GraphTypes
from ..values.stored import MOST_BYTES, MOST_INLINE, ROOM, stored, stored_error, too_large
from . import pregel_loops
from .ids import follow
from .journal import ERROR, MOST_UNSAVED, NO_NOTES, Batch, Call, Journal, Load
from .replies import Reply

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.pregel import Pregel
    from langgraph.store.base import BaseStore
    from psycopg import AsyncConnection, AsyncCursor
    from psycopg.rows import DictRow

    from ..database.database import Database

T = TypeVar("T")

WITH_ERROR = frozenset({*WRITES_IDX_MAP, "__error_source_node__"})
"""Channels of a failed task that mean something without the rest."""

pregel_loops.extend()


def attach(
    graph: Pregel[Any, Any, Any, Any],
    saver: FencedSaver | None,
    store: BaseStore | None = None,
) -> Pregel[Any, Any, Any, Any]:
    """A shallow copy of `graph` that saves to `saver`, and has `store` unless it was compiled with
    one; the caller's graph stays as it was. The saver knows the classes that the graph uses."""
    bound = copy.copy(graph)
    bound.checkpointer = None if saver is None else saver.for_graph(used_types(graph))
    if bound.store is None:
        bound.store = store
    # In streams of version 2 LangGraph makes an object of its schema out of all values, also of those
    # that the schema does not have, and those of graphs inside; `invoke` does not.
    bound._output_mapper = bound._state_mapper = None
    bound._serde_allowlist = allowlist_of(graph)
    return bound


Kept = Call
"""A call of a saver that is made later, in the transaction that it belongs to."""


class _Naming:
    """See `Fenced._naming`. It stands around each commit: a class costs a third of a generator."""

    __slots__ = ("_journal", "_more", "_saver")

    def __init__(self, saver: Fenced, journal: Journal, more: Sequence[Kept]) -> None:
        self._saver, self._journal, self._more = saver, journal, more

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            self._saver._name(error, self._journal, self._more)


class Fenced:
    """What both savers do alike: what an attempt saves passes the fence of its journal, together
    with what the journal holds."""

    serde: Any
    _by_graph: dict[int, tuple[GraphTypes, StateSerializer]]
    """A serializer for each graph, which it keeps."""
    journal: Journal | None = None
    most_bytes = MOST_BYTES
    """Bytes of one value that the database takes."""
    place: str | None = None
    """The database, as its errors name it."""
    draft: list[Kept] | None = None
    """What was to be saved, where nothing is saved yet."""
    starts_at_once: bool = False
    """Whether nodes run as soon as the input is saved, with no checkpoint in between: those of
    graphs that are no StateGraph, as `@entrypoint` makes them."""
    secret: frozenset[str] = frozenset()
    """Names of the config's `configurable` that LangGraph must not write beside a checkpoint."""
    loop: asyncio.AbstractEventLoop
    """The engine's."""

    def for_graph(self, used: GraphTypes) -> Self:
        """Stores the classes that a graph uses as well, and no others."""
        clone = copy.copy(self)
        known = self._by_graph.get(id(used))
        if known is None or known[0] is not used:
            known = self._by_graph[id(used)] = (used, self.serde.with_graph(used))
        clone.serde = known[1]
        return clone

    def for_draft(self, draft: list[Kept]) -> Self:
        """Reads what is saved; what it is to save, it only notes in `draft`."""
        clone = copy.copy(self)
        clone.draft = draft
        return clone

    async def _commit(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        """Check the fence, and write what the journal holds, `notes` and `more`, in one
        transaction."""
        raise NotImplementedError

    def _commit_apart(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        """The same from any thread, without the engine's loop."""
        raise NotImplementedError

    async def _save(self, call: Kept) -> None:
        """Save what belongs to no attempt."""
        raise NotImplementedError

    def _save_apart(self, call: Kept) -> None:
        """The same from any thread."""
        raise NotImplementedError

    def _read_apart(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        """What `read` finds with a saver of LangGraph's own, from any thread."""
        raise NotImplementedError

    async def _carry_out(self, make: Callable[[], Operation[None]]) -> None:
        """Change whole threads, on the engine's loop or on another."""
        if self._at_home():
            await self._save_held()
            await self._change(make)
        else:
            await asyncio.to_thread(self._carry_out_apart, make)

    def _carry_out_apart(self, make: Callable[[], Operation[None]]) -> None:
        self._save_held_apart()
        self._change_apart(make)

    async def _change(self, make: Callable[[], Operation[None]]) -> None:
        """Run an operation in a transaction of its own."""
        raise NotImplementedError

    def _change_apart(self, make: Callable[[], Operation[None]]) -> None:
        """The same from any thread."""
        raise NotImplementedError

    async def _save_held(self) -> None:
        """What was saved must be there for whoever reads, also what is still held."""
        if self.journal is not None and self.journal.held:
            await self.flush()

    def _save_held_apart(self) -> None:
        """The same from any thread."""
        if self.journal is not None and self.journal.held:
            with self._naming(self.journal):
                self._commit_apart(self.journal, 0, None)

    def _at_home(self) -> bool:
        """Whether this runs on the engine's loop."""
        return asyncio.get_running_loop() is self.loop

    def _read(self, found: CheckpointTuple | None) -> CheckpointTuple | None:
        """A checkpoint that was read, and may be gone on from."""
        if found is not None:
            follow(found.checkpoint["id"])
            if self.journal is not None:
                self.journal.kept(found.pending_writes or ())
                self.journal.replies.known(_namespace(found.config), found.pending_writes or ())
        return found

    # ------------------------------------------------------------ on the engine's loop

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        config = _without(config, self.secret)
        if not self._at_home():
            return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)
        call: Kept = ("put", (config, checkpoint, metadata, new_versions))
        journal = self.journal
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            await self._save(call)
        else:
            async with journal.turn:
                journal.may_advance()
                newest = _newest(config, checkpoint)
                with self._naming(journal, call):
                    fault("before put")
                    if _is_input(metadata) and not self.starts_at_once:
                        journal.hold(call)
                        return _saved(config, checkpoint)
                    await self._commit(journal, 1, newest, call)
                if newest is not None:
                    journal.advanced()
            fault("after put")
        return _saved(config, checkpoint)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        if not self._at_home():
            await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)
            return
        journal = self.journal
        call: Kept = ("put_writes", (config, writes, task_id, task_path))
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            await self._save(call)
        else:
            now = time.monotonic()
            reply = journal.replies.reply(_namespace(config), task_id, _without_remains(writes))
            writes = reply.writes
            call = self._storing(journal, config, writes, task_id, task_path)
            saved = _progress(writes, reply)
            async with journal.turn:
                if journal.is_closed:
                    return  # LangGraph saves after the end of a stream that a node was stopped
                # A fast fan-out has always somebody waiting: what is held must not grow with it.
                others_wait = journal.turn.waiting > 0 and len(journal.held) < MOST_UNSAVED
                more_follows = journal.is_last(task_id, task_path) or others_wait
                with journal.finished(task_id, writes, now, reply) as notes:
                    if more_follows and _is_values(writes):
                        journal.hold(call, notes)
                        return
                    with self._naming(journal, call):
                        fault("before writes")
                        await self._commit(journal, saved, None, call, notes=notes)
            fault("after writes")

    async def flush(self) -> None:
        """Write what the journal holds now, held writes included."""
        if self.journal is None:
            return
        async with self.journal.turn:
            with self._naming(self.journal):
                fault("before flush")
                await self._commit(self.journal, 0, None)
        fault("after flush")

    # ------------------------------------------------------------ what cannot be stored

    def _storing(
        self,
        journal: Journal,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Kept:
        """The call that saves what a node gave. Raises Unstorable."""
        try:
            kept = [self._kept(*write, journal.node_of(task_id)) for write in writes]
        except Unstorable as error:
            journal.refused(task_id, error)
            raise
        return "put_writes", (config, kept, task_id, task_path)

    def check(self, calls: Sequence[Kept]) -> None:
        """Raise Unstorable for a value of these calls that would not come back as it is."""
        for method, arguments in calls:
            writes = arguments[1]["channel_values"].items() if method == "put" else arguments[1]
            for channel, value in writes:
                stored(self.serde, value, node=None, channel=channel)

    def _kept(self, channel: str, value: Any, node: str | None) -> tuple[str, Any]:
        """A write as it is stored. Raises Unstorable."""
        if channel == ERROR:
            return channel, stored_error(self.serde, value)
        return channel, stored(self.serde, value, node=node, channel=channel, most=self.most_bytes)

    def _naming(self, journal: Journal, *more: Kept) -> _Naming:
        """A commit, whose errors tell whether the database failed or a value is to blame: inside,
        Superseded, DatabaseError or Unstorable is raised."""
        return _Naming(self, journal, more)

    def _name(self, error: Exception, journal: Journal, more: Sequence[Kept]) -> None:
        """Raise what an error of a commit means, where it is another."""
        if isinstance(error, (Superseded, DatabaseError)):
            journal.broke_off(error)
            return
        if (refused := self._refusal(journal, more)) is not None:
            raise refused from error
        if (refused := self._refusal(journal, journal.held)) is not None:
            journal.drop_held()  # the input, without which nothing else is worth keeping
            raise refused from error

    def _refusal(self, journal: Journal, calls: Sequence[Kept]) -> Unstorable | None:
        """What is wrong with a value of the checkpoints among `calls`: a reducer may make what no
        node gave."""
        for method, arguments in calls:
            if method == "put":
                values: Mapping[str, Any] = arguments[1]["channel_values"]
                try:
                    self._check(values, journal)
                except Unstorable as error:
                    return error
        return None

    def _check(self, values: Mapping[str, Any], journal: Journal) -> None:
        """Raise Unstorable for the first value that is no good, or the largest of too many."""
        largest, total, most = "", 0, -1
        for channel, value in values.items():
            node = journal.writer_of(channel)
            size = len(stored(self.serde, value, node=node, channel=channel).typed[1])
            total += size
            if size > most:
                largest, most = channel, size
        if total > self.most_bytes - ROOM:
            raise too_large(
                values[largest], total, self.most_bytes, journal.writer_of(largest), largest
            )

    # ------------------------------------------------------------ anywhere else

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        config = _without(config, self.secret)
        call: Kept = ("put", (config, checkpoint, metadata, new_versions))
        journal = self.journal
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            self._save_apart(call)
        else:
            journal.may_advance()
            with self._naming(journal, call):
                fault("before put")
                if _is_input(metadata):
                    journal.hold(call)
                    return _saved(config, checkpoint)
                self._commit_apart(journal, 1, _newest(config, checkpoint), call)
            fault("after put")
        return _saved(config, checkpoint)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        journal = self.journal
        call: Kept = ("put_writes", (config, writes, task_id, task_path))
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            self._save_apart(call)
        else:
            reply = journal.replies.reply(_namespace(config), task_id, _without_remains(writes))
            writes = reply.writes
            call = self._storing(journal, config, writes, task_id, task_path)
            with journal.finished(task_id, writes, time.monotonic(), reply) as notes:
                saved = _progress(writes, reply)
                with self._naming(journal, call):
                    fault("before writes")
                    self._commit_apart(journal, saved, None, call, notes=notes)
            fault("after writes")

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        self._save_held_apart()
        return self._read(self._read_apart(lambda saver: saver.get_tuple(config)))

    def list(self, *args: Any, **options: Any) -> Iterator[CheckpointTuple]:
        self._save_held_apart()
        yield from self._read_apart(lambda saver: [*saver.list(*args, **options)])

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        self._save_held_apart()
        return self._read_apart(
            lambda saver: saver.get_delta_channel_history(config=config, channels=channels)
        )


SAFE.add(Fenced.aput_writes.__code__)  # `stored` and `brief` take whatever the code of values does


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


class FencedSqliteSaver(Fenced, SqliteSaver):
    """The synchronous SQLite saver, used inline on the engine's loop.

    A write takes microseconds there; a thread or aiosqlite would cost more than it frees.
    """

    retry: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Reads again while another process holds the lock, without blocking the loop."""
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

    def save(self, call: Kept) -> None:
        """Save in the transaction that is open on the loop's connection."""
        method, arguments = call
        getattr(SqliteSaver, method)(self, *arguments)

    async def _commit(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        write = _Write(journal, saved, checkpoint, more, notes)
        with write:
            await self.commit(
                lambda: write.into(partial(on_sqlite, self.conn), self.save),
                lambda _: write.told(),
            )

    def _commit_apart(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        write = _Write(journal, saved, checkpoint, more, notes)

        def work(connection: sqlite3.Connection) -> None:
            saver = Unfenced(connection, self.serde)
            write.into(
                partial(on_sqlite, connection), lambda call: getattr(saver, call[0])(*call[1])
            )

        with write:
            self.apart.write(work)
            write.told()

    async def _save(self, call: Kept) -> None:
        await self.commit(lambda: self.save(call))

    def _save_apart(self, call: Kept) -> None:
        method, arguments = call
        self.apart.write(lambda at: getattr(Unfenced(at, self.serde), method)(*arguments))

    def _read_apart(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        return self.apart.read(lambda connection: read(Unfenced(connection, self.serde)))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if not self._at_home():
            return await asyncio.to_thread(self.get_tuple, config)
        await self._save_held()
        return self._read(await self.retry(lambda: SqliteSaver.get_tuple(self, config)))

    async def alist(self, *args: Any, **options: Any) -> AsyncIterator[CheckpointTuple]:
        if self._at_home():
            await self._save_held()
            found = await self._read_here(lambda saver: [*saver.list(*args, **options)])
        else:
            found = await asyncio.to_thread(lambda: [*self.list(*args, **options)])
        # get_tuple() while list() is open would wait for its own lock.
        for item in found:
            yield item

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        asked: dict[str, Any] = {"config": config, "channels": channels}
        if not self._at_home():
            return await asyncio.to_thread(lambda: self.get_delta_channel_history(**asked))
        await self._save_held()
        return await self._read_here(lambda saver: saver.get_delta_channel_history(**asked))

    async def _read_here(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        found: T = await self.retry(lambda: read(Unfenced(self.conn, self.serde)))
        return found

    async def adelete_thread(self, thread_id: str) -> None:
        await self._carry_out(lambda: threads.delete_threads(SQLITE.tables, [thread_id]))

    def delete_thread(self, thread_id: str) -> None:
        self._carry_out_apart(lambda: threads.delete_threads(SQLITE.tables, [thread_id]))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._carry_out(
            lambda: threads.copy_thread(SQLITE.tables, source_thread_id, target_thread_id)
        )

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._carry_out(lambda: threads.delete_for_runs(SQLITE.tables, run_ids))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        strategies: dict[str, Callable[[Sequence[str]], Operation[None]]] = {
            "keep_latest": threads.keep_latest,
            "delete": partial(threads.delete_threads, SQLITE.tables),
        }
        if strategy not in strategies:
            raise ValueError(f"there is no strategy {strategy!r}; there is {', '.join(strategies)}")
        await self._carry_out(lambda: strategies[strategy](thread_ids))

    async def _change(self, make: Callable[[], Operation[None]]) -> None:
        await self.commit(lambda: run(make(), partial(on_sqlite, self.conn)))

    def _change_apart(self, make: Callable[[], Operation[None]]) -> None:
        self.apart.write(lambda at: run(make(), partial(on_sqlite, at)))


class FencedPostgresSaver(Fenced, AsyncPostgresSaver):
    """The PostgreSQL saver over a pool. Each attempt has its own lock, so that attempts do
    not wait for each other, and the writes of one attempt keep their order."""

    url: str = ""
    apart: ApartPostgres
    """Connections of other threads."""
    _inside: AsyncCursor[DictRow] | None = None

    def for_attempt(self, journal: Journal) -> Self:
        clone = copy.copy(self)
        clone.journal = journal
        clone.lock = journal.lock
        return clone

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._carry_out(
            lambda: threads.copy_thread(POSTGRES.tables, source_thread_id, target_thread_id)
        )

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._carry_out(lambda: threads.delete_for_runs(POSTGRES.tables, run_ids))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._carry_out(lambda: threads.delete_threads(POSTGRES.tables, [thread_id]))

    def delete_thread(self, thread_id: str) -> None:
        self._carry_out_apart(lambda: threads.delete_threads(POSTGRES.tables, [thread_id]))

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

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if not self._at_home():
            return await asyncio.to_thread(self.get_tuple, config)
        await self._save_held()
        return self._read(await super().aget_tuple(config))

    async def alist(self, *args: Any, **options: Any) -> AsyncIterator[CheckpointTuple]:
        if self._at_home():
            await self._save_held()
            async for item in super().alist(*args, **options):
                yield item
        else:
            for item in await asyncio.to_thread(lambda: [*self.list(*args, **options)]):
                yield item

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        asked: dict[str, Any] = {"config": config, "channels": channels}
        if not self._at_home():
            return await asyncio.to_thread(lambda: self.get_delta_channel_history(**asked))
        await self._save_held()
        return await super().aget_delta_channel_history(**asked)

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

    async def _commit(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        # A commit that was begun is seen to its end: who is cancelled amid it could not know
        # whether it happened, and would tell the same twice.
        write = _Write(journal, saved, checkpoint, more, notes)
        commit = asyncio.ensure_future(self._commit_whole(write))
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError:
            if not commit.done():
                await asyncio.wait([commit])
            raise
        finally:
            if commit.done() and not commit.cancelled():
                commit.exception()  # looked at, also where the cancellation goes first

    async def _commit_whole(self, write: _Write) -> None:
        journal = write.journal
        while not journal.committing.acquire(blocking=False):  # noqa: ASYNC110 - of a thread
            await asyncio.sleep(0.001)
        try:
            with write, journal.certain(), reachable(self.url), _fenced(journal):
                await self._transact(write)
                write.told()
        finally:
            journal.committing.release()

    async def _transact(self, write: _Write) -> None:
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
            for call in write.more:
                await inside._save(call)
            fault("inside saver write")

    def _commit_apart(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        write = _Write(journal, saved, checkpoint, more, notes)
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

    def _save_apart(self, call: Kept) -> None:
        method, arguments = call
        with reachable(self.url), self.apart.connection() as connection:
            save_by(PostgresSaver(connection, serde=self.serde), (method, arguments))

    def _read_apart(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        with reachable(self.url), self.apart.connection() as connection:
            return read(PostgresSaver(connection, serde=self.serde))

    async def _save(self, call: Kept) -> None:
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


def _without(config: RunnableConfig, names: frozenset[str]) -> RunnableConfig:
    if not names:
        return config
    shown = {k: v for k, v in config["configurable"].items() if k not in names}
    told = {k: v for k, v in (config.get("metadata") or {}).items() if k not in names}
    return {**config, "configurable": shown, "metadata": told}


FencedSaver = FencedSqliteSaver | FencedPostgresSaver


def saver_of(database: Database, types: Sequence[str] = ()) -> FencedSaver:
    """A saver of an open database, on the engine's loop; each attempt takes a copy of it. `types`
    are the classes that states may hold beside the project's: see Settings.state."""
    saver: FencedSaver
    if isinstance(database, SqliteDatabase):
        saver = FencedSqliteSaver(database.connection, serde=serializer(types))
        saver.is_setup = True  # by `sqlite.prepare`
        saver.retry, saver.commit = database.retry, database.commit
        saver.apart, saver.place = database.apart, str(database.path)
    else:
        assert isinstance(database, PostgresDatabase)
        saver = FencedPostgresSaver(database.pool, serde=serializer(types))
        saver.apart, saver.url, saver.place = database.apart, database.url, database.url
    saver.loop = asyncio.get_running_loop()
    saver._by_graph = {}
    return saver


def save_on(calls: Sequence[Kept], connection: Any) -> Awaitable[None] | None:
    """Save in the transaction that is open on a connection of either database's driver."""
    if not isinstance(connection, sqlite3.Connection):
        return _save_on_postgres(calls, connection)
    lite = Unfenced(connection, serializer())
    for method, arguments in calls:
        getattr(lite, method)(*arguments)
    return None


async def _save_on_postgres(calls: Sequence[Kept], connection: AsyncConnection[Any]) -> None:
    saver = AsyncPostgresSaver(connection, serde=serializer())
    for method, arguments in map(as_rows, calls):
        await getattr(saver, f"a{method}")(*arguments)


def save_by(saver: PostgresSaver, call: Kept) -> None:
    method, arguments = as_rows(call)
    getattr(saver, method)(*arguments)


def as_rows(call: Kept) -> Kept:
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


def _without_remains(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """What a task that failed, or was cancelled, has to keep: its error. LangGraph saves along
    with it what the task had written before (its channels, say, and not yet its conditional
    edges), and takes that for the whole result when the graph goes on."""
    if any(channel == ERROR for channel, _ in writes):
        return [write for write in writes if write[0] in WITH_ERROR]
    return writes


def _is_values(writes: Sequence[tuple[str, Any]]) -> bool:
    """Whether a task's writes may commit with what follows at once, the checkpoint of its superstep
    or the writes of other tasks that wait already: nothing but values does.

    Without that, tasks that end faster than a database commits would run ahead of what is saved:
    LangGraph does not wait for it, and a kill would lose them all.
    """
    return not any(channel in WRITES_IDX_MAP for channel, _ in writes)


def _progress(writes: Sequence[tuple[str, Any]], reply: Reply) -> int:
    """How much further a job is by writes: what only says that a node failed, or asks, each
    attempt says again, unless the node has gone past an answer."""
    values = any(channel not in WITH_ERROR for channel, _ in writes)
    return int(values or bool(reply.consumed))


def _is_input(metadata: CheckpointMetadata) -> bool:
    """Whether a checkpoint holds the input and nothing else: no node runs before the next."""
    return metadata.get("source") == "input"


def _saved(config: RunnableConfig, checkpoint: Checkpoint) -> RunnableConfig:
    """What a saver answers: where the checkpoint is."""
    thread = config["configurable"]
    return {
        "configurable": {
            "thread_id": thread["thread_id"],
            "checkpoint_ns": thread.get("checkpoint_ns", ""),
            "checkpoint_id": checkpoint["id"],
        }
    }


def _namespace(config: RunnableConfig) -> str:
    """The graph that a checkpoint or write belongs to: empty for the job's own."""
    return str(config["configurable"].get("checkpoint_ns", ""))


def _newest(config: RunnableConfig, checkpoint: Checkpoint) -> str | None:
    """The checkpoint's id, where it is one of the job's graph itself and not of a subgraph."""
    root = not config["configurable"].get("checkpoint_ns")
    return checkpoint["id"] if root else None


HELD_UP = 10.0
"""Seconds that a graph which a node runs waits for a commit that is under way."""

HELD_UP_BY_A_NODE = (
    "a node runs a graph by invoke() or stream() on the engine's event loop, and holds up a commit "
    "of its own job that is under way there: use `await graph.ainvoke(…)` or `graph.astream(…)`, "
    "or make the node a plain function (def)"
)


class _Write:
    """One transaction of an attempt: the fence, what its journal holds, and what is new. Where it does
    not commit inside `with write:`, all stays in the journal."""

    def __init__(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        more: Sequence[Kept],
        notes: Batch,
    ) -> None:
        self.journal, self.more, self.notes = journal, more, notes
        self.load: Load | None = None
        """What is taken out of the journal while this is under way."""
        self._saved, self._checkpoint = saved, checkpoint

    def tell(self) -> Operation[None]:
        """The fence and the notes."""
        self._untake()
        self.load = self.journal.take()
        return self.journal.tell(
            self.load, self.notes, saved=self._saved, checkpoint=self._checkpoint
        )

    def into(
        self,
        execute: Callable[[Statement], Sequence[Any]],
        save: Callable[[Kept], Any],
    ) -> None:
        """Write all of it into a transaction that is open, by what executes and saves there."""
        run(self.tell(), execute)
        assert self.load is not None
        for call in (*self.load.held, *self.more):
            save(call)
        fault("inside saver write")

    def told(self) -> None:
        """It has committed."""
        load, self.load = self.load, None
        if load is not None:
            self.journal.told(load, self.notes)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._untake()

    def _untake(self) -> None:
        if self.load is not None:
            self.journal.give_back(self.load)
            self.load = None


@contextmanager
def _fenced(journal: Journal) -> Iterator[None]:
    """What PostgreSQL raises at the fence, as what it means."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate == "UC001":
            raise lifecycle.superseded(journal.job_id, journal.attempt) from None
        raise


async def _tell(cursor: AsyncCursor[DictRow], write: _Write) -> None:
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
