"""The saver of a database, and graphs that save to it.

Each database's saver is imported where it is used: who has SQLite alone loads no driver of PostgreSQL.
"""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ucop.graphs.pregel.allowlist import allowlist_of

from ..database.sqlite import SqliteDatabase
from ..values.serializer import serializer, used_types
from . import pregel_loops
from .fence import Kept

if TYPE_CHECKING:
    from langgraph.pregel import Pregel
    from langgraph.store.base import BaseStore

    from ..database.database import Database
    from .postgres_saver import FencedPostgresSaver
    from .sqlite_saver import FencedSqliteSaver

    FencedSaver = FencedSqliteSaver | FencedPostgresSaver


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


def saver_of(database: Database, types: Sequence[str] = ()) -> FencedSaver:
    """A saver of an open database, on the engine's loop; each attempt takes a copy of it. `types`
    are the classes that states may hold beside the project's: see Settings.state."""

    saver: FencedSaver
    if isinstance(database, SqliteDatabase):
        from .sqlite_saver import FencedSqliteSaver

        saver = FencedSqliteSaver(database.connection, serde=serializer(types))
        saver.is_setup = True  # by `sqlite.prepare`
        saver.retry, saver.commit = database.retry, database.commit
        saver.apart, saver.place = database.apart, str(database.path)
    else:
        from ..database.postgres import PostgresDatabase
        from .postgres_saver import FencedPostgresSaver

        assert isinstance(database, PostgresDatabase)
        saver = FencedPostgresSaver(database.pool, serde=serializer(types))
        saver.apart, saver.url, saver.place = database.apart, database.url, database.url
    saver.loop = asyncio.get_running_loop()
    saver._by_graph = {}
    return saver


def save_on(calls: Sequence[Kept], connection: Any) -> None:
    """Save in the transaction that is open on a connection of either database's driver."""
    if isinstance(connection, sqlite3.Connection):
        from .sqlite_saver import Unfenced

        lite = Unfenced(connection, serializer())
        for method, arguments in calls:
            getattr(lite, method)(*arguments)
    else:
        from langgraph.checkpoint.postgres import PostgresSaver

        from .postgres_saver import save_by

        saver = PostgresSaver(connection, serde=serializer())
        for call in calls:
            save_by(saver, call)
