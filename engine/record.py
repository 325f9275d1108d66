"""Records: data that travels."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Data that travels is frozen and takes no unknown fields."""

    # A command that reads builds the validators of the records that it reads, and no others.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


R = TypeVar("R", bound=Record)


def record_of(kind: type[R], row: Any, **given: Any) -> R:
    """A record from the columns of a row that are named like its fields, and from what is `given`.
    The ledger keeps times as seconds since the epoch."""
    names = kind.model_fields.keys() & set(row.keys()) - given.keys()
    times = _times(kind)
    read = {name: time_or_none(row[name]) if name in times else row[name] for name in names}
    return kind(**read, **given)


@cache
def _times(kind: type[Record]) -> frozenset[str]:
    """The fields that hold a moment."""
    fields = kind.model_fields.items()
    return frozenset(name for name, f in fields if f.annotation in (datetime, datetime | None))


def time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else time_of(seconds)
