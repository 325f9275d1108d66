"""PostgreSQL: pools for the engine's loop, and for threads that may not wait for it.

The ledger lives in the schema `ucop`; LangGraph's tables stay where LangGraph puts them, so
that its own tools find them; DBOS has its own schema `dbos`. All in one database.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from ucop.agents.text.secret_url import shown_url, with_password_in_front, without_url_secrets

from ..errors import DatabaseBusy, DatabaseError, DatabaseRefusal
from ..faults import fault
from ..jobs.job import WorkerId
from ..ledger.migrations import HEAD, upgrade
from ..ledger.operation import Operation, drive, run
from ..ledger.workers import WorkerAt
from .drivers import lock_number, on_async_postgres, on_postgres
from .postgres_pool import Pool
from .sqlite import check_version

if TYPE_CHECKING:
    from psycopg import AsyncConnection


log = logging.getLogger("ucop.database")

T = TypeVar("T")

OPTIONS = "-c search_path=ucop,public -c lock_timeout=10s"
"""Nobody waits for ever for a lock: what holds it may be stopped, and must be ended first."""

_END_SESSIONS = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name = %(name)s and datname = current_database()
    and xact_start <= to_timestamp(%(until)s)"""

CHANNEL = "ucop"
"""NOTIFY channel that tells of a change of any job."""

LIVE_CHANNEL = "ucop_live"
"""NOTIFY channel that tells which jobs emitted something."""

LONGEST_NOTICE = 7000

KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class PostgresDatabase:
    """See database.Database."""

    def __init__(
        self,
        url: str,
        *,
        migrate_queue: Callable[[str], None],
        connections: int = 10,
    ) -> None:
        """`migrate_queue` brings the tables of the queue up to date."""
        self.url = with_password_in_front(url)
        self._migrate_queue = migrate_queue
        self._size = connections
        self._pool: Pool | None = None
        self.apart = Apart(url)
        """Connections of other threads than the loop's."""
        self._ear: AsyncConnection[Any] | None = None
        self._heard = False

    async def open(self) -> None:
        with explained(self.url):
            await asyncio.to_thread(prepare, self.url, self._migrate_queue)
            self._pool = Pool(
                self.url,
                min_size=min(2, self._size),
                max_size=self._size,
                open=False,
                kwargs={
                    "autocommit": True,
                    "prepare_threshold": 0,
                    "row_factory": dict_row,
                    "options": OPTIONS,
                    "application_name": _session(socket.gethostname(), os.getpid()),
                    **KEEPALIVES,
                },
            )
            await self._pool.open(wait=True, timeout=30)

    async def close(self) -> None:
        if self._ear is not None:
            await self._ear.close()
        if self._pool is not None:
            await self._pool.close()
        self.apart.close()

    async def write(self, make: Callable[[], Operation[T]]) -> T:
        with explained(self.url):
            async with self.pool.connection() as connection, connection.transaction():
                result = await _drive(make(), connection)
                fault("inside ledger write")
                await connection.execute("select pg_notify(%s, '')", (CHANNEL,))
            return result

    async def emit(self, make: Callable[[], Operation[T]], jobs: Sequence[str]) -> T:
        named = " ".join(jobs)
        with explained(self.url):
            async with self.pool.connection() as connection, connection.transaction():
                result = await _drive(make(), connection)
                # A payload has at most 8000 bytes; an empty one tells of all jobs.
                told = named if len(named) < LONGEST_NOTICE else ""
                await connection.execute("select pg_notify(%s, %s)", (LIVE_CHANNEL, told))
            return result

    def write_apart(self, make: Callable[[], Operation[T]]) -> T:
        with (
            explained(self.url),
            self.apart.connection() as connection,
            connection.transaction(),
            connection.cursor() as cursor,
        ):
            return run(make(), partial(on_postgres, cursor))

    async def read(self, make: Callable[[], Operation[T]]) -> T:
        with explained(self.url):
            async with self.pool.connection() as connection:
                return await _drive(make(), connection)

    touch = read  # each statement is committed by itself

    async def changed(self) -> bool:
        with explained(self.url):
            if self._ear is None or self._ear.closed:
                await self._listen()
                return True
            try:
                async for _ in self._ear.notifies(timeout=0):
                    self._heard = True
            except psycopg.OperationalError:
                self._ear = None
                return True
        heard, self._heard = self._heard, False
        return heard

    @contextmanager
    def hold(self, worker: WorkerId) -> Iterator[None]:
        # A session lock: the server drops it with the connection, keepalives notice a dead peer.
        connection = psycopg.connect(self.url, autocommit=True, **KEEPALIVES)
        try:
            connection.execute("select pg_advisory_lock(%s)", (lock_number(worker),))
            yield
        finally:
            connection.close()

    async def is_held(self, worker: str) -> bool:
        with explained(self.url):
            async with self.pool.connection() as connection:
                number = lock_number(worker)
                cursor = await connection.execute(
                    "select pg_try_advisory_lock(%s) as free", (number,)
                )
                row = await cursor.fetchone()
                free = bool(row and row["free"])
                if free:
                    await connection.execute("select pg_advisory_unlock(%s)", (number,))
                return not free

    async def unblock(self, worker: WorkerAt, lease: float) -> None:
        """End the sessions that a stopped process keeps in a transaction: those that it began
        before its next heartbeat was due. Idle ones stay; the fence keeps them out."""
        async with self.pool.connection() as connection:
            ended = await connection.execute(
                _END_SESSIONS,
                {"name": _session(worker.host, worker.pid), "until": worker.beat_at + lease},
            )
            if ended.rowcount:
                log.error(
                    "process %d on %s was stopped inside a transaction: %d of its sessions were "
                    "ended, and its jobs are taken over",
                    worker.pid,
                    worker.host,
                    ended.rowcount,
                )

    async def _listen(self) -> None:
        self._ear = await psycopg.AsyncConnection.connect(self.url, autocommit=True, **KEEPALIVES)
        await self._ear.execute(f"listen {CHANNEL}")

    @property
    def pool(self) -> Pool:
        """The connections of the loop."""
        if self._pool is None:
            raise DatabaseError("the database is not open")
        return self._pool


