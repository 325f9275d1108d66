"""Schedules, on both databases: what is due is submitted once, whatever happens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from tests.support.graphs import chain
from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, InvalidInput, Job, Schedule, ScheduleExists, ScheduleNotFound
from ucop.engine.database.database import Database
from ucop.engine.errors import UnknownWorkflow
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.schedules.scheduler import LONGEST, Scheduler
from ucop.engine.schedules.schedules import fire, key_of, told

Open = Callable[..., Engine]


def opened(open_engine: Open, *, worker: bool, **graphs: Any) -> Engine:
    engine = open_engine(worker=worker)
    for name, graph in graphs.items():
        engine.add(name, graph)
    return engine


@pytest.fixture
def idle(open_engine: Open) -> Engine:
    """Nobody sees to its schedules."""
    return opened(open_engine, worker=False, flow=chain("a"))


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=hours)


def since(engine: Engine, name: str, at: datetime) -> None:
    """Make it as if nobody had looked at a schedule since a time at which it was due."""
    sql = "update schedules set next_at = :at where name = :name"

    def operation() -> Operation[None]:
        yield One(sql, {"at": at.timestamp(), "name": name})

    engine._loop.call(engine._database.write(operation))


def end(engine: Engine, name: str, at: datetime) -> None:
    """Make it as if a schedule had been added with this end."""
    sql = "update schedules set ends_at = :at where name = :name"

    def operation() -> Operation[None]:
        yield One(sql, {"at": at.timestamp(), "name": name})

    engine._loop.call(engine._database.write(operation))


def keys(engine: Engine) -> list[str]:
    return sorted(job.key or "" for job in engine.jobs(limit=1000))


def due(engine: Engine, name: str) -> datetime:
    found = engine.schedules.get(name).next_at
    assert found is not None
    return found


# ---------------------------------------------------------------- what a person does


def test_a_schedule_is_kept_as_it_was_added(idle: Engine) -> None:
    added = idle.schedules.add(
        "nightly",
        "flow",
        "30 2 * * *",
        {"log": ["in"]},
        timezone="Europe/Berlin",
        priority=3,
        tenant="acme",
        labels={"team": "docs"},
        budget={"tokens": 5},
        overlap="skip",
        catch_up="all",
        catch_up_limit=7,
    )
    assert added == idle.schedules.get("nightly")
    assert list(idle.schedules.list()) == [added]
    assert (added.rule, added.timezone, added.input) == (
        *("30 2 * * *", "Europe/Berlin", {"log": ["in"]}),
    )
    assert added.terms == {
        "priority": 3,
        "tenant": "acme",
        "labels": {"team": "docs"},
        "budget": {"tokens": 5},
    }
    assert added.next_at is not None
    assert added.next_at > datetime.now(UTC)


def test_to_add_the_same_again_changes_nothing_and_to_add_another_is_refused(
    idle: Engine,
) -> None:
    first = idle.schedules.add("s", "flow", "every 15m")
    assert idle.schedules.add("s", "flow", "every 15m") == first
    with pytest.raises(ScheduleExists, match="every 15m"):
        idle.schedules.add("s", "flow", "every 20m")
    replaced = idle.schedules.add("s", "flow", "every 20m", replace=True)
    assert (replaced.rule, replaced.created_at) == ("every 20m", first.created_at)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"rule": "60 * * * *"}, InvalidInput, "no cron rule"),
        ({"timezone": "Nowhere/Land"}, InvalidInput, "no time zone"),
        ({"workflow": "flwo"}, UnknownWorkflow, "flow"),
        ({"input": {"log": 3, "x": {1, 2}}}, InvalidInput, "JSON"),
        ({"catch_up": "some"}, InvalidInput, "'none', 'latest', 'all'"),
        ({"overlap": "wait"}, InvalidInput, "overlap"),
        ({"catch_up_limit": 0}, InvalidInput, "catch_up_limit"),
        ({"name": "two words"}, InvalidInput, "name"),
        ({"budget": {"token": 3}}, InvalidInput, "token"),
        ({"labels": {"a": 1}}, InvalidInput, "labels"),
    ],
)
def test_what_could_never_run_is_refused_before_it_is_written(
    idle: Engine, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    given = {"name": "s", "workflow": "flow", "rule": "every 1h", **options}
    with pytest.raises(error, match=said):
        idle.schedules.add(**given)
    assert list(idle.schedules.list()) == []


def test_a_schedule_is_not_due_after_its_end(open_engine: Open) -> None:
    now = hours_ago(0)

    def ago(hours: float) -> datetime:
        return now - timedelta(hours=hours)

    idle = opened(open_engine, worker=False, flow=chain("a"))
    add = partial(idle.schedules.add, "s", "flow", "every 1h", start=ago(3.5))
    with pytest.raises(InvalidInput, match="never be due"):
        add(until=ago(1))
    with pytest.raises(InvalidInput, match="with a time zone"):
        add(until=datetime(2030, 1, 1))
    assert list(idle.schedules.list()) == []
    kept = add(until=ago(-1), catch_up="all")
    assert (kept.ends_at, kept.next_at) == (ago(-1), ago(-0.5))
    since(idle, "s", ago(2.5))
    end(idle, "s", ago(1))
    working = opened(open_engine, worker=True, flow=chain("a"))
    last = until(lambda: working.schedules.get("s").next_at is None and working.schedules.get("s"))
    assert (last.paused, last.last_at) == (False, ago(1.5))
    times = [key_of("s", ago(hours).timestamp()) for hours in (2.5, 1.5)]
    assert keys(working) == times
    assert working.schedules.pause("s").paused
    assert working.schedules.resume("s").next_at is None
    assert add(until=ago(-24), replace=True).next_at == ago(-0.5)


def test_to_add_an_ended_schedule_again_changes_nothing(idle: Engine) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    added = idle.schedules.add("s", "flow", "every 1h", until=later)
    assert idle.schedules.add("s", "flow", "every 1h", until=later) == added
    with pytest.raises(ScheduleExists):
        idle.schedules.add("s", "flow", "every 1h")
    past = hours_ago(1)
    end(idle, "s", past)
    before = idle.schedules.get("s")
    assert idle.schedules.add("s", "flow", "every 1h", until=past) == before


def test_a_paused_schedule_is_not_due_and_its_pause_is_not_caught_up(open_engine: Open) -> None:
    idle = opened(open_engine, worker=False, flow=chain("a"))
    idle.schedules.add("s", "flow", "every 1h", start=hours_ago(9.5), catch_up="all")
    assert idle.schedules.pause("s").next_at is None
    resumed = idle.schedules.resume("s")
    assert (resumed.paused, resumed.next_at) == (False, hours_ago(-0.5))
    assert keys(idle) == []


def test_a_trigger_submits_now_and_leaves_the_next_time(idle: Engine) -> None:
    before = idle.schedules.add("s", "flow", "every 1h", {"log": ["x"]}, tenant="acme")
    job = idle.schedules.trigger("s").get()
    assert (job.input, job.tenant, job.labels, job.key) == (
        *({"log": ["x"]}, "acme", {"schedule": "s"}, None),
    )
    after = idle.schedules.get("s")
    assert (after.next_at, after.last_job_id) == (before.next_at, job.id)


def test_what_is_not_there_is_told_so(idle: Engine) -> None:
    idle.schedules.add("s", "flow", "every 1h")
    idle.schedules.remove("s")
    for change in (
        *(idle.schedules.get, idle.schedules.pause, idle.schedules.resume),
        *(idle.schedules.trigger, idle.schedules.remove),
    ):
        with pytest.raises(ScheduleNotFound, match="'s'"):
            change("s")


async def test_the_twins_do_the_same(idle: Engine) -> None:
    added = await idle.schedules.aadd("s", "flow", "every 1h")
    assert list(await idle.schedules.alist()) == [added]
    assert (await idle.schedules.apause("s")).paused
    assert not (await idle.schedules.aresume("s")).paused
    assert (await (await idle.schedules.atrigger("s")).aget()).workflow == "flow"
    assert (await idle.schedules.aget("s")).name == "s"
    await idle.schedules.aremove("s")
    assert list(await idle.schedules.alist()) == []


# ---------------------------------------------------------------- what a worker does


def test_a_schedule_that_is_added_while_a_worker_sleeps_is_run(open_engine: Open) -> None:
    engine = opened(open_engine, worker=True, flow=chain("a"))
    engine.schedules.add("s", "flow", "every 1s", {"log": ["in"]})
    first, second = sorted(until(lambda: len(engine.jobs()) > 1 and engine.jobs()), key=_key)[:2]
    engine.schedules.remove("s")
    assert engine.job(first.id).result(DEADLINE) == {"log": ["in", "a"]}
    assert _time_of(second) - _time_of(first) == timedelta(seconds=1)


def _key(job: Job) -> str:
    return job.key or ""


def _time_of(job: Job) -> datetime:
    return datetime.fromisoformat((job.key or "").rpartition("/")[2])


@pytest.mark.parametrize(
    ("catch_up", "ran"), [("none", []), ("latest", [0.5]), ("all", [3.5, 2.5, 1.5, 0.5])]
)
def test_what_was_missed_is_run_as_the_policy_says(
    open_engine: Open, catch_up: str, ran: list[float]
) -> None:
    idle = opened(open_engine, worker=False, flow=chain("a"))
    start = hours_ago(9.5)
    idle.schedules.add("s", "flow", "every 1h", start=start, catch_up=catch_up)
    since(idle, "s", start + timedelta(hours=6))
    worker = opened(open_engine, worker=True, flow=chain("a"))
    until(lambda: due(worker, "s") > datetime.now(UTC))
    expected = [key_of("s", start.timestamp() + (9.5 - hours) * 3600) for hours in ran]
    assert keys(worker) == sorted(expected)
    found = worker.schedules.get("s")
    assert found.next_at == start + timedelta(hours=10)
    assert (found.skipped is None) == (catch_up == "all")
    assert found.error is None


def test_two_workers_at_once_submit_what_is_due_once(open_engine: Open, database: Database) -> None:
    idle = opened(open_engine, worker=False, flow=chain("a"))
    start = hours_ago(30.5)
    for name in "abc":
        idle.schedules.add(name, "flow", "every 1h", start=start, catch_up="all")
        since(idle, name, start + timedelta(hours=1))
    idle._loop.call(_look_from_all_sides(idle))
    expected = [
        key_of(name, start.timestamp() + hour * 3600) for name in "abc" for hour in range(1, 31)
    ]
    assert keys(idle) == sorted(expected)


async def _look_from_all_sides(engine: Engine) -> None:
    looks = [
        Scheduler(
            engine._database,
            make=engine.schedules.job_of,
            pause=0.0,
            on_job=lambda: None,
        )
        for _ in range(6)
    ]

    async def until_nothing_is_due(scheduler: Scheduler) -> None:
        while await scheduler.look() == 0.0:
            pass

    await asyncio.gather(*(until_nothing_is_due(look) for look in looks))


@pytest.mark.parametrize("change", ["pause", "replace", "remove", "add anew"])
def test_what_was_read_before_a_schedule_was_changed_submits_nothing(
    idle: Engine, change: str
) -> None:
    start = hours_ago(1.5)
    stale = idle.schedules.add("s", "flow", "every 1h", start=start)
    job = idle.schedules.job_of(stale, key_of("s", start.timestamp()))
    if change == "pause":
        idle.schedules.pause("s")
    elif change == "replace":
        idle.schedules.add("s", "flow", "every 2h", replace=True)
    else:
        idle.schedules.remove("s")
    if change == "add anew":
        time.sleep(0.002)
        idle.schedules.add("s", "flow", "every 1h", start=start)
    before = list(idle.schedules.list())
    fired = idle._loop.call(
        idle._database.write(lambda: fire(stale, start.timestamp(), start.timestamp() + 3600, job))
    )
    assert fired is None
    assert keys(idle) == []
    assert list(idle.schedules.list()) == before


def test_a_worker_sleeps_until_the_next_due_time(idle: Engine) -> None:
    def look() -> float:
        scheduler = Scheduler(
            idle._database,
            make=idle.schedules.job_of,
            pause=1.0,
            on_job=lambda: None,
        )
        return idle._loop.call(scheduler.look())

    assert look() == LONGEST
    idle.schedules.add("far", "flow", "every 1h", start=hours_ago(-2))
    assert look() == LONGEST
    near = datetime.now(UTC) + timedelta(seconds=40)
    idle.schedules.add("near", "flow", "every 1h", start=near)
    assert 0 < look() <= 40
    assert keys(idle) == []


def test_a_time_is_passed_over_while_the_last_job_has_not_ended(open_engine: Open) -> None:
    idle = opened(open_engine, worker=False, flow=chain("a"))
    start = hours_ago(2.5)
    idle.schedules.add("s", "flow", "every 1h", start=start, overlap="skip", catch_up="all")
    since(idle, "s", start + timedelta(hours=1))
    idle._loop.call(_look_from_all_sides(idle))
    (job,) = idle.jobs()
    found = idle.schedules.get("s")
    assert job.key == key_of("s", start.timestamp() + 3600)
    assert found.skipped is not None
    assert f"job {job.id} is still pending" in found.skipped
    assert told(start.timestamp() + 7200) in found.skipped
    idle.job(job.id).cancel()
    since(idle, "s", start + timedelta(hours=2))
    idle._loop.call(_look_from_all_sides(idle))
    assert len(idle.jobs()) == 2


# ---------------------------------------------------------------- what cannot be submitted


class Counted(TypedDict):
    count: int


def counting() -> StateGraph[Any]:
    graph = StateGraph(Counted)
    graph.add_node("add", lambda state: {"count": state["count"] + 1})
    graph.add_edge(START, "add")
    graph.add_edge("add", END)
    return graph


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be submitted is soon tried again."""
    monkeypatch.setattr("ucop.engine.schedules.scheduler.AGAIN", 0.2)


