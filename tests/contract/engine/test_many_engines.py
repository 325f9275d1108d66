"""Several engines in one process, opened at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import chain
from tests.support.postgres import PostgresServer
from ucop.engine import Engine

DEADLINE = 60.0


def use_at_once(urls: list[str], use: Callable[[Engine], object], **options: Any) -> list[str]:
    """Open an engine on each URL at the same moment, and use it; the errors."""
    together = threading.Barrier(len(urls))
    wrong: list[str] = []

    def work(url: str) -> None:
        together.wait()
        try:
            with Engine(url, **options) as engine:
                use(engine)
        except BaseException as error:
            wrong.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(url,)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    return wrong


def run(engine: Engine) -> None:
    engine.submit(engine.add("chain", chain("a", "b")), {}).result(DEADLINE)


def submit(engine: Engine) -> None:
    assert engine.submit(engine.add("chain", chain("a", "b")), {}).status == "pending"


def test_on_one_new_file_and_on_several(tmp_path: Path) -> None:
    for number in range(3):  # what two threads take from each other is a matter of chance
        folder = tmp_path / str(number)
        same, others = f"sqlite:///{folder}/same.db", [f"sqlite:///{folder}/{i}.db" for i in "ab"]
        assert use_at_once([same, same, *others], run, root=tmp_path) == []


@pytest.mark.postgres
def test_on_one_new_postgresql_database_and_on_several(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        urls = [postgres_server.empty() for _ in range(3)]
        for url in urls:
            stack.callback(postgres_server.drop, url)
        # Without workers: DBOS allows one in a process.
        assert use_at_once([urls[0], *urls], submit, root=tmp_path, worker=False) == []
