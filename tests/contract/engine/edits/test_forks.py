"""Going on from an earlier checkpoint, in a new job or in the same one, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.graphs import chain, failing
from tests.support.waiting import DEADLINE
from ucop.agents import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Checkpoint, Engine, InvalidInput, JobHandle
from ucop.engine.dialect import dialect_of
from ucop.engine.errors import CheckpointNotFound, RefusedChange
from ucop.engine.ledger.operation import One, Operation

Open = Callable[..., Engine]

REVIEWED = """\
name: reviewed
input: {topic: string}
nodes:
  draft: {agent: write, with: {text: "${topic}"}, writes: text}
  review: {agent: rate, with: {text: "${text}"}, writes: score}
  publish: {agent: write, with: {text: "${text}"}, writes: published}
edges:
  - START -> draft -> review
  - from: review
    to:
      - {node: draft, when: "score < 7", at_most: 2}
      - {node: publish}
  - publish -> END
output: {text: "${text}", score: "${score}", published: "${published}"}
"""


@agent
def write(text: str) -> str:
    return text + "!"


@agent
def rate(text: str) -> int:
    return 3


@pytest.fixture
def reviewed(open_engine: Open, tmp_path: Path) -> tuple[Engine, JobHandle]:
    """A workflow with a loop that was gone round twice, and its engine."""
    file = tmp_path / "reviewed.yaml"
    file.write_text(
        REVIEWED.replace("state: {log: {type: array, items: {type: string}, merge: append}}\n", ""),
        encoding="utf-8",
    )
    engine = open_engine(registry=Registry.of(write, rate))
    job = engine.submit(file, {"topic": "tea"})
    job.result(DEADLINE)
    return engine, job


def after(job: JobHandle, *nodes: str) -> Checkpoint:
    """The first checkpoint that these nodes made."""
    return next(c for c in reversed(job.checkpoints()) if c.nodes == nodes)


def rows_of(engine: Engine, job: str) -> list[Any]:
    """All that the database holds of a job and its thread, in a fixed order."""
    tables = dialect_of(engine._database.url).tables

    def read() -> Operation[list[Any]]:
        found: list[Any] = []
        for table, key in (
            ("jobs", "id"),
            ("steps", "job_id"),
            ("events", "job_id"),
            ("attempts", "job_id"),
            ("checkpoints", "thread_id"),
            (tables.writes, "thread_id"),
        ):
            rows: Any = yield One(f"select * from {table} where {key} = :id", {"id": job})
            found.append(sorted(repr(dict(row)) for row in rows))
        return found

    return engine._loop.call(engine._database.read(read))


def test_a_fork_that_changes_nothing_gives_the_same_and_leaves_its_parent(engine: Engine) -> None:
    parent = engine.submit(engine.add("three", chain("a", "b", "c")), {"log": ["in"]})
    expected = parent.result(DEADLINE)
    before = rows_of(engine, parent.id)
    fork = parent.fork(after(parent, "a").id)
    assert fork.result(DEADLINE) == expected
    assert [step.node for step in fork.steps()] == ["b", "c"]
    assert rows_of(engine, parent.id) == before
    found = fork.get().parent
    assert found is not None
    assert (found.job_id, found.checkpoint_id) == (parent.id, after(parent, "a").id)


def test_every_checkpoint_of_a_job_can_be_forked(engine: Engine) -> None:
    parent = engine.submit(engine.add("three", chain("a", "b", "c")), {"log": ["in"]})
    expected = parent.result(DEADLINE)
    forks = [parent.fork(checkpoint.id) for checkpoint in parent.checkpoints()]
    assert [fork.result(DEADLINE) for fork in forks] == [expected] * 5


def test_an_update_is_merged_and_a_replacement_is_not(engine: Engine) -> None:
    parent = engine.submit(engine.add("three", chain("a", "b", "c")), {"log": ["in"]})
    parent.result(DEADLINE)
    at = after(parent, "a").id
    merged = parent.fork(at, update={"log": ["more"]})
    assert merged.result(DEADLINE) == {"log": ["in", "a", "more", "b", "c"]}
    replaced = parent.fork(at, replace={"log": ["new"]})
    assert replaced.result(DEADLINE) == {"log": ["new", "b", "c"]}


def test_a_fork_of_a_fork_goes_on_from_its_edit(engine: Engine) -> None:
    parent = engine.submit(engine.add("three", chain("a", "b", "c")), {"log": []})
    parent.result(DEADLINE)
    child = parent.fork(after(parent, "a").id, replace={"log": ["one"]})
    child.result(DEADLINE)
    edit = next(c for c in child.checkpoints() if c.values["log"] == ["one"])
    assert edit.nodes == ()
    grandchild = child.fork(edit.id, replace={"log": ["two"]})
    assert grandchild.result(DEADLINE) == {"log": ["two", "b", "c"]}


def test_a_fork_of_where_a_failed_job_stands_goes_on_there(engine: Engine) -> None:
    ran: list[str] = []
    parent = engine.submit(engine.add("breaking", failing(1, ran)))
    assert parent.wait(DEADLINE) == "failed"
    fork = parent.fork()
    assert fork.result(DEADLINE) == {"log": ["before", "breaks", "after"]}
    assert ran == ["before", "breaks", "breaks", "after"]
    assert parent.status == "failed"


def test_the_edges_out_of_an_edited_node_are_taken_anew(
    reviewed: tuple[Engine, JobHandle],
) -> None:
    _, job = reviewed
    assert job.get().output == {"text": "tea!", "score": 3, "published": "tea!!"}
    assert [s.node for s in job.steps()].count("review") == 3
    good = job.fork(after(job, "review").id, replace={"score": 9})
    assert good.result(DEADLINE) == {"text": "tea!", "score": 9, "published": "tea!!"}
    assert [step.node for step in good.steps() if step.status == "completed"] == ["publish"]
    same = job.fork(after(job, "review").id, replace={"text": "coffee"})
    same.result(DEADLINE)
    assert [step.node for step in same.steps() if step.status == "completed"] == [
        *("draft", "review") * 2,
        "publish",
    ]


def test_what_ran_in_the_parent_is_not_skipped_in_the_fork(
    reviewed: tuple[Engine, JobHandle],
) -> None:
    _, job = reviewed
    fork = job.fork(after(job, "review").id, update={"score": 9})
    fork.result(DEADLINE)
    assert [step.node for step in fork.steps() if step.status == "skipped"] == []
    again = fork.fork(fork.checkpoints()[0].id)
    again.result(20)
    assert [step.node for step in again.steps() if step.status == "skipped"] == []


def test_an_edit_that_does_not_fit_is_refused(reviewed: tuple[Engine, JobHandle]) -> None:
    engine, job = reviewed
    at = after(job, "review").id
    with pytest.raises(InvalidInput, match="did you mean 'score'"):
        job.fork(at, update={"scor": 9})
    with pytest.raises(InvalidInput, match="topic"):
        job.fork(at, replace={"topic": 3})
    with pytest.raises(InvalidInput, match="did you mean 'review'"):
        job.fork(at, update={"score": 9}, as_node="reviw")
    with pytest.raises(CheckpointNotFound, match="ucop checkpoints list"):
        job.fork("nonesuch")
    assert [found.id for found in engine.jobs()] == [job.id]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800"])
def test_an_edit_that_no_node_could_write_is_refused(
    reviewed: tuple[Engine, JobHandle], text: str
) -> None:
    _, job = reviewed
    for edit in ("update", "replace"):
        with pytest.raises(InvalidInput, match="the edit: text"):
            job.fork(job.checkpoints()[-2].id, **{edit: {"text": text}})  # type: ignore[arg-type]


def test_an_edit_of_the_input_runs_the_whole_workflow_on_it(
    reviewed: tuple[Engine, JobHandle],
) -> None:
    _, job = reviewed
    first = job.checkpoints()[-1]
    fork = job.fork(first.id, replace={"topic": "coffee"})
    assert fork.result(DEADLINE)["text"] == "coffee!"


def test_a_failed_job_is_set_back_and_goes_on_from_there(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(1, ran)))
    assert job.wait(DEADLINE) == "failed"
    start = next(c for c in job.checkpoints() if c.next == ("before",))
    job.restore(start.id)
    assert job.status == "failed"
    assert job.checkpoints()[0].next == ("before",)
    assert len(job.checkpoints()) == 4
    job.retry()
    assert job.result(DEADLINE) == {"log": ["before", "breaks", "after"]}
    assert ran == ["before", "breaks", "before", "breaks", "after"]
    kinds = [event.type for event in job.events()]
    assert kinds.count("job.restored") == 1


def test_a_failed_job_is_retried_from_a_named_checkpoint(engine: Engine) -> None:
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(1, ran)))
    assert job.wait(DEADLINE) == "failed"
    start = next(c for c in job.checkpoints() if c.next == ("before",))
    job.retry(checkpoint=start.id)
    job.result(DEADLINE)
    assert ran == ["before", "breaks", "before", "breaks", "after"]
    with pytest.raises(RefusedChange, match="completed"):
        job.retry(checkpoint=start.id)
    with pytest.raises(RefusedChange, match="completed"):
        job.restore(start.id)


JOINED = """\
name: joined
input: {topic: string}
nodes:
  a: {agent: write, with: {text: "${topic}"}, writes: one}
  b: {agent: write, with: {text: "${topic}"}, writes: two}
  c: {agent: write, with: {text: "${one}"}, writes: three}
  both: {agent: write, with: {text: "${two} ${three}"}, writes: four}
  ask: {ask: "Good?", answer: {good: {type: boolean}}, writes: answer}
