"""What all tests share: a PostgreSQL server for the session, a database for a test."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer

FIRST = (
    "test_state_machine.py", "test_wheel.py", "test_console.py", "test_edits.py",
    "test_budget_limits.py", "test_crash_points.py", "test_cli_run.py", "test_blog_survives.py",
    "test_library_on_model.py", "test_embedded_model.py",
)  # fmt: skip
"""The files that take longest: they run first, so that none is left alone at the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        name = item.path.name
        return FIRST.index(name) if name in FIRST else len(FIRST)

    items.sort(key=turn)  # keeps all else in its order


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
