"""A ledger operation: SQL without a driver.

An operation is a generator. It yields statements and receives their rows; whoever runs it
opens one transaction around all of it. So each operation is written once and runs on
SQLite, on an asynchronous and on a synchronous PostgreSQL connection alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Params = Mapping[str, Any]

T = TypeVar("T")


class Row(Protocol):
    """What sqlite3.Row and psycopg's dict rows have in common."""

    def __getitem__(self, key: str, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class One:
    """One statement; the operation receives its rows."""

    sql: str
    params: Params


@dataclass(frozen=True, slots=True)
class Many:
    """One statement for each set of parameters; the operation receives no rows."""

    sql: str
    params: Sequence[Params]


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Hand an attempt to the queue, in this transaction. The embedded queue is the ledger
    itself and needs nothing; DBOS gets a row of its own."""

    job_id: str
    attempt: int
    priority: int = 0
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Alone:
    """Until this transaction ends, no other that asks for the same name goes on. SQLite has one
    writer anyway."""

    name: str


@dataclass(frozen=True, slots=True)
class Save:
    """Checkpoints that are saved in this transaction."""

    into: Callable[[Any], Awaitable[None] | None]
    """Saves them on a connection of the database's driver, which may have to be awaited."""


Statement = One | Many | Enqueue | Alone | Save
Operation = Generator[Statement, Sequence[Row], T]
Make = Callable[[], Operation[T]]


def clock() -> Operation[float]:
    """What time it is, in seconds since the epoch, on the database's clock."""
    return float((yield One("select {now} as now", {}))[0]["now"])


def run(operation: Operation[T], execute: Callable[[Statement], Sequence[Row]]) -> T:
    """Drive an operation over a synchronous connection."""
    try:
        statement = next(operation)
        while True:
            statement = operation.send(execute(statement))
    except StopIteration as stop:
        result: T = stop.value
        return result


async def drive(
    operation: Operation[T], execute: Callable[[Statement], Awaitable[Sequence[Row]]]
) -> T:
    """`run`, over an asynchronous connection."""
    try:
        statement = next(operation)
        while True:
            statement = operation.send(await execute(statement))
    except StopIteration as stop:
        result: T = stop.value
        return result