edges:
  - START -> [a, b]
  - a -> c -> both
  - b -> both
  - both -> ask -> END
output: {text: "${four}", good: "${answer.good}"}
"""


@pytest.fixture
def joined(open_engine: Open, tmp_path: Path) -> JobHandle:
    """A job of branches of different lengths, a join and a question, that was answered."""
    file = tmp_path / "joined.yaml"
    file.write_text(JOINED, encoding="utf-8")
    engine = open_engine(registry=Registry.of(write, rate))
    job = engine.submit(file, {"topic": "tea"})
    assert job.wait(DEADLINE) == "waiting"
    job.answer({"good": True})
    job.result(DEADLINE)
    return job


def answered(fork: JobHandle) -> Any:
    """The fork's output, after its question was answered where it asks again."""
    if fork.wait(DEADLINE) == "waiting":
        fork.answer({"good": True})
    return fork.result(DEADLINE)


def test_an_edit_that_changes_nothing_changes_nothing_at_any_checkpoint(joined: JobHandle) -> None:
    expected = joined.get().output
    for checkpoint in joined.checkpoints():
        for node in checkpoint.nodes or (None,):
            fork = joined.fork(checkpoint.id, replace={"topic": "tea"}, as_node=node)
            assert answered(fork) == expected, (checkpoint.nodes, node)
            due = [step.node for step in fork.steps() if step.status == "completed"]
            assert len(due) == len(set(due)), (checkpoint.nodes, due)


