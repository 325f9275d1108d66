"""Attempts are queued with tickets of DBOS's, which is imported when the database is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ..ledger.operation import Enqueue
    from .dbos import Sender


class DbosTickets:
    """See database.Tickets."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sender: Sender | None = None

    def migrate(self) -> None:
        from .dbos import migrate

        migrate(self._url)

    def open(self) -> None:
        from .dbos import Sender

        self._sender = Sender(self._url)

    def enqueue(self, transaction: sa.Connection, attempt: Enqueue) -> None:
        assert self._sender is not None
        self._sender.enqueue(transaction, attempt)

    def close(self) -> None:
        if self._sender is not None:
            self._sender.close()
