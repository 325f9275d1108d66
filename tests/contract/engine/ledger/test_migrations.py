"""A database of an earlier version is brought up to date, and keeps what it holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from tests.support.graphs import Log, chain
from tests.support.waiting import DEADLINE
from ucop.engine import DatabaseError, Engine
from ucop.engine.database.sqlite import version
from ucop.engine.ledger.migrations import HEAD
from ucop.engine.reading.reader import open_reader


def _first_version(path: Path) -> None:
    """A database as the first migration made it, with one job in it."""
    with Engine(f"sqlite:///{path}") as engine:
        job = engine.submit(engine.add("old", chain("a")), key="old")
        job.result(DEADLINE)
    _set_back(path)


def _set_back(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("alter table steps drop column tries")
        connection.execute("alter table schedules drop column ends_at")
        connection.execute("alter table tenants rename column held to starts")
        connection.execute("alter table jobs drop column run")
        connection.execute("alter table questions drop column consumed_at")
        connection.execute("alter table questions drop column withdrawn_at")
        connection.execute("alter table jobs drop column passed")
        connection.execute("alter table workers drop column blocked")
        connection.execute("drop table live")
        connection.execute("drop table live_listeners")
        connection.execute("drop table threads")
        connection.execute("drop table api_keys")
        connection.execute("drop table api_changes")
        connection.execute("update alembic_version set version_num = '0001'")


def test_given_a_database_of_the_first_version_then_it_is_upgraded_with_its_jobs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ucop.db"
    _first_version(path)
    with open_reader(f"sqlite:///{path}") as reader:
        with pytest.raises(DatabaseError, match="an earlier version of ucop made this database"):
            reader.jobs()
    with Engine(f"sqlite:///{path}") as engine:
        (old,) = engine.jobs()
        (step,) = engine.job(old.id).steps()
        assert (old.status, step.node, step.status, step.tries) == (
            *("completed", "a", "completed", 1),
        )
        assert engine.submit(engine.add("new", chain("a", "b"))).result(DEADLINE)
    assert version(path) == HEAD
    engine_of = sa.create_engine(f"sqlite:///{path}")
    assert "tries" in {column["name"] for column in sa.inspect(engine_of).get_columns("steps")}
    engine_of.dispose()


def _asks(state: Log) -> Log:
    return {"log": [interrupt("first?"), interrupt("second?")]}


def test_given_answers_of_an_earlier_version_then_none_is_sent_that_may_have_been_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ucop.db"
    graph = StateGraph(Log).add_node("asks", _asks).add_edge(START, "asks")
    with Engine(f"sqlite:///{path}") as engine:
        name = engine.add("asks", graph)
        taken, given = engine.submit(name), engine.submit(name)
        assert (taken.wait(DEADLINE), given.wait(DEADLINE)) == ("waiting", "waiting")
        taken.answer("one")
        assert taken.wait(DEADLINE) == "waiting"
    with Engine(f"sqlite:///{path}", worker=False) as engine:
        engine.job(given.id).answer("uno")  # and no attempt begins
    _set_back(path)
    with Engine(f"sqlite:///{path}", worker=False) as engine:
        engine.add("asks", graph)
    with Engine(f"sqlite:///{path}") as engine:
        engine.add("asks", graph)
        for id, first in ((taken.id, "one"), (given.id, "uno")):
            job = engine.job(id)
            assert job.wait(DEADLINE) == "waiting"
            assert [question.question for question in job.questions()] == ["second?"]
            job.answer("two")
            assert job.result(DEADLINE) == {"log": [first, "two"]}