def test_where_several_nodes_ran_one_must_be_named(joined: JobHandle) -> None:
    at = next(c for c in joined.checkpoints() if set(c.nodes) == {"a", "b"})
    with pytest.raises(InvalidInput, match="as_node"):
        joined.fork(at.id, replace={"one": "x"})


def test_a_fork_of_a_waiting_job_asks_anew_and_leaves_the_parents_question(
    open_engine: Open, tmp_path: Path
) -> None:
    file = tmp_path / "joined.yaml"
    file.write_text(JOINED, encoding="utf-8")
    engine = open_engine(registry=Registry.of(write, rate))
    parent = engine.submit(file, {"topic": "tea"})
    assert parent.wait(DEADLINE) == "waiting"
    fork = parent.fork()
    assert fork.wait(DEADLINE) == "waiting"
    fork.answer({"good": False})
    assert fork.result(DEADLINE)["good"] is False
    assert parent.status == "waiting"
    parent.answer({"good": True})
    assert parent.result(DEADLINE)["good"] is True


def test_siblings_of_a_python_node_are_not_lost_by_an_edit(engine: Engine) -> None:
    graph = chain("a", "last")
    graph.add_node("b", graph.nodes["a"].runnable)
    graph.add_node("c", graph.nodes["last"].runnable)
    graph.add_edge("__start__", "b")
    graph.add_edge("b", "c")
    parent = engine.submit(engine.add("branches", graph), {"log": []})
    parent.result(DEADLINE)
    at = next(c for c in parent.checkpoints() if set(c.nodes) == {"a", "b"})
    fork = parent.fork(at.id, replace={"log": ["new"]}, as_node="a")
    fork.result(DEADLINE)
    assert sorted(step.node for step in fork.steps()) == ["c", "last"]


def test_many_forks_leave_their_parent_as_it_is(engine: Engine) -> None:
    parent = engine.submit(engine.add("three", chain("a", "b", "c")), {"log": ["in"]})
    expected = parent.result(DEADLINE)
    before, at = rows_of(engine, parent.id), after(parent, "b").id
    forks = [parent.fork(at) for _ in range(25)]
    assert [fork.result(DEADLINE) for fork in forks] == [expected] * 25
    assert rows_of(engine, parent.id) == before
