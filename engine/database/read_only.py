"""Connections that only read, of whoever looks: neither database lets them write.

Light: here are the drivers alone, and each is imported where it is used.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..dialect import POSTGRES, SQLITE, Dialect, dialect_of
from ..errors import DatabaseError
from ..ledger.operation import One, Params, Row
from .database_file import file_of, is_left_alone, sweep_log
from .drivers import on_sqlite

if TYPE_CHECKING:
    import psycopg

Rows = Callable[[str, Params], Sequence[Row]]

EARLIER = (
    "an earlier version of ucop made this database; reading changes nothing: start a worker "
    "(`ucop worker`) of this version, which brings it up to date"
)

READ_ONLY = "-c default_transaction_read_only=on"

READER = "ucop reader"
"""What PostgreSQL calls the sessions of those who look."""


class NoDatabase(DatabaseError):
    """There is no database yet; it is made by the first job."""


class Connection(Protocol):
    dialect: Dialect

    def rows(self, sql: str, params: Params) -> Sequence[Row]: ...
    def snapshot(self) -> AbstractContextManager[Rows]:
        """A connection of its own that sees the database as it is now, whatever is written
        meanwhile. Where it is lost, reading ends with DatabaseError."""

    def close(self) -> None: ...


def connect(url: str) -> Connection:
    """A connection to the database at `url`. Raises DatabaseError; creates nothing."""
    if dialect_of(url) is POSTGRES:
        return _Postgres(url)
    path = file_of(url)
    if not path.exists():
        raise NoDatabase(f"{path}: no database yet; `ucop run …` makes one")
    with _explained(path):
        return _Lite(path)


class _Lite:
    dialect = SQLITE

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = connect_to_file(path)

    def rows(self, sql: str, params: Params) -> Sequence[Row]:
        with self._lock, _explained(self._path):
            return on_sqlite(self._connection, One(sql, params))

    @contextmanager
    def snapshot(self) -> Iterator[Rows]:
        with _explained(self._path):
            other = connect_to_file(self._path)

        def rows(sql: str, params: Params) -> Sequence[Row]:
            with _explained(self._path):
                return on_sqlite(other, One(sql, params))

        try:
            with _explained(self._path):
                other.execute("begin")
            yield rows
        finally:
            other.close()

    def close(self) -> None:
        with self._lock:  # a thread may be inside of it
            self._connection.close()
        sweep_log(self._path)


class _Postgres:
    dialect = POSTGRES

    def __init__(self, url: str) -> None:
        self._url, self._lock = url, threading.Lock()
        self._closed = False
        self._connection = connect_to_server(url)

    def rows(self, sql: str, params: Params) -> Sequence[Row]:
        import psycopg

        from .postgres import explained

        with self._lock, explained(self._url), _no_tables():
            try:
                return self._connection.execute(POSTGRES.text(sql), params).fetchall()
            except psycopg.OperationalError:
                if self._closed:
                    raise
                # The server was restarted, or the connection cut: reading may try again.
                self._connection.close()
                self._connection = connect_to_server(self._url)
                return self._connection.execute(POSTGRES.text(sql), params).fetchall()

    @contextmanager
    def snapshot(self) -> Iterator[Rows]:
        import psycopg

        from .postgres import explained

        other = connect_to_server(self._url)

        def rows(sql: str, params: Params) -> Sequence[Row]:
            with explained(self._url), _no_tables():
                return other.execute(POSTGRES.text(sql), params).fetchall()

        try:
            with explained(self._url):
                other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                other.autocommit = False
            yield rows
        finally:
            other.close()

    def close(self) -> None:
        self._closed = True
        self._connection.close()


def connect_to_file(path: Path) -> sqlite3.Connection:
    """Raises sqlite3.Error."""
    connection = _open_file(path, "mode=ro")
    try:
        connection.execute("select 1 from sqlite_master limit 1").fetchall()
    except sqlite3.OperationalError:
        connection.close()
        if not is_left_alone(path):
            raise
        # A backup, say, on a disk that cannot be written: SQLite cannot lock it, and need not.
        connection = _open_file(path, "mode=ro&immutable=1")
    return connection


def _open_file(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=10,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    return connection


def connect_to_server(url: str) -> psycopg.Connection[dict[str, Any]]:
    """Raises DatabaseError."""
    import psycopg
    from psycopg.rows import dict_row

    from .postgres import KEEPALIVES, OPTIONS, explained

    with explained(url):
        return psycopg.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            options=f"{OPTIONS} {READ_ONLY}",
            application_name=READER,
            **KEEPALIVES,
        )


@contextmanager
def _no_tables() -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise NoDatabase("no jobs in this database yet; `ucop run …` makes the tables") from error
    except psycopg.errors.UndefinedColumn as error:
        raise DatabaseError(EARLIER) from error


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            raise NoDatabase(f"{path}: no jobs yet; `ucop run …` makes the tables") from error
        if "no such column" in str(error):
            raise DatabaseError(f"{path}: {EARLIER}") from error
        raise _explain(error, path) from error
    except sqlite3.Error as error:
        raise _explain(error, path) from error


def _explain(error: sqlite3.Error, path: Path) -> DatabaseError:
    from .sqlite_errors import explain

    return explain(error, path)
