"""One forge for the session; a fleet with a database of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import roles
from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet, Forge, fresh_seed
from ucop.engine import Engine

DATABASES = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    forge = Forge()
    yield forge
    forge.close()


@pytest.fixture
def seed() -> int:
    """New for each run, printed with a failure; CHAOS_SEED repeats one."""
    seed = int(os.environ.get("CHAOS_SEED", "0")) or fresh_seed()
    print(f"seed {seed}")
    return seed


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        postgres: str = request.getfixturevalue("postgres_url")
        return postgres
    return f"sqlite:///{tmp_path / 'ucop.db'}"


@pytest.fixture
def fleet(url: str, tmp_path: Path, forge: Forge) -> Iterator[Fleet]:
    with Fleet(tmp_path, url, nap=0.01, forge=forge, sweep=0.1, poll=0.02) as fleet:
        yield fleet


@pytest.fixture
def engine(fleet: Fleet) -> Iterator[Engine]:
    """Submits and reads, and runs nothing."""
    with roles.open_engine(fleet.folder, fleet.url, worker=False) as engine:
        yield engine


@pytest.fixture
def auditor(engine: Engine, url: str) -> Iterator[Auditor]:
    with Auditor(url) as auditor:
        yield auditor
