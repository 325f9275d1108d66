"""What all tests share: a PostgreSQL server for the session, a database for a test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with ucop's schema, of this test's own."""
    url = postgres_server.fresh()
    yield url
    postgres_server.drop(url)


# A shell without job control starts what runs in the background with SIGINT ignored, and each
# process that a test starts would inherit that: Ctrl-C would stop none of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
