"""A project's savers, made from its database, and graphs that save to them."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from langgraph.pregel import Pregel

from ucop.graphs.pregel.allowlist import allowlist_of
from ucop.graphs.pregel.wanted import need, need_use, wanted

from ..database.sqlite import SqliteDatabase
from ..journal.notes import Call
from ..values.serializer import used_types

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from ..database.database import Database
    from .postgres_saver import FencedPostgresSaver
    from .sqlite_saver import FencedSqliteSaver

with wanted("attaches savers to graphs"):
    need(Pregel, "_output_mapper", "_state_mapper")
    for stream in (Pregel.stream, Pregel.astream):
        need_use(stream, "_output_mapper", "_state_mapper")


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


FencedSaver: TypeAlias = "FencedSqliteSaver | FencedPostgresSaver"


def saver_of(database: Database, types: Sequence[str] = ()) -> FencedSaver:
    """A saver of an open database, on the engine's loop; each attempt takes a copy of it. `types`
    are the classes that states may hold beside the project's: see Settings.state."""
    if isinstance(database, SqliteDatabase):
        from .sqlite_saver import sqlite_saver

        return sqlite_saver(database, types)
    from .postgres_saver import postgres_saver

    return postgres_saver(database, types)


def save_on(calls: Sequence[Call], connection: Any) -> Awaitable[None] | None:
    """Save in the transaction that is open on a connection of either database's driver. What this
    returns is to be awaited."""
    if isinstance(connection, sqlite3.Connection):
        from . import sqlite_saver

        sqlite_saver.save(calls, connection)
        return None
    from . import postgres_saver

    return postgres_saver.save(calls, connection)
