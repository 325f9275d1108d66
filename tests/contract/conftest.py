"""Every contract is kept by both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ucop.engine import Engine, Settings
from ucop.engine.connect import connect
from ucop.engine.database.database import Database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of this test's own."""
    if request.param == "postgres":
        postgres: str = request.getfixturevalue("postgres_url")
        return postgres
    return f"sqlite:///{tmp_path}/ucop.db"


@pytest.fixture
def settings(url: str, tmp_path: Path) -> Settings:
    return Settings.load(tmp_path, database=url, poll=0.02, sweep=0.2, lease=5.0)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    opened = connect(settings)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def open_engine(settings: Settings) -> Iterator[Callable[..., Engine]]:
    """Opens engines on this test's database, and closes them at the end."""
    with ExitStack() as stack:

        def opened(**options: Any) -> Engine:
            changed = settings.model_copy(update=options.pop("settings", {}))
            return stack.enter_context(Engine(settings=changed, **options))

        yield opened


@pytest.fixture
def engine(open_engine: Callable[..., Engine]) -> Engine:
    return open_engine()