def test_an_input_that_fits_no_longer_stays_due_and_is_run_once_it_fits(
    open_engine: Open, tmp_path: Any, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "say.yaml").write_text(SAY.format(type="string"))
    files = {"settings": {"workflows": ("say.yaml",)}}
    idle = open_engine(worker=False, **files)
    start = hours_ago(1.5)
    idle.schedules.add("s", "say", "every 1h", {"word": "hi"}, start=start)
    since(idle, "s", start + timedelta(hours=1))
    (tmp_path / "say.yaml").write_text(SAY.format(type="integer").replace("Say", "Count"))
    with caplog.at_level(logging.ERROR, "ucop.scheduler"):
        worker = open_engine(worker=True, **files)
        error = until(lambda: worker.schedules.get("s").error)
        assert error.startswith("InvalidInput: ")
        assert "'word'" in error or "word" in error
        assert keys(worker) == []
        assert due(worker, "s") == start + timedelta(hours=1)
        (tmp_path / "say.yaml").write_text(SAY.format(type="string"))
        until(lambda: keys(worker) == [key_of("s", start.timestamp() + 3600)])
    assert worker.schedules.get("s").error is None
    assert len([r for r in caplog.records if "cannot be submitted" in r.message]) == 1


SAY = """
name: say
description: Say a word.
input: {{word: {type}}}
agents:
  echo: {{prompt: "${{word}}", input: {{word: {{}}}}}}
nodes:
  say: {{agent: echo, with: {{word: "${{word}}"}}, writes: said}}
output: "${{said}}"
"""


