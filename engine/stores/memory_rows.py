"""What is remembered, listed and deleted by SQL, for commands that need no vectors: LangGraph's
store takes ten times as long to load as they take to answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ucop.agents.memory.memory import Remembered, space_of

from ..ledger.operation import One, Operation

_WITHIN = "(prefix = :at or substr(prefix, 1, length(cast(:below as text))) = :below)"

_LIST = f"""
select prefix, key, value, updated_at from store where {_WITHIN}
order by updated_at desc, prefix, key"""  # noqa: S608 - ours

_COUNT = f"""
select prefix, count(*) as items from store where {_WITHIN} group by prefix order by prefix"""  # noqa: S608

_DELETE = f"""
delete from store where {_WITHIN} and (cast(:key as text) is null or key = :key)
returning key"""  # noqa: S608

_HAS_VECTORS = "select 1 from sqlite_master where name = 'store_vectors'"

_DELETE_VECTORS = """
delete from store_vectors where (prefix, key) not in (select prefix, key from store)"""


def remembered(namespace: Sequence[str]) -> Operation[list[Remembered]]:
    """Everything at and below a namespace (Memory.namespace), the newest first."""
    return [
        Remembered(
            key=row["key"],
            value=_object(row["value"]),
            score=None,
            updated_at=_moment(row["updated_at"]),
            space=space_of(row["prefix"]),
        )
        for row in (yield One(_LIST, _within(namespace)))
    ]


def spaces(namespace: Sequence[str]) -> Operation[list[tuple[tuple[str, ...], int]]]:
    """The spaces at and below a namespace that hold anything, and how many things each holds."""
    rows = yield One(_COUNT, _within(namespace))
    return [(space_of(row["prefix"]), row["items"]) for row in rows]


def forget(namespace: Sequence[str], key: str | None, *, cascades: bool) -> Operation[int]:
    """Delete what is at and below a namespace, or what has this key there; returns how many.

    Args:
        cascades: Whether the database deletes vectors with their rows. SQLite does so only on
            connections that ask for it.
    """
    rows = yield One(_DELETE, {**_within(namespace), "key": key})
    if not cascades and (yield One(_HAS_VECTORS, {})):
        yield One(_DELETE_VECTORS, {})
    return len(rows)


def _within(namespace: Sequence[str]) -> dict[str, str]:
    prefix = ".".join(namespace)
    return {"at": prefix, "below": f"{prefix}."}


def _object(value: Any) -> dict[str, Any]:
    """PostgreSQL has objects of JSON, SQLite their text."""
    read: dict[str, Any] = value if isinstance(value, dict) else json.loads(value)
    return read


def _moment(value: Any) -> datetime:
    """PostgreSQL has moments, SQLite texts in UTC."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
