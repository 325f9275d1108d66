"""What whoever only looks relies on: pages of jobs, found by a text, and news of changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.support.command import until
from tests.support.graphs import chain, failing
from ucop.engine import Engine, Filter
from ucop.engine.database.changes import open_ear
from ucop.engine.errors import DatabaseError
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.reading.reader import NoDatabase, open_reader

DEADLINE = 60.0

Open = Callable[..., Engine]


@pytest.fixture
def idle(open_engine: Open) -> Engine:
    """An engine without a worker: what is submitted stays pending."""
    engine = open_engine(worker=False)
    engine.add("flow", chain("a"))
    return engine


def test_pages_hold_every_job_once_and_nothing_long(idle: Engine, url: str) -> None:
    jobs = [idle.submit("flow", {"log": ["x" * 1_000]}) for _ in range(5)]
    with open_reader(url) as reader:
        assert reader.total(Filter()) == 5
        pages = [reader.page(Filter(), offset=first, limit=2) for first in (0, 2, 4, 6)]
        assert [job.id for page in pages for job in page] == [job.id for job in reversed(jobs)]
        assert {str(job.input) for job in pages[0]} == {"{}"}


def test_jobs_are_found_by_a_text(open_engine: Open, url: str) -> None:
    engine = open_engine()
    engine.add("flow", chain("a"))
    first = engine.submit("flow", {"log": ["50% of_it \\ Größe"]}, key="post-42")
    second = engine.submit("flow", {"log": ["500 of it"]}, labels={"team": "Docs"}, tenant="ACME")
    third = engine.submit(engine.add("breaking", failing(1, [])))
    for job in (first, second, third):
        job.wait(DEADLINE)
    found = {
        "50%": [first],
        "OF_IT": [first],
        "größe": [first],
        "post-42": [first],
        "of it": [second],
        "acme": [second],
        '"team":"docs"': [second],
        "OVEN is cold": [third],
        "breaking": [third],
        third.id: [third],
        "nothing like that": [],
    }
    with open_reader(url) as reader:
        for text, jobs in found.items():
            filter = Filter(text=text)
            assert [job.id for job in reader.jobs(filter)] == [job.id for job in jobs], text
            assert reader.total(filter) == len(jobs)
        both = Filter(text="flow", tenant="ACME")
        assert [job.id for job in reader.page(both, offset=0, limit=9)] == [second.id]


def test_an_ear_hears_every_commit_and_nothing_where_there_is_none(idle: Engine, url: str) -> None:
    ear = open_ear(url)
    try:
        idle.submit("flow")
        until(lambda: ear.hear(0.05), "heard of the job")
        while ear.hear(0.0):
            pass
        until(lambda: not ear.hear(0.1), "heard nothing where nothing is written")
        # As checkpoints do, of which PostgreSQL notifies nobody.
        write_beside_the_engine(url)
        until(lambda: ear.hear(0.05), "heard of what was written quietly")
    finally:
        ear.close()


def write_beside_the_engine(url: str) -> None:
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as lite:
            lite.execute("update jobs set priority = 1")
        lite.close()
    else:
        with psycopg.connect(url) as server:
            server.execute("update ucop.jobs set priority = 1")


def test_an_ear_tells_that_the_file_is_gone_or_another_one(tmp_path: Path) -> None:
    file = tmp_path / "ucop.db"
    with pytest.raises(NoDatabase):
        open_ear(f"sqlite:///{file}")
    Engine(f"sqlite:///{file}", worker=False).close()
    ear = open_ear(f"sqlite:///{file}")
    file.rename(tmp_path / "away.db")
    with pytest.raises(NoDatabase):
        ear.hear(0.0)
    file.write_bytes((tmp_path / "away.db").read_bytes())
    with pytest.raises(DatabaseError, match="another file took"):
        ear.hear(0.0)
    ear.close()


def test_who_looks_can_write_nothing(idle: Engine, url: str) -> None:
    job = idle.submit("flow")
    with open_reader(url) as reader, pytest.raises(DatabaseError):
        reader.ask(_changed())
    assert job.get().reason is None


def _changed() -> Operation[None]:
    yield One("update jobs set reason = 'changed' returning id", {})
