"""What the database holds of some jobs, read with the driver and LangGraph's own saver: none of
ucop's code takes part."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

Row = dict[str, Any]
Rows = dict[str, list[Row]]
"""A job's rows by table."""

TABLES = {
    "jobs": ("id", "id"),
    "attempts": ("job_id", "number"),
    "steps": ("job_id", "task_id, attempt"),
    "events": ("job_id", "seq"),
    "questions": ("job_id", "id"),
    "checkpoints": ("thread_id", "checkpoint_ns, checkpoint_id"),
    "writes": ("thread_id", "checkpoint_ns, checkpoint_id, task_id, idx"),
}
"""Each table's column for the job, and its order."""


class LedgerRows:
    """A connection of its own to the database at `url`."""

    def __init__(self, url: str) -> None:
        self.is_postgres = not url.startswith("sqlite:")
        self._tables = dict(TABLES)
        self._connection: Any
        if self.is_postgres:
            import psycopg
            from langgraph.checkpoint.postgres import PostgresSaver
            from psycopg.rows import dict_row

            self._connection = psycopg.connect(
                url, autocommit=True, row_factory=dict_row, options="-c search_path=ucop,public"
            )
            self.saver: Any = PostgresSaver(self._connection)
            self._tables["checkpoint_writes"] = self._tables.pop("writes")
            blobs = ("thread_id", "checkpoint_ns, channel, version")
            self._tables["checkpoint_blobs"] = blobs
        else:
            from langgraph.checkpoint.sqlite import SqliteSaver

            self._connection = sqlite3.connect(
                url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self.saver = SqliteSaver(self._connection)
            self.saver.is_setup = True  # it is read only here, and setup would write

    def close(self) -> None:
        self._connection.close()

    def of(self, jobs: Iterable[str]) -> dict[str, Rows]:
        """All that there is of each job and of the thread of its name, in a fixed order."""
        ids = list(jobs)
        found: dict[str, Rows] = {id: {table: [] for table in self._tables} for id in ids}
        for table, (key, order) in self._tables.items():
            for row in self._select(table, key, order, ids):
                found[row[key]][table].append(row)
        return found

    def held(self, thread: str) -> tuple[str | None, Mapping[str, Any], set[str]]:
        """A thread's newest checkpoint, the values in it, and the nodes that have written since."""
        saved = self.saver.get_tuple({"configurable": {"thread_id": thread}})
        if saved is None:
            return None, {}, set()
        wrote = {
            name
            for _, channel, value in saved.pending_writes or ()
            if channel == "log"
            for name in value
        }
        return saved.checkpoint["id"], saved.checkpoint["channel_values"], wrote

    def values(self, thread: str, checkpoint: str) -> Mapping[str, Any]:
        """The values in one checkpoint."""
        where = {"thread_id": thread, "checkpoint_ns": "", "checkpoint_id": checkpoint}
        saved = self.saver.get_tuple({"configurable": where})
        values: Mapping[str, Any] = saved.checkpoint["channel_values"]
        return values

    def _select(self, table: str, key: str, order: str, ids: list[str]) -> list[Row]:
        if self.is_postgres:
            sql = f"select * from {table} where {key} = any(%s) order by {order}"
            return list(self._connection.execute(sql, [ids]).fetchall())
        marks = ",".join("?" * len(ids))
        sql = f"select * from {table} where {key} in ({marks}) order by {order}"
        return [dict(row) for row in self._connection.execute(sql, ids)]


def everything(url: str) -> str:
    """Every row of every table of a database, as one text; bytes are read as Latin-1."""
    if url.startswith("sqlite:"):
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"))
        tables = "select name from sqlite_master where type = 'table'"
    else:
        import psycopg

        connection = psycopg.connect(url, autocommit=True)
        tables = """
select quote_ident(table_schema) || '.' || quote_ident(table_name)
from information_schema.tables
where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')"""
    try:
        names = [row[0] for row in connection.execute(tables).fetchall()]
        rows = [row for n in names for row in connection.execute(f"select * from {n}").fetchall()]
    finally:
        connection.close()
    return "\n".join(_text(value) for row in rows for value in row)


def _text(value: Any) -> str:
    is_bytes = isinstance(value, bytes | memoryview)
    return bytes(value).decode("latin-1") if is_bytes else str(value)
