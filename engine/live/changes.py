"""Hearing which jobs emitted something, in any process. Open only while somebody follows a job."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..database.database_file import file_of
from ..database.drivers import on_sqlite
from ..database.read_only import connect_to_file
from ..dialect import SQLITE, dialect_of
from ..errors import DatabaseError
from ..ledger import live_rows
from ..ledger.operation import One

LOOK = 0.01
"""Seconds between two looks whether the file has changed."""

Tell = Callable[[Collection[str] | None], None]
"""Called with the jobs, or with None where it could be any."""


class LiveEar(Protocol):
    async def listen(self, tell: Tell) -> None:
        """Go on until cancelled. Raises DatabaseError."""


def live_ear(url: str) -> LiveEar:
    """An ear at the database of `url`, for the engine's loop."""
    if dialect_of(url) is SQLITE:
        return _FileEar(file_of(url))
    return _ServerEar(url)


class _FileEar:
    """`PRAGMA data_version` costs microseconds; only where it moved the table is looked at."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def listen(self, tell: Tell) -> None:
        from ..database.sqlite_errors import explained

        with explained(self._path):
            connection = connect_to_file(self._path)
            try:
                await self._look(connection, tell)
            finally:
                connection.close()

    async def _look(self, connection: sqlite3.Connection, tell: Tell) -> None:
        version = _version(connection)
        newest = _rows(connection, live_rows.newest())[0]["id"]
        tell(None)
        while True:
            await asyncio.sleep(LOOK)
            if (now := _version(connection)) == version:
                continue
            version = now
            jobs = [row["job_id"] for row in _rows(connection, live_rows.since(newest))]
            if jobs:
                newest = _rows(connection, live_rows.newest())[0]["id"]
                tell(jobs)


class _ServerEar:
    def __init__(self, url: str) -> None:
        self._url = url

    async def listen(self, tell: Tell) -> None:
        import psycopg

        from ..database.postgres import KEEPALIVES, LIVE_CHANNEL, explained

        with explained(self._url):
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, application_name="ucop live", **KEEPALIVES
            ) as connection:
                await connection.execute(f"listen {LIVE_CHANNEL}")
                tell(None)
                async for notice in connection.notifies():
                    tell(notice.payload.split() or None)
        raise DatabaseError("PostgreSQL closed the connection that hears what jobs emit")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("pragma data_version").fetchone()
    return int(version)


def _rows(connection: sqlite3.Connection, statement: One) -> Sequence[Any]:
    return on_sqlite(connection, statement)
