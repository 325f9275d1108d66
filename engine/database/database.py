"""The one database of ledger, checkpoints and queue: what the engine needs of it.

SQLite and PostgreSQL run the same operations (ledger/)
and pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from ..jobs.job import WorkerId
from ..ledger.operation import Operation
from ..ledger.workers import WorkerAt

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
