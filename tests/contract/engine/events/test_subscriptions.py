"""Subscribers on both databases: every event once and in order, and no job waits for one."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import pytest

from tests.support.graphs import chain, failing
from ucop.engine import Engine, Event, InvalidInput
from ucop.engine.events.subscriptions import PAGE, Wanted, end, page
from ucop.engine.reading.reader import open_reader

DEADLINE = 60.0

Open = Callable[..., Engine]


def take(events: Iterable[Event], number: int) -> list[Event]:
    return list(itertools.islice(events, number))


def until(condition: Callable[[], Any]) -> Any:
    limit = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < limit, "the condition did not come true"
        time.sleep(0.01)
    return found


def stored(engine: Engine) -> list[Event]:
    """All events, as the ledger holds them, by position."""
    with open_reader(engine._database.url) as reader:
        found = [event for job in reader.jobs(limit=1000) for event in reader.events(job.id)]
    return sorted(found, key=lambda event: event.position)


@pytest.fixture
def done(engine: Engine) -> Engine:
    """Some jobs of two workflows have run, one has failed."""
    engine.add("flow", chain("a", "b"))
    engine.add("breaking", failing(9, []))
    jobs = [engine.submit("flow") for _ in range(5)] + [engine.submit("breaking")]
    for job in jobs:
        job.wait(DEADLINE)
    return engine


def test_from_the_beginning_every_event_of_every_job_comes_once_and_in_order(
    done: Engine,
) -> None:
    expected = stored(done)
    with done.subscribe(after=0) as subscription:
        got = take(subscription, len(expected))
    assert got == expected
    positions = [event.position for event in got]
    assert positions == sorted(set(positions))
    seqs = defaultdict(list)
    for event in got:
        seqs[event.job_id].append(event.seq)
    assert all(found == list(range(1, len(found) + 1)) for found in seqs.values())


def test_from_any_number_the_rest_comes(done: Engine) -> None:
    expected = stored(done)
    for place in (0, 1, len(expected) // 2, len(expected) - 2):
        with done.subscribe(after=expected[place].position) as subscription:
            assert take(subscription, len(expected) - place - 1) == expected[place + 1 :]


def test_without_a_number_only_what_comes_is_told(done: Engine) -> None:
    with done.subscribe() as subscription:
        job = done.submit("flow")
        first = next(subscription)
    assert (first.job_id, first.type) == (job.id, "job.submitted")


def test_types_jobs_and_workflows_are_chosen(done: Engine) -> None:
    expected = stored(done)
    failed = next(event.job_id for event in expected if event.type == "job.failed")

    def got(number: int, **asked: Any) -> list[Event]:
        with done.subscribe(after=0, **asked) as subscription:
            found = take(subscription, number)
            more = subscription._reader.ask(page(subscription._asked, subscription._reach))
        assert not more.events
        return found

    ends = ("job.completed", "job.failed")
    assert len(got(6, types=ends)) == 6
    assert [event.type for event in got(1, types="job.failed")] == ["job.failed"]
    steps = [event for event in expected if event.type.startswith("step.")]
    assert got(len(steps), types="step.*") == steps
    assert {event.job_id for event in got(1, workflow="breaking", types="job.failed")} == {failed}
    of_job = [event for event in expected if event.job_id == failed]
    assert got(len(of_job), job=failed) == of_job
    assert got(len(expected), workflow=["flow", "breaking"]) == expected
    with pytest.raises(InvalidInput, match="at most 26"):
        done.subscribe(types=[str(n) for n in range(27)])


def test_a_page_is_all_that_is_held(done: Engine) -> None:
    expected = stored(done)
    with open_reader(done._database.url) as reader:
        got, after = list[Event](), 0
        while found := reader.ask(page(Wanted(), after, 7)).events:
            assert len(found) <= 7
            got += found
            after = found[-1].position
    assert got == expected
    assert PAGE < 1000


def test_what_another_process_writes_is_heard(open_engine: Open, done: Engine) -> None:
    other = open_engine(worker=False)
    other.add("flow", chain("a", "b"))
    with other.subscribe(types="job.completed") as subscription:
        job = other.submit("flow")
        assert next(subscription).job_id == job.id


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_callback_that_raises_is_logged_and_gets_the_next_event(
    done: Engine, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    expected, got = stored(done), list[Event]()

    def broken(event: Event) -> None:
        got.append(event)
        if event.type == "job.completed":
            raise error("the mailbox is full")

    def failures() -> int:
        return sum("a subscriber failed" in record.message for record in caplog.records)

    with caplog.at_level(logging.ERROR, "ucop.events"):
        with done.subscribe(broken, after=0):
            until(lambda: failures() == 5)
    assert got == expected
    assert f"{error.__name__}: the mailbox is full" in caplog.text


def test_a_callback_that_would_have_to_be_awaited_is_refused(done: Engine) -> None:
    async def later(event: Event) -> None: ...

    with pytest.raises(InvalidInput, match="async for"):
        done.subscribe(later)


def test_a_subscriber_that_hangs_holds_no_job_up(done: Engine) -> None:
    hangs, go_on = threading.Event(), threading.Event()

    def hang(event: Event) -> None:
        hangs.set()
        go_on.wait(DEADLINE)

    with done.subscribe(hang, after=0), done.subscribe(after=0):
        assert hangs.wait(DEADLINE)
        jobs = [done.submit("flow") for _ in range(5)]
        assert all(job.result(DEADLINE) == {"log": ["a", "b"]} for job in jobs)
        go_on.set()


async def test_events_are_awaited_too(done: Engine) -> None:
    expected, got = stored(done), list[Event]()
    subscription = await done.asubscribe(after=0)
    async for event in subscription:
        got.append(event)
        if len(got) == len(expected):
            break
    subscription.close()
    assert got == expected


async def test_who_gives_up_waiting_for_an_event_loses_none(done: Engine) -> None:
    subscription = await done.asubscribe()
    got = list[Event]()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(subscription), 0.1)
    jobs = [await done.asubmit("flow") for _ in range(5)]
    ends = 0
    async with asyncio.timeout(DEADLINE):
        while ends < len(jobs):
            try:
                got.append(await asyncio.wait_for(anext(subscription), 0.002))
            except TimeoutError:
                continue
            ends += got[-1].type == "job.completed"
    subscription.close()
    ids = {job.id for job in jobs}
    assert got == [event for event in stored(done) if event.job_id in ids]


def test_a_subscription_ends_with_its_engine(open_engine: Open) -> None:
    engine = open_engine(worker=False)
    subscription = engine.subscribe()
    ended = threading.Thread(target=lambda: list(subscription))
    ended.start()
    engine.close()
    ended.join(DEADLINE)
    assert not ended.is_alive()


# ---------------------------------------------------------------- the order of commits

JOB = """insert into ucop.jobs (id, workflow, fingerprint, needs, status, attempt, input, thread_id,
    queue, priority, labels, budget, seq, progress, stalls, not_before, created_at, queued_at)
    select %s, 'flow', fingerprint, '[]', 'paused', 1, '{}', %s, 'default', 0, '{}', '{}', 0, 0, 0, 0, 1, 1
    from ucop.definitions limit 1"""
EVENT = """insert into ucop.events (job_id, seq, type, at, data)
    values (%s, %s, 'progress', 1, '{}') returning position"""


@pytest.mark.parametrize(
    "url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_an_event_that_commits_late_is_not_passed(done: Engine, url: str) -> None:
    with psycopg.connect(url) as slow, psycopg.connect(url) as quick, open_reader(url) as reader:
        for job in ("slow", "quick"):
            quick.execute(JOB, (job, job))
        quick.commit()
        since = reader.ask(end())
        slow.execute(EVENT, ("slow", 1))
        quick.execute(EVENT, ("quick", 1))
        quick.commit()
        assert reader.ask(page(Wanted(), since)).events == []
        slow.commit()
        until(lambda: reader.ask(page(Wanted(), since)).events)
        found = reader.ask(page(Wanted(), since)).events
        assert [event.job_id for event in found] == ["slow", "quick"]


@pytest.mark.parametrize(
    "url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_the_order_within_a_job_is_kept_whoever_began_first(done: Engine, url: str) -> None:
    with psycopg.connect(url) as first, psycopg.connect(url) as second:
        second.execute(JOB, ("one", "one"))
        second.commit()
        first.execute("select pg_current_xact_id()")  # the lower number
        one = second.execute(EVENT, ("one", 1)).fetchone()
        second.commit()
        two = first.execute(EVENT, ("one", 2)).fetchone()
        first.commit()
    assert one is not None
    assert two is not None
    assert one[0] < two[0]
