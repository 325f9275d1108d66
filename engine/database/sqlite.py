"""SQLite: one file, one connection for writing, used inline on the engine's loop."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from ..errors import DatabaseBusy, DatabaseError, DatabaseTooNew
from ..faults import fault
from ..jobs.job import WorkerId
from ..ledger import workers
from ..ledger.migrations import HEAD, upgrade
from ..ledger.operation import Operation, Save, Statement, run
from ..ledger.workers import WorkerAt
from .database_file import file_of
from .drivers import on_sqlite
from .group_commit import GroupCommit
from .sqlite_errors import explain, explained
from .sqlite_lock import holder, is_stopped, started_before

log = logging.getLogger("ucop.database")

T = TypeVar("T")

BUSY = 0.005
"""Seconds that a write may block the loop while another process holds the lock."""

PATIENCE = 60.0
"""Seconds that a write is tried again before DatabaseBusy."""

LOG_PAGES = 4000
"""Pages (of 4 KiB) in the write-ahead log before SQLite copies them into the file, and waits for
the disk. A job's pages are written again and again, and are copied once."""

SUSPICIOUS = 1.0
"""Seconds of waiting after which a write looks who holds the lock, and looks again."""


class SqliteDatabase:
    """See database.Database."""

    clock: Callable[[], float] = time.time
    """The database's: that of its machine."""

    def __init__(
        self,
        url: str,
        *,
        synchronous: str = "NORMAL",
        lease: float = 30.0,
    ) -> None:
        self.url = url
        self._lease = lease
        self.path = file_of(url)
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._group = GroupCommit(self._transaction, self.retry)
        self.apart = Apart(self.path, synchronous, self._end_stopped)
        """The connection of other threads than the loop's."""

    async def open(self) -> None:
        await asyncio.to_thread(prepare, self.path)
        with explained(self.path):
            self._connection = open_file(self.path, synchronous=self._synchronous)

    async def close(self) -> None:
        """Whoever is the last to close leaves the file alone, without a log beside it."""
        self.apart.close()
        if self._connection is None:
            return
        # By hand: where others only read, SQLite would leave the log to the last of them, who
        # cannot write it back. Where somebody writes, it is theirs to do.
        with suppress(sqlite3.Error):
            self._connection.execute("pragma wal_checkpoint(truncate)").fetchall()
        self._connection.close()
        self._connection = None

    async def write(self, make: Callable[[], Operation[T]]) -> T:
        return await self._group.write(lambda: self._run(make()))

    async def emit(self, make: Callable[[], Operation[T]], jobs: Sequence[str]) -> T:
        return await self.write(make)

    def write_apart(self, make: Callable[[], Operation[T]]) -> T:
        return self.apart.write(lambda at: run(make(), lambda one: on_sqlite(at, one, self.clock)))

    async def read(self, make: Callable[[], Operation[T]]) -> T:
        # Readers wait too, for a moment: while the log of a killed process is recovered.
        return await self.retry(lambda: run(make(), self._execute))

    touch = read  # each statement is committed by itself

    async def changed(self) -> bool:
        with explained(self.path):
            (version,) = self.connection.execute("pragma data_version").fetchone()
        before, self._version = self._version, version
        return bool(version != before)

    @contextmanager
    def hold(self, worker: WorkerId) -> Iterator[None]:
        file = self._locks() / worker
        with explained(self.path):
            file.parent.mkdir(exist_ok=True)
            lock = file.open("w")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    async def is_held(self, worker: str) -> bool:
        file = self._locks() / worker
        try:
            with file.open("r+") as lock:
                if not _try_lock(lock):
                    return True
                file.unlink(missing_ok=True)  # its process is dead, and its id never used again
        except FileNotFoundError:
            pass
        return False

    async def unblock(self, worker: WorkerAt, lease: float) -> None:
        """Nothing to do here: whoever waits for the write lock sees to that; see `retry`."""

    async def retry(self, work: Callable[[], T]) -> T:
        """Run something; while another process holds the lock, let the loop do other work and
        try again."""
        began = looked = time.monotonic()
        pause = 0.001
        while True:
            try:
                with explained(self.path):
                    return work()
            except DatabaseBusy:
                now = time.monotonic()
                if now - began > PATIENCE:
                    raise
            if now - looked > SUSPICIOUS:
                await self._end_stopped_holder()
                looked = time.monotonic()
            await asyncio.sleep(pause)
            pause = min(pause * 2, 0.05)

    async def _end_stopped_holder(self) -> None:
        """A worker's process that was stopped inside a transaction cannot be made to let go of
        the write lock, so it is ended. It is known by its number, its start and by holding the
        lock; it must be stopped, and silent for a lease."""
        pid = await asyncio.to_thread(holder, self.path)
        self._end_stopped(pid, self.connection)

    def _end_stopped(self, pid: int | None, connection: sqlite3.Connection) -> None:
        if pid is None or not is_stopped(pid):
            return
        with explained(self.path):
            here = run(
                workers.workers_at(socket.gethostname(), pid),
                lambda statement: on_sqlite(connection, statement, self.clock),
            )
        beat = max((worker.beat_at for worker in here), default=None)
        if beat is None or self.clock() - beat < self._lease or not started_before(pid, beat):
            log.warning("process %d was stopped while it held the write lock of %s", pid, self.path)
            return
        log.error(
            "process %d was stopped while it held the write lock of %s, and everyone waited "
            "for it: it was ended with SIGKILL, and its jobs are taken over",
            pid,
            self.path,
        )
        os.kill(pid, signal.SIGKILL)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self.path):
            connection = self.connection
            connection.execute("begin immediate")
            try:
                yield
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise

    def _run(self, operation: Operation[T]) -> T:
        result = run(operation, self._execute)
        fault("inside ledger write")
        return result

    def _execute(self, statement: Statement) -> Sequence[Any]:
        if isinstance(statement, Save):
            statement.into(self.connection)
            return ()
        return on_sqlite(self.connection, statement, self.clock)

    @property
    def connection(self) -> sqlite3.Connection:
        """The loop's."""
        if self._connection is None:
            raise DatabaseError(f"{self.path}: the database is not open")
        return self._connection

    @property
    def commit(self) -> Callable[..., Awaitable[Any]]:
        """Writes in a transaction; see GroupCommit.write."""
        return self._group.write

    def _locks(self) -> Path:
        return self.path.with_name(self.path.name + ".workers")