def test_a_worker_of_another_project_leaves_it_to_one_that_has_the_workflow(
    open_engine: Open, quick: None
) -> None:
    idle = opened(open_engine, worker=False, flow=chain("a"))
    start = hours_ago(1.5)
    idle.schedules.add("s", "flow", "every 1h", start=start)
    since(idle, "s", start + timedelta(hours=1))
    other = open_engine(worker=True)
    error = until(lambda: other.schedules.get("s").error)
    assert error.startswith("UnknownWorkflow: ")
    assert keys(other) == []
    other.add("flow", chain("a"))
    until(lambda: keys(other) == [key_of("s", start.timestamp() + 3600)])
    assert other.schedules.get("s").error is None


def test_a_key_that_is_taken_skips_its_time_and_no_other(open_engine: Open) -> None:
    idle = opened(open_engine, worker=False, flow=chain("a"), other=counting())
    start = hours_ago(2.5)
    idle.schedules.add("s", "flow", "every 1h", start=start, catch_up="all")
    since(idle, "s", start + timedelta(hours=1))
    taken = key_of("s", start.timestamp() + 3600)
    idle.submit("other", {"count": 1}, key=taken)
    idle._loop.call(_look_from_all_sides(idle))
    assert keys(idle) == [taken, key_of("s", start.timestamp() + 7200)]
    found: Schedule = idle.schedules.get("s")
    assert found.skipped is not None
    assert "belongs to job" in found.skipped


def test_moments_and_names_that_cannot_be_kept_are_refused(idle: Engine) -> None:
    far = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    for moment in ("start", "until"):
        with pytest.raises(InvalidInput, match=f"{moment}: must be within a thousand years"):
            idle.schedules.add("far", "flow", "every 1d", **{moment: far})  # type: ignore[arg-type]
    for name in ("a\0b", "a\ud800"):
        with pytest.raises(InvalidInput, match="name"):
            idle.schedules.add(name, "flow", "every 1d")
    assert idle.schedules.list() == []
