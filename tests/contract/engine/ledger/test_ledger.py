"""The ledger's operations, on both databases."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.support.ledger import ME, OTHER, claim, finish, new_job, release, submit
from ucop.engine.database.database import Database
from ucop.engine.errors import JobNotFound, KeyConflict, RefusedChange, Superseded
from ucop.engine.jobs.job import TaskId
from ucop.engine.jobs.status import Change, JobStatus, StepStatus
from ucop.engine.ledger import commands, overdue, progress, reads, workers
from ucop.engine.ledger.commands import read_new_terms
from ucop.engine.ledger.operation import One
from ucop.engine.ledger.records import NewEvent, Outcome, StepRow
from ucop.engine.reading.reader import open_reader


@pytest.fixture
async def joined(database: Database) -> Database:
    for worker in (ME, OTHER):
        await database.write(lambda w=worker: workers.join(w, "here", 1, "[]"))  # type: ignore[misc]
    return database


async def test_a_job_goes_from_submit_to_completed_with_events_without_a_gap(
    joined: Database, url: str
) -> None:
    assert await submit(joined, new_job()) == ("a", True)
    claimed = await claim(joined)
    assert claimed.input == {"topic": "tea"}
    assert not claimed.begun
    assert await finish(joined, Outcome(change=Change.COMPLETE, output='"done"')) == "completed"
    with open_reader(url) as reader:
        job = reader.job("a")
        assert (job.status, job.output, job.attempt) == ("completed", "done", 1)
        assert job.created_at <= job.started_at <= job.finished_at  # type: ignore[operator]
        events = reader.events("a")
        assert [(e.seq, e.type) for e in events] == [
            (1, "job.submitted"),
            (2, "job.running"),
            (3, "job.completed"),
        ]
        attempt = reader.attempts("a")[0]
        assert (attempt.status, attempt.outcome, attempt.worker) == ("ended", "completed", ME)


async def test_a_key_that_is_in_use_gives_the_first_job(joined: Database) -> None:
    await submit(joined, new_job("a", key="k"))
    assert await submit(joined, new_job("b", key="k")) == ("a", False)
    with pytest.raises(JobNotFound):
        await joined.read(lambda: reads.rest("b"))


@pytest.mark.parametrize("other", [{"input": '{"topic":"coffee"}'}, {"workflow": "another"}])
async def test_a_key_with_another_input_or_workflow_is_refused(
    joined: Database, other: dict[str, str]
) -> None:
    await submit(joined, new_job("a", key="k"))
    with pytest.raises(KeyConflict, match="job a"):
        await submit(joined, new_job("b", key="k", **other))


async def test_an_attempt_is_claimed_once(joined: Database) -> None:
    await submit(joined, new_job())
    assert await claim(joined, worker=ME)
    assert await claim(joined, worker=OTHER) is None


async def test_an_attempt_that_is_not_the_current_one_is_not_claimed(joined: Database) -> None:
    await submit(joined, new_job())
    assert await claim(joined, attempt=2) is None


async def test_a_worker_that_was_declared_lost_claims_nothing(joined: Database) -> None:
    await submit(joined, new_job())
    assert await joined.write(lambda: workers.mark_lost(ME))
    assert await claim(joined) is None
    assert not await joined.write(lambda: workers.beat(ME))


async def test_jobs_of_one_thread_do_not_run_at_the_same_time(joined: Database) -> None:
    await submit(joined, new_job("a", thread_id="t"))
    await submit(joined, new_job("b", thread_id="t"))
    assert await claim(joined, "a")
    assert await claim(joined, "b") is None
    await finish(joined, Outcome(change=Change.COMPLETE))
    assert await claim(joined, "b")


async def test_a_superseded_attempt_can_neither_tell_nor_finish(joined: Database, url: str) -> None:
    await submit(joined, new_job())
    await claim(joined)
    assert await release(joined, 1) == "pending"
    step = _step("t1", StepStatus.COMPLETED)
    with pytest.raises(Superseded, match="attempt 1 of job a"):
        await joined.write(lambda: progress.tell("a", 1, steps=[step]))
    with pytest.raises(Superseded):
        await finish(joined, Outcome(change=Change.COMPLETE, steps=[step]))
    with open_reader(url) as reader:
        assert reader.job("a").status == JobStatus.PENDING
        assert reader.steps("a") == []


async def test_a_job_that_takes_its_workers_down_is_failed_after_three_attempts(
    joined: Database, url: str
) -> None:
    await submit(joined, new_job())
    seen = []
    for attempt in (1, 2, 3):
        assert await claim(joined, attempt=attempt)
        step, number = _step(f"t{attempt}", StepStatus.RUNNING), attempt
        await joined.write(lambda n=number, s=step: progress.tell("a", n, steps=[s]))  # type: ignore[misc]
        seen.append(await release(joined, attempt))
    assert seen == ["pending", "pending", "failed"]
    with open_reader(url) as reader:
        error = reader.job("a").error
        assert error is not None
        assert error.type == "PoisonJob"
        assert "lost their worker" in error.message


async def test_an_attempt_that_saved_something_is_not_counted_against_the_job(
    joined: Database,
) -> None:
    await submit(joined, new_job())
    for attempt in range(1, 7):
        assert await claim(joined, attempt=attempt)
        number = attempt
        await joined.write(lambda n=number: progress.tell("a", n, saved=1, checkpoint="c"))  # type: ignore[misc]
        assert await release(joined, attempt) == "pending"


async def test_a_drained_attempt_is_not_counted_against_the_job(joined: Database) -> None:
    await submit(joined, new_job())
    for attempt in range(1, 6):
        assert await claim(joined, attempt=attempt)
        assert await release(joined, attempt, lost=False) == "pending"


async def test_a_job_that_saved_a_checkpoint_goes_on_from_it(joined: Database) -> None:
    await submit(joined, new_job())
    await claim(joined)
    await joined.write(lambda: progress.tell("a", 1, saved=1, checkpoint="c1"))
    await release(joined, 1)
    assert (await claim(joined, attempt=2)).begun


async def test_only_a_job_that_rests_unfinished_can_go_on(joined: Database) -> None:
    await submit(joined, new_job())
    with pytest.raises(RefusedChange, match="pending"):
        await joined.write(lambda: commands.resume("a"))
    await claim(joined)
    error = '{"type":"ValueError","message":"no","node":"n"}'
    await finish(joined, Outcome(change=Change.FAIL, error=error))
    assert await joined.write(lambda: commands.resume("a")) == "pending"
    assert await claim(joined, attempt=2)
    await finish(joined, Outcome(change=Change.COMPLETE), attempt=2)
    with pytest.raises(RefusedChange, match="completed"):
        await joined.write(lambda: commands.resume("a"))
    with pytest.raises(JobNotFound):
        await joined.write(lambda: commands.resume("nobody"))


async def test_steps_and_events_are_told_together_and_counted(joined: Database, url: str) -> None:
    await submit(joined, new_job())
    await claim(joined)
    running = _step("t1", StepStatus.RUNNING)
    done = replace(
        running, status=StepStatus.COMPLETED, finished_at=12.5, model_calls=2, tokens_in=30
    )
    events = [NewEvent(type="step.started", at=10), NewEvent(type="progress", at=11)]
    await joined.write(lambda: progress.tell("a", 1, steps=[running], events=events))
    await joined.write(lambda: progress.tell("a", 1, steps=[done]))
    with open_reader(url) as reader:
        job = reader.job("a")
        assert [(s.node, s.status, s.model_calls) for s in job.steps] == [("n", "completed", 2)]
        assert (job.usage.model_calls, job.usage.tokens_in) == (2, 30)
        assert job.usage.seconds == pytest.approx(2.5, abs=1e-3)
        assert [e.seq for e in reader.events("a")] == [1, 2, 3, 4]
        assert [e.seq for e in reader.events("a", after=2)] == [3, 4]


async def test_a_step_that_ran_when_its_worker_was_lost_ends_as_interrupted(
    joined: Database, url: str
) -> None:
    await submit(joined, new_job())
    await claim(joined)
    await joined.write(lambda: progress.tell("a", 1, steps=[_step("t1", StepStatus.RUNNING)]))
    await release(joined, 1)
    with open_reader(url) as reader:
        step = reader.steps("a")[0]
        assert (step.status, step.error and step.error.type) == ("failed", "Interrupted")


async def test_a_job_that_was_given_more_time_meanwhile_does_not_expire(joined: Database) -> None:
    late = {"deadline": -0.1, "budget": '{"deadline": 2}'}
    await submit(joined, new_job("late", **late))
    await submit(joined, new_job("given", **late))
    found = await joined.read(overdue.late_jobs)
    assert sorted(found) == ["given", "late"]
    more = read_new_terms({"deadline": "1h"})
    await joined.write(lambda: commands.pause("given"))
    await joined.write(lambda: commands.resume("given", more))
    for job in found:
        await joined.write(partial(overdue.expire_job, job))
    given, gone = [await joined.read(partial(reads.rest, job)) for job in ("given", "late")]
    assert given.status == "pending"
    assert gone.status == "failed"
    assert "did not end within 2 s of its submission" in str(gone.error)


async def test_a_pause_that_was_asked_for_holds_the_next_attempt(
    joined: Database, url: str
) -> None:
    await submit(joined, new_job())
    await claim(joined)
    await joined.write(_wants_pause)
    assert await release(joined, 1) == "paused"


def _wants_pause() -> Any:
    yield One("update jobs set want = 'pause' where id = :job", {"job": "a"})


def _step(task: str, status: StepStatus) -> StepRow:
    return StepRow(task_id=TaskId(task), node="n", status=status, started_at=10.0)
