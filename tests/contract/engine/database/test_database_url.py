"""A password in a PostgreSQL URL works wherever it stands, and is shown nowhere."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.graphs import chain
from ucop.engine import DatabaseError, Engine
from ucop.engine.reading.reader import open_reader

DEADLINE = 60.0


@pytest.mark.postgres
def test_a_password_among_the_parameters(
    postgres_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{postgres_url}&password=hush%2Fhush"
    with caplog.at_level(logging.DEBUG), Engine(url, root=tmp_path) as engine:
        engine.submit(chain("a"), {"log": []}).result(DEADLINE)
        with open_reader(url) as reader:
            assert len(reader.jobs()) == 1
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hu/sh@127.0.0.1:1/db",
        "postgresql://me@127.0.0.1:1/db?password=hush",
        "postgresql://me@127.0.0.1:1/db?%70assword=hush",
        "postgresql://me@127.0.0.1:1/db?password=hush%zz",
        "postgresql://me:hush@127.0.0.1:none/db",
    ],
)
def test_an_error_does_not_show_it(url: str, tmp_path: Path) -> None:
    for use in (lambda: Engine(url, root=tmp_path), lambda: open_reader(url)):
        with pytest.raises(DatabaseError) as caught:
            use()
        assert "hu" not in str(caught.value)