class Apart:
    """A second connection for other threads than the loop's, one at a time: they may wait for the
    write lock, and for each other, and never for the loop, which may wait for them."""

    def __init__(
        self,
        path: Path,
        synchronous: str,
        end_stopped: Callable[[int | None, sqlite3.Connection], None],
    ) -> None:
        self._path, self._synchronous, self._end_stopped = path, synchronous, end_stopped
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._closed = False

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` finds."""
        with self._lock, explained(self._path):
            return work(self._open())

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction, once the write lock is free."""
        with self._lock, explained(self._path):
            connection = self._open()
            self._begin(connection)
            try:
                result = work(connection)
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise
            return result

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _begin(self, connection: sqlite3.Connection) -> None:
        began = looked = time.monotonic()
        while True:
            try:
                connection.execute("begin immediate")
            except sqlite3.OperationalError as error:
                if not isinstance(explain(error, self._path), DatabaseBusy):
                    raise
                now = time.monotonic()
                if now - began > PATIENCE:
                    raise
            else:
                return
            if time.monotonic() - looked > SUSPICIOUS:
                self._end_stopped(holder(self._path), connection)
                looked = time.monotonic()

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise DatabaseError(f"{self._path}: the database is not open")
        if self._connection is None:
            self._connection = open_file(self._path, synchronous=self._synchronous)
            self._connection.execute("pragma busy_timeout = 250")
        return self._connection


def open_file(path: Path, *, synchronous: str = "NORMAL") -> sqlite3.Connection:
    """A connection as the engine uses it: explicit transactions, rows by name."""
    connection = sqlite3.connect(
        path, timeout=BUSY, isolation_level=None, check_same_thread=False, cached_statements=512
    )
    connection.row_factory = sqlite3.Row
    connection.execute(f"pragma synchronous = {synchronous}")
    connection.execute(f"pragma wal_autocheckpoint = {LOG_PAGES}")
    return connection


def prepare(path: Path) -> None:
    """Create the file where there is none, and bring its schema up to date."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseError(f"{path.parent}: cannot be created: {error.strerror}") from error
    with explained(path):
        if version(path) == HEAD:
            return
        with _alone(path):
            _migrate(path)


def version(path: Path) -> str | None:
    """The schema's version, None where there is none yet. Raises DatabaseTooNew."""
    if not path.exists() or path.stat().st_size == 0:
        return None
    connection = _patient_connection(path)
    connection.row_factory = sqlite3.Row
    try:
        table = "select 1 from sqlite_master where name = 'alembic_version'"
        if not connection.execute(table).fetchone():
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
    finally:
        connection.close()
    return check_version(row["version_num"] if row else None, str(path))


def check_version(found: str | None, where: str) -> str | None:
    """`found`, unless a later ucop wrote it."""
    if found is not None and found > HEAD:
        raise DatabaseTooNew(
            f"{where}: its schema is {found}, this ucop knows {HEAD}: install the newer ucop "
            "that wrote it, or use another database"
        )
    return found


def _migrate(path: Path) -> None:
    import sqlalchemy as sa

    _prepare_saver(path)
    engine = sa.create_engine("sqlite://", creator=lambda: _patient_connection(path))
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("pragma journal_mode = wal")
            connection.exec_driver_sql("begin exclusive")
            upgrade(connection)
            connection.exec_driver_sql("commit")
    except sa.exc.DBAPIError as error:
        raise (error.orig or error) from error
    finally:
        engine.dispose()


def _prepare_saver(path: Path) -> None:
    """LangGraph's tables. Before ours: their version says that all are there."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    connection = _patient_connection(path)
    try:
        SqliteSaver(connection).setup()
    finally:
        connection.close()


def _patient_connection(path: Path) -> sqlite3.Connection:
    """For a thread, which may wait for other processes."""
    return sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process migrates, the others wait. The lock file stays: to remove it would race."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