class Apart:
    """Connections for other threads than the loop's: they may wait for each other, and never for
    the loop, which may wait for them."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: ConnectionPool[psycopg.Connection[Any]] | None = None
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._lock:
            pool = self._open_pool()
        with pool.connection() as connection:
            yield connection

    def close(self) -> None:
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(timeout=1.0)

    def _open_pool(self) -> ConnectionPool[psycopg.Connection[Any]]:
        if self._closed:
            raise DatabaseError("the database is not open")
        if self._pool is None:
            self._pool = ConnectionPool(
                self._url,
                min_size=0,
                max_size=4,
                open=True,
                timeout=30,
                kwargs={
                    "autocommit": True,
                    "prepare_threshold": 0,
                    "row_factory": dict_row,
                    "options": OPTIONS,
                    "application_name": _session(socket.gethostname(), os.getpid()),
                    **KEEPALIVES,
                },
            )
        return self._pool


async def _drive(operation: Operation[T], connection: AsyncConnection[Any]) -> T:
    async with connection.cursor() as cursor:
        return await drive(operation, partial(on_async_postgres, cursor))


def prepare(url: str, migrate_queue: Callable[[str], None]) -> None:
    """Bring the schemas of ledger, savers and queue up to date; one process at a time."""
    with psycopg.connect(url, autocommit=True) as connection:
        if _version(connection) == HEAD:
            return
        # Asked for again and again: DBOS makes indexes concurrently, which waits for every
        # statement that runs, and so for one that waits for this lock.
        while not _try_lock(connection, "migrations"):
            time.sleep(0.1)
        if _version(connection) != HEAD:
            _prepare_all(url, migrate_queue)


def _prepare_all(url: str, migrate_queue: Callable[[str], None]) -> None:
    import sqlalchemy.exc

    try:
        _prepare_savers(url)
        migrate_queue(url)
        _migrate(url)  # last: its version says that all three are there
    except sqlalchemy.exc.DBAPIError as error:
        raise (error.orig or error) from error


def _try_lock(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("select pg_try_advisory_lock(%s)", (lock_number(name),)).fetchone()
    return bool(row and row[0])


def _version(connection: psycopg.Connection[Any]) -> str | None:
    found = connection.execute("select to_regclass('ucop.alembic_version')").fetchone()
    if not found or found[0] is None:
        return None
    row = connection.execute("select version_num from ucop.alembic_version").fetchone()
    return check_version(row[0] if row else None, "the PostgreSQL database")


def _prepare_savers(url: str) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()


def _migrate(url: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(_sqlalchemy_url(url), connect_args={"options": OPTIONS})
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("create schema if not exists ucop")
            upgrade(connection)
    finally:
        engine.dispose()


def _session(host: str, pid: int) -> str:
    """What PostgreSQL calls a process's sessions; its names have at most 63 bytes."""
    return f"ucop {pid}@{host}"[:63]


def _sqlalchemy_url(url: str) -> str:
    return "postgresql+psycopg://" + url.split("://", 1)[1]


@contextmanager
def explained(url: str) -> Iterator[None]:
    """PostgreSQL's errors, as errors that say what to do. Never shows the password."""
    try:
        yield
    except psycopg.Error as error:
        raise _explain(error, url) from error


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """`explained` for what is no fault of the statement: a lost connection, a full server, a
    lock that nobody lets go of. A value that PostgreSQL cannot hold stays the job's error."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if _is_refusal(error):
            raise
        raise _explain(error, url) from error


def _is_refusal(error: BaseException) -> bool:
    """Whether PostgreSQL works, and a value is too large for it, or is none."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, psycopg.DataError) or state.startswith(("22", "54")):
        return True
    return state == "XX000" and "alloc" in str(error)


def _explain(error: BaseException, url: str) -> DatabaseError:
    explained = _explanation(error, url)
    explained.place = url
    return explained


def _explanation(error: BaseException, url: str) -> DatabaseError:
    place = shown_url(url).split("://", 1)[1].rsplit("@", 1)[-1]
    said = without_url_secrets(str(error).strip(), url)
    text = said.splitlines()[0] if said else type(error).__name__
    kept = "what was accepted before is kept, and jobs go on when the cause is gone"
    state = getattr(error, "sqlstate", None) or ""
    if _is_refusal(error):
        return DatabaseRefusal(f"PostgreSQL at {place} refuses a value: {text}")
    if state.startswith("53"):
        return DatabaseError(f"PostgreSQL at {place} is out of resources ({text}); {kept}")
    if state == "55P03":
        return DatabaseBusy(
            f"PostgreSQL at {place}: a lock was held too long ({text}); a process that was stopped "
            f"inside a transaction may have it. {kept}"
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return DatabaseError(
            f"PostgreSQL at {place} cannot be reached ({text}); check that it runs, and the URL; "
            f"{kept}"
        )
    return DatabaseError(f"PostgreSQL at {place}: {text}")
