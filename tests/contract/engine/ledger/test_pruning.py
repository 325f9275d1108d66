"""Old checkpoints are deleted, and what jobs and their forks go on from stays, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import chain, failing
from ucop.agents import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Engine, InvalidInput, JobHandle
from ucop.engine.dialect import dialect_of
from ucop.engine.ledger.operation import One, Operation
from ucop.engine.ledger.pruning import Pruning

DEADLINE = 60.0

Open = Callable[..., Engine]


@pytest.fixture
def done(engine: Engine) -> JobHandle:
    job = engine.submit(engine.add("flow", chain(*"abcdef")), {"log": []})
    job.result(DEADLINE)
    return job


def ids(job: JobHandle) -> list[str]:
    return [checkpoint.id for checkpoint in job.checkpoints()]


def held(engine: Engine, job: str) -> dict[str, int]:
    """How many rows of each of LangGraph's tables a thread has."""
    tables = dialect_of(engine._database.url).tables

    def read() -> Operation[dict[str, int]]:
        found = {}
        apart = ["checkpoint_blobs"] if tables.apart else []
        for table in ("checkpoints", tables.writes, *apart):
            sql = f"select count(*) as n from {table} where thread_id = :id"
            found[table] = (yield One(sql, {"id": job}))[0]["n"]
        return found

    return engine._loop.call(engine._database.read(read))


def test_the_newest_stay_and_what_they_were_made_from(engine: Engine, done: JobHandle) -> None:
    before, rows = ids(done), held(engine, done.id)
    assert done.prune(keep=2, dry_run=True) == len(before) - 3
    assert (ids(done), held(engine, done.id)) == (before, rows)
    assert done.prune(keep=2) == len(before) - 3
    assert ids(done) == before[:3]
    assert done.prune(keep=2) == 0
    left = held(engine, done.id)
    assert left["checkpoints"] == 3
    assert all(left[table] < rows[table] for table in rows), left


def test_a_pruned_job_is_forked_from_what_stayed(engine: Engine, done: JobHandle) -> None:
    done.prune(keep=3)
    newest, *_, oldest = done.checkpoints()
    assert done.fork().result(DEADLINE) == {"log": list("abcdef")}
    edited = done.fork(done.checkpoints()[1].id, {"log": ["x"]})
    assert edited.result(DEADLINE) == {"log": [*"abcde", "x", "f"]}
    assert done.fork(oldest.id).result(DEADLINE) == {"log": list("abcdef")}
    with pytest.raises(InvalidInput, match="was pruned, so as_node must say"):
        done.fork(oldest.id, {"log": ["x"]})
    named = done.fork(oldest.id, {"log": ["x"]}, as_node="c")
    assert named.result(DEADLINE) == {"log": [*"abc", "x", *"def"]}
    assert done.fork(newest.id, {"log": ["y"]}).result(DEADLINE) == {"log": [*"abcdef", "y"]}


def test_a_failed_job_goes_on_from_where_it_stood(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(1, ran)))
    assert job.wait(DEADLINE) == "failed"
    assert job.prune() > 0
    job.resume(replace={"log": ["edited"]})
    assert job.result(DEADLINE) == {"log": ["edited", "breaks", "after"]}
    assert ran == ["before", "breaks", "breaks", "after"]


def test_a_job_that_was_set_back_keeps_what_it_stands_at(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(1, ran)))
    assert job.wait(DEADLINE) == "failed"
    first = job.checkpoints()[-1]
    job.restore(first.id)
    job.prune()
    job.retry()
    assert job.result(DEADLINE) == {"log": ["before", "breaks", "after"]}
    assert ran.count("before") == 2


def test_only_older_ones_go(done: JobHandle) -> None:
    before = ids(done)
    assert done.prune(before=datetime.now(UTC) - timedelta(hours=1)) == 0
    middle = done.checkpoints()[3].created_at
    assert done.prune(before=middle) == len(before) - 4
    assert ids(done) == before[:4]


def test_the_time_of_a_checkpoint_is_the_beginning_of_its_id(done: JobHandle) -> None:
    for checkpoint in done.checkpoints():
        at = checkpoint.created_at.timestamp()
        assert Pruning(before=at - 0.5).cutoff < checkpoint.id < Pruning(before=at + 0.5).cutoff


def test_jobs_on_one_thread_keep_what_each_goes_on_from(engine: Engine) -> None:
    flow, ran = engine.add("flow", chain(*"ab")), []  # type: ignore[var-annotated]
    first = engine.submit(flow, {"log": []})
    first.result(DEADLINE)
    second = engine.submit(
        engine.add("breaking", failing(1, ran)), {"log": ["second"]}, thread_id=first.id
    )
    assert second.wait(DEADLINE) == "failed"
    third = engine.submit(flow, {"log": ["third"]}, thread_id=first.id)
    third.result(DEADLINE)
    stood = second.checkpoints()[0].id
    for job in (first, second, third):
        job.prune()
    # Another job has moved the thread on, so the job names where it stood.
    second.retry(checkpoint=stood)
    assert second.result(DEADLINE)["log"][-3:] == ["before", "breaks", "after"]


@pytest.mark.parametrize("keep", [0, -1, True, 10**9])
def test_a_number_that_is_none_is_refused(done: JobHandle, keep: Any) -> None:
    with pytest.raises(InvalidInput, match="keep"):
        done.prune(keep=keep)


INNER = """
name: inner
input: {text: string}
nodes:
  one: {agent: mark, with: {text: "${text}"}, writes: a}
  two: {agent: fragile, with: {text: "${a}"}, writes: b}
output: "${b}"
"""

OUTER = """
name: outer
input: {text: string}
nodes:
  first: {agent: mark, with: {text: "${text}"}, writes: x}
  inside: {workflow: inner, with: {text: "${x}"}, writes: y}
output: "${y}"
"""


def test_a_workflow_inside_goes_on_where_it_was(open_engine: Open, tmp_path: Path) -> None:
    ran: list[str] = []

    @agent
    def mark(text: str) -> str:
        ran.append("mark")
        return text + "!"

    @agent
    def fragile(text: str) -> str:
        ran.append("fragile")
        if ran.count("fragile") == 1:
            raise ValueError("not yet")
        return text + "?"

    for name, text in (("inner", INNER), ("outer", OUTER)):
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    registry = Registry.of(mark, fragile)
    engine = open_engine(registry=registry, settings={"workflows": ("*.yaml",)})
    job = engine.submit("outer", {"text": "tea"})
    assert job.wait(DEADLINE) == "failed"
    assert job.prune() > 0
    job.retry()
    assert job.result(DEADLINE) == "tea!!?"
    assert ran == ["mark", "mark", "fragile", "fragile"]
