"""Hearing what other processes commit, without an engine: for whoever only looks."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import Protocol

from ..dialect import SQLITE, dialect_of
from ..errors import DatabaseError
from .database_file import file_of, sweep_log
from .read_only import NoDatabase, connect_to_file, connect_to_server


class Ear(Protocol):
    """From one thread at a time."""

    def hear(self, wait: float) -> bool:
        """Whether anybody wrote since the last call, waiting up to `wait` seconds for it. May be
        true where nothing that matters was written. Raises DatabaseError, NoDatabase among
        them; then a new ear is needed."""

    def close(self) -> None: ...


def open_ear(url: str) -> Ear:
    """An ear at the database of `url`. Raises DatabaseError; creates nothing."""
    if dialect_of(url) is SQLITE:
        return _FileEar(file_of(url))
    return _ServerEar(url)


class _FileEar:
    """`PRAGMA data_version` tells of every commit but one's own, and this one makes none."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, self._identity(path)
        self._lock = threading.Lock()
        try:
            self._connection = connect_to_file(path)
        except sqlite3.Error as error:
            raise self._explain(error) from error
        self._version = self._read()

    def hear(self, wait: float) -> bool:
        if self._is_news():
            return True
        time.sleep(wait)
        return self._is_news()

    def close(self) -> None:
        with self._lock:
            self._connection.close()
        sweep_log(self._path)

    def _is_news(self) -> bool:
        # An open file can be read long after it was deleted, or another took its place.
        if self._identity(self._path) != self._file:
            raise DatabaseError(f"{self._path}: another file took the database's place")
        before, self._version = self._version, self._read()
        return self._version != before

    def _read(self) -> int:
        try:
            with self._lock:
                (version,) = self._connection.execute("pragma data_version").fetchone()
        except sqlite3.Error as error:
            raise self._explain(error) from error
        return int(version)

    def _explain(self, error: sqlite3.Error) -> DatabaseError:
        from .sqlite_errors import explain

        return explain(error, self._path)

    @staticmethod
    def _identity(path: Path) -> tuple[int, int]:
        try:
            found = os.stat(path)
        except OSError as error:
            raise NoDatabase(f"{path}: no database: {error.strerror}") from error
        return found.st_dev, found.st_ino


class _ServerEar:
    """NOTIFY tells of changes of jobs. Checkpoints tell of none, because a NOTIFY makes commits
    wait for each other: the number of the newest transaction, looked at after each wait, does."""

    def __init__(self, url: str) -> None:
        from .postgres import CHANNEL, explained

        self._url = url
        self._connection = connect_to_server(url)
        with explained(url):
            self._connection.execute(f"listen {CHANNEL}")
            self._newest = self._read()

    def hear(self, wait: float) -> bool:
        from .postgres import explained

        with explained(self._url):
            told = any(True for _ in self._connection.notifies(timeout=wait, stop_after=1))
            before, self._newest = self._newest, self._read()
            return told or self._newest != before

    def close(self) -> None:
        self._connection.close()

    def _read(self) -> str:
        newest = "select pg_snapshot_xmax(pg_current_snapshot()) as newest"
        row = self._connection.execute(newest).fetchone()
        return str(row["newest"]) if row else ""
