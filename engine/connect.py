"""A project's database, by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dialect import POSTGRES, dialect_of

if TYPE_CHECKING:
    from .database.database import Database, DatabaseSettings


def connect(settings: DatabaseSettings, *, connections: int = 10) -> Database:
    """The database of a project, not opened yet: on PostgreSQL with that many connections at most.
    Raises InvalidSettings."""
    url = settings.url
    if dialect_of(url) is POSTGRES:
        from .database.postgres import PostgresDatabase

        return PostgresDatabase(url, migrate_queue=_migrate_queue, connections=connections)
    from .database.sqlite import SqliteDatabase

    return SqliteDatabase(url, synchronous=settings.synchronous, lease=settings.lease)


def _migrate_queue(url: str) -> None:
    from .queue.dbos import migrate

    migrate(url)
