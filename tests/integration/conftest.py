"""Engines that ask a scripted endpoint, or nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.ollama import ScriptedOllama
from tests.support.tally import Tally
from ucop.engine import Engine, Settings

QUICK = {"poll": 0.02, "sweep": 0.2, "grace": 0.0, "embedded": False}


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def ollama(tally: Tally) -> Iterator[ScriptedOllama]:
    with ScriptedOllama(tally) as endpoint:
        yield endpoint


@pytest.fixture
def open_engine(ollama: ScriptedOllama, tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Opens engines on this test's SQLite file; keywords are settings, or `worker`."""
    with ExitStack() as stack:

        def opened(*, worker: bool = True, **settings: Any) -> Engine:
            given = {"ollama_host": ollama.url, **QUICK, **settings}
            database = given.pop("database", f"sqlite:///{tmp_path}/ucop.db")
            found = Settings.load(tmp_path, database=database, **given)
            return stack.enter_context(Engine(settings=found, worker=worker))

        yield opened


@pytest.fixture
def engine(open_engine: Callable[..., Engine]) -> Engine:
    return open_engine()
