"""What an engine is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dialect import POSTGRES, dialect_of

if TYPE_CHECKING:
    from .database.database import Database
    from .settings import Settings


def connect(settings: Settings) -> Database:
    """The database of a project, not opened yet. Raises InvalidSettings."""
    url = settings.url
    if dialect_of(url) is POSTGRES:
        from .database.postgres import PostgresDatabase
        from .queue.tickets import DbosTickets

        return PostgresDatabase(url, tickets=DbosTickets)
    from .database.sqlite import SqliteDatabase

    return SqliteDatabase(url, synchronous=settings.synchronous, lease=settings.lease)
