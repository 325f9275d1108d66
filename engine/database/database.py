"""The one database of ledger, checkpoints and queue: what the engine needs of it.

`connect` picks SQLite or PostgreSQL by the URL. Both run the same operations (ledger.py)
and pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..jobs.job import WorkerId
from ..ledger.operation import Operation
from ..ledger.workers import WorkerAt
from ..project import POSTGRES

if TYPE_CHECKING:
    from ..checkpoints.savers import FencedSaver

T = TypeVar("T")


class Database(Protocol):
    """Opened on the engine's loop, and used there only."""

    url: str

    async def open(self) -> None:
        """Connect, and bring the schema up to date. Raises DatabaseError."""

    async def close(self) -> None: ...

    async def write(self, make: Callable[[], Operation[T]]) -> T:
        """Run an operation in one transaction. Where another process holds the lock, it is
        made and run again until the lock is free."""

    async def touch(self, make: Callable[[], Operation[T]]) -> T:
        """Run an operation of one statement, which holds no lock while the loop does something
        else, and wakes nobody."""

    async def emit(self, make: Callable[[], Operation[T]], jobs: Sequence[str]) -> T:
        """`write`, for what jobs emit: only those hear of it who follow these jobs live."""

    def write_apart(self, make: Callable[[], Operation[T]]) -> T:
        """`write` on another connection, from any thread but the loop's."""

    async def read(self, make: Callable[[], Operation[T]]) -> T:
        """Run an operation that only reads."""

    async def changed(self) -> bool:
        """Whether another process may have written since the last call. Cheap."""

    def saver(self) -> FencedSaver:
        """The worker's saver; each attempt takes a copy of it."""

    def hold(self, worker: WorkerId) -> AbstractContextManager[None]:
        """A lock that the system drops when this process dies."""

    async def is_held(self, worker: str) -> bool:
        """Whether a living process holds the worker's lock."""

    async def unblock(self, worker: WorkerAt, lease: float) -> None:
        """End the transaction of a worker that exists, but gave no heartbeat for a lease: a
        process that was stopped inside one lets everyone else wait for its locks."""


class DatabaseSettings(Protocol):
    """The settings that say how a database is opened; Settings describes them."""

    @property
    def url(self) -> str: ...

    @property
    def synchronous(self) -> str: ...

    @property
    def lease(self) -> float: ...

    @property
    def state_types(self) -> tuple[str, ...]: ...


def connect(settings: DatabaseSettings, *, connections: int = 10) -> Database:
    """The database of a project, not opened yet: on PostgreSQL with that many connections at most.
    Raises InvalidSettings."""
    url = settings.url
    if url.startswith(POSTGRES):
        from .postgres import PostgresDatabase

        return PostgresDatabase(url, connections=connections, types=settings.state_types)
    from .sqlite import SqliteDatabase

    return SqliteDatabase(
        url,
        synchronous=settings.synchronous,
        lease=settings.lease,
        types=settings.state_types,
    )
