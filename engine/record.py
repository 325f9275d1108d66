"""Records: data that travels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
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

    It is not validated: the ledger wrote the row, and to build a validator takes longer than to
    list jobs.
    """
    readers, columns = _readers(kind), set(row.keys()) - given.keys()
    read = {name: reader(row[name]) for name, reader in readers.items() if name in columns}
    return kind.model_construct(**read, **given)


@cache
def _readers(kind: type[Record]) -> Mapping[str, Callable[[Any], Any]]:
    """What makes the value of a field from its column."""
    return {name: _reader(field.annotation) for name, field in kind.model_fields.items()}


def _reader(annotation: Any) -> Callable[[Any], Any]:
    if annotation in (datetime, datetime | None):
        return time_or_none
    if isinstance(annotation, type) and (annotation is bool or issubclass(annotation, Enum)):
        return annotation
    return lambda value: value


def time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else time_of(seconds)
