"""The clock of a process may be hours wrong: what several machines compare goes by the database's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import chain, failing
from ucop.engine import Engine, InvalidInput, JobHandle
from ucop.engine.declared.retention import Retention
from ucop.engine.dialect import SQLITE, dialect_of
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.reading.why import causes

DEADLINE = 60.0
HOURS = 5 * 3600.0
GRACE = 120.0
"""Seconds within which all of a test happens."""

Open = Callable[..., Engine]

QUESTION = """
name: question
input: {}
nodes:
  quick: {ask: "Quick?", within: 100ms, default: "no", writes: a}
  slow: {ask: "Slow?", within: 1h, default: "never", writes: b}
edges: ["START -> quick -> END", "START -> slow -> END"]
output: {quick: "${a}", slow: "${b}"}
"""

ASKING = """
name: asking
input: {}
nodes:
  slow: {ask: "Slow?", writes: b}
"""

right = time.time
"""The machine's clock, as it is without this test."""


@pytest.fixture(params=[HOURS, -HOURS], ids=["ahead", "behind"], autouse=True)
def wrong(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """The process's clock, wrong by so many seconds."""
    off: float = request.param
    monkeypatch.setattr(time, "time", lambda: right() + off)
    return off


def moment(seconds: float) -> datetime:
    """So many seconds from now, in truth."""
    return datetime.fromtimestamp(right() + seconds, UTC)


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.02)


def read(engine: Engine, sql: str) -> list[Any]:
    def rows() -> Operation[list[Any]]:
        return list((yield One(sql, {})))

    return engine._loop.call(engine._database.read(rows))


def test_a_start_after_a_delay_or_at_a_moment_comes_when_it_is_due(open_engine: Open) -> None:
    engine = open_engine()
    engine.add("flow", chain("a"))
    began = time.monotonic()
    soon = [engine.submit("flow", delay=0.5), engine.submit("flow", start_at=moment(0.5))]
    late = [engine.submit("flow", delay=3600), engine.submit("flow", start_at=moment(3600))]
    past = engine.submit("flow", start_at=moment(-3600))
    past.result(DEADLINE)
    for job in soon:
        job.result(DEADLINE)
    assert time.monotonic() - began >= 0.4
    for job in late:
        assert job.status == "pending"
        (cause, *_) = why(engine, job)
        assert cause.startswith("it starts in 60 min"), cause


def has_failed(job: JobHandle) -> bool:
    return job.status == "failed"


def why(engine: Engine, job: JobHandle) -> tuple[str, ...]:
    reader = engine.reader
    return causes(reader.job(job.id), reader.dispatch(job.id), (), reader.now())


def test_a_deadline_passes_when_it_is_over_and_no_sooner(open_engine: Open, tmp_path: Path) -> None:
    engine = open_engine()
    engine.add("flow", chain("a"))
    file = tmp_path / "asks.yaml"
    file.write_text(ASKING)
    short = [engine.submit(file, deadline=0.3), engine.submit(file, deadline=moment(3))]
    long = [engine.submit(file, deadline="1h"), engine.submit(file, deadline=moment(3600))]
    runs = engine.submit("flow", deadline=moment(3600))
    for job in short:
        assert job.wait(DEADLINE) in ("waiting", "failed")
        until(partial(has_failed, job))
    assert runs.result(DEADLINE)
    for job in long:
        assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(InvalidInput, match="has passed already"):
        engine.submit("flow", deadline=moment(-3600))
    with pytest.raises(InvalidInput, match="before it may start"):
        engine.submit("flow", start_at=moment(3600), deadline="30m")


def test_a_question_is_answered_by_its_default_when_its_time_is_over(
    open_engine: Open, tmp_path: Path
) -> None:
    engine = open_engine()
    file = tmp_path / "question.yaml"
    file.write_text(QUESTION)
    job = engine.submit(file)
    until(lambda: [one.by_default for one in engine.reader.questions(job.id)] == [True, False])
    assert job.wait(DEADLINE) == "waiting"


