"""Runs one statement of an operation on a connection of each driver.

`operation.run` and `operation.drive` lead an operation through these. Light: psycopg is not
imported here, because those who only read a SQLite file have no use of it.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..dialect import POSTGRES, SQLITE
from ..ledger.operation import Alone, Enqueue, Many, One, Save, Statement
from .tickets import ticket

if TYPE_CHECKING:
    import psycopg

ALONE = """
select set_config('idle_in_transaction_session_timeout', '15s', true), pg_advisory_xact_lock(%s)"""
"""A process that is stopped while it has such a lock loses its session, and with it the lock."""

_ELSEWHERE = "an operation that queues or saves runs on the loop's connections"


def on_sqlite(
    connection: sqlite3.Connection, statement: Statement, clock: Callable[[], float] = time.time
) -> Sequence[Any]:
    """Queueing needs nothing, because the ledger is the queue here. A file's database has the clock
    of its machine, which all its processes share."""
    match statement:
        case One(sql, params):
            text = SQLITE.text(sql)
            if ":now" in text:
                params = {**params, "now": clock()}
            return connection.execute(text, params).fetchall()
        case Many(sql, many):
            text = SQLITE.text(sql)
            if ":now" in text:
                now = clock()
                many = [{**params, "now": now} for params in many]
            connection.executemany(text, many)
    return ()


def on_postgres(cursor: psycopg.Cursor[Any], statement: Statement) -> Sequence[Any]:
    match statement:
        case One(sql, params):
            cursor.execute(POSTGRES.text(sql), params)
            return cursor.fetchall() if cursor.description else ()
        case Many(sql, many):
            cursor.executemany(POSTGRES.text(sql), many)
        case Alone(name):
            cursor.execute(ALONE, (lock_number(name),))
        case Enqueue() | Save():
            raise RuntimeError(_ELSEWHERE)
    return ()


async def on_async_postgres(
    cursor: psycopg.AsyncCursor[Any], statement: Statement, *, pipelined: bool = False
) -> Sequence[Any]:
    """`pipelined`: no statement's result is known before it is asked for, so each has rows."""
    match statement:
        case One(sql, params):
            await cursor.execute(POSTGRES.text(sql), params)
            return await cursor.fetchall() if pipelined or cursor.description else ()
        case Many(sql, many):
            await cursor.executemany(POSTGRES.text(sql), many)
        case Alone(name):
            await cursor.execute(ALONE, (lock_number(name),))
        case Enqueue():
            queued = ticket(statement)
            await cursor.execute(POSTGRES.text(queued.sql), queued.params)
        case Save(into):
            if (saving := into(cursor.connection)) is not None:
                await saving
    return ()


def lock_number(name: str) -> int:
    """The 64-bit key of PostgreSQL's advisory lock of that name."""
    digest = hashlib.sha256(f"ucop {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
