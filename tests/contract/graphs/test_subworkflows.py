"""Workflows inside workflows, as jobs on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ucop.engine import Engine

DEADLINE = 60.0

OUTER = """
name: outer
input: {names: {type: array, items: string}}
nodes:
  first: {workflow: inner, with: {name: "nobody"}, writes: one}
  rest: {workflow: inner, each: "${names}", as: name, with: {name: "${name}"}, writes: all}
output: {one: "${one}", all: "${all}"}
"""
INNER = """
name: inner
input: {name: string}
nodes:
  keep: {ask: "Keep ${name}?", answer: boolean, writes: kept}
  note: {ask: "Why, ${name}?", writes: why}
edges:
  - START -> keep -> note -> END
output: {kept: "${kept}", why: "${why}"}
"""


def _project(folder: Path) -> None:
    (folder / "outer.yaml").write_text(OUTER, encoding="utf-8")
    (folder / "inner.yaml").write_text(INNER, encoding="utf-8")


def test_given_workflows_inside_then_their_steps_and_questions_are_seen(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    _project(tmp_path)
    engine = open_engine(settings={"workflows": ["*.yaml"]})
    job = engine.submit("outer", {"names": ["x", "y"]})
    rounds = 0
    while job.wait(DEADLINE) == "waiting":
        rounds += 1
        question = job.questions()[0]
        said = str(question.question)
        assert question.node in ("first/keep", "first/note", "rest/keep", "rest/note")
        answer = "x" not in said if said.startswith("Keep") else f"{said} Because."
        job.answer(answer, question=question.id)
        assert rounds < 20
    assert job.result(DEADLINE) == {
        "one": {"kept": True, "why": "Why, nobody? Because."},
        "all": [
            {"kept": False, "why": "Why, x? Because."},
            {"kept": True, "why": "Why, y? Because."},
        ],
    }
    ended = [step.node for step in job.steps() if step.status == "completed"]
    assert sorted(ended) == [
        *["first", "first/keep", "first/note"],
        *["rest", "rest/keep", "rest/keep", "rest/note", "rest/note"],
    ]


def test_given_a_job_that_waits_inside_then_its_fork_goes_on_inside(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    _project(tmp_path)
    engine = open_engine(settings={"workflows": ["*.yaml"]})
    parent = engine.submit("outer", {"names": []})
    assert parent.wait(DEADLINE) == "waiting"
    parent.answer(True)
    assert parent.wait(DEADLINE) == "waiting"
    fork = parent.fork()
    assert fork.wait(DEADLINE) == "waiting"
    (question,) = fork.questions()
    assert question.node == "first/note"
    fork.answer("so")
    assert fork.result(DEADLINE)["one"] == {"kept": True, "why": "so"}
    assert parent.status == "waiting"
    parent.answer("otherwise")
    assert parent.result(DEADLINE)["one"] == {"kept": True, "why": "otherwise"}


def test_given_an_earlier_checkpoint_then_a_fork_runs_the_workflow_inside_anew(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    _project(tmp_path)
    engine = open_engine(settings={"workflows": ["*.yaml"]})
    parent = engine.submit("outer", {"names": []})
    parent.wait(DEADLINE)
    parent.answer(True)
    parent.wait(DEADLINE)
    parent.answer("so")
    parent.result(DEADLINE)
    start = next(c for c in parent.checkpoints() if "first" in c.next)
    fork = parent.fork(start.id)
    assert fork.wait(DEADLINE) == "waiting"
    assert [question.node for question in fork.questions()] == ["first/keep"]