def test_a_schedule_is_due_by_the_clock_of_the_database(open_engine: Open) -> None:
    engine = open_engine()
    engine.add("flow", chain("a"))
    engine.schedules.add("often", "flow", "every 1s")
    engine.schedules.add("hourly", "flow", "every 1h")
    engine.schedules.add("nightly", "flow", "0 3 * * *")
    engine.schedules.pause("nightly")
    engine.schedules.resume("nightly")
    until(lambda: len(engine.jobs()) >= 2)
    for name, most in (("hourly", 3600), ("nightly", 86_400)):
        schedule = engine.schedules.get(name)
        assert schedule.next_at is not None
        assert 0 < schedule.next_at.timestamp() - right() <= most + GRACE
        assert (schedule.last_at, schedule.skipped) == (None, None)


def test_retention_means_jobs_by_their_true_age(open_engine: Open) -> None:
    engine = open_engine(settings={"retention": Retention(completed=3600.0)})
    engine.add("flow", chain("a"))
    job = engine.submit("flow")
    job.result(DEADLINE)
    assert engine.tidy(dry_run=True) == {}

    def age() -> Operation[None]:
        yield One("update jobs set finished_at = finished_at - 3700", {})

    engine._loop.call(engine._database.write(age))
    until(lambda: not engine.jobs())


def test_a_rate_counts_the_starts_of_its_true_period(open_engine: Open) -> None:
    from ucop.engine.declared.queue_limits import QueueLimits

    engine = open_engine(settings={"queues": {"slow": QueueLimits(rate="1/1s")}})
    engine.add("flow", chain("a"))
    began = time.monotonic()
    for job in [engine.submit("flow", queue="slow") for _ in range(2)]:
        job.result(DEADLINE)
    assert time.monotonic() - began >= 0.9


def test_a_worker_is_alive_for_who_looks_with_a_wrong_clock(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    engine = open_engine()
    engine.add("flow", chain("a"))
    engine.submit("flow").result(DEADLINE)
    monkeypatch.setattr(time, "time", lambda: right() - wrong)
    assert len(engine.reader.workers()) == 1
    engine.set_queue("default", paused=True)
    engine.submit("flow")
    (queue,) = engine.reader.queues(engine.settings.declared)
    assert queue.oldest is not None
    assert queue.oldest < GRACE


def test_no_stored_time_is_that_of_the_process(open_engine: Open, tmp_path: Path) -> None:
    """Every column of every table that holds a moment, after most of what jobs do."""
    engine = open_engine()
    engine.add("flow", chain("a", "b"))
    engine.add("fails", failing(1, []))
    file = tmp_path / "asks.yaml"
    file.write_text(ASKING)
    done = engine.submit("flow")
    done.result(DEADLINE)
    done.fork(done.checkpoints()[-2].id).result(DEADLINE)
    done.archive()
    asks = engine.submit(file)
    assert asks.wait(DEADLINE) == "waiting"
    asks.answer("yes")
    asks.result(DEADLINE)
    failed = engine.submit("fails")
    assert failed.wait(DEADLINE) == "failed"
    failed.retry()
    failed.result(DEADLINE)
    engine.submit(file, delay="1m", deadline="2m").pause()
    engine.schedules.add("nightly", "flow", "every 1m")
    engine.set_queue("default", concurrency=5)
    found = list(moments(engine))
    assert {"jobs.created_at", "attempts.started_at", "steps.started_at", "events.at"} <= {
        name for name, _ in found
    }
    assert [(name, at - right()) for name, at in found if abs(at - right()) > GRACE] == []


def moments(engine: Engine) -> Iterator[tuple[str, float]]:
    for table in tables(engine):
        for row in read(engine, f"select * from {table}"):
            for column in row.keys():  # noqa: SIM118 - of a sqlite3.Row
                value = row[column]
                if isinstance(value, float) and value > 1e9:
                    yield f"{table}.{column}", value


def tables(engine: Engine) -> list[str]:
    if dialect_of(engine.settings.url) is SQLITE:
        sql = "select name from sqlite_master where type = 'table'"
    else:
        sql = "select table_name as name from information_schema.tables where table_schema = 'ucop'"
    return [row["name"] for row in read(engine, sql) if "version" not in row["name"]]
