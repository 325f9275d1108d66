"""A worker dies while a job takes an answer, or stands at a breakpoint: no answer is lost, used
twice or given to another question, and nobody but a person lets a job pass a breakpoint."""

from __future__ import annotations

import signal

import pytest

from tests.chaos.fleet import Fleet
from tests.support.waiting import until
from ucop.engine import Engine, JobHandle

POINTS = [
    "after claim",
    "before writes",
    "inside saver write",
    "after writes",
    "before writes:2",
    "inside saver write:2",
    "after writes:2",
    "before finish",
    "inside ledger write:2",
    "after finish",
]


def _dies(fleet: Fleet, fault: str) -> None:
    worker = fleet.worker(fault=fault, ready=False)
    until(lambda: worker.wait(0) is not None, f"the worker to die {fault}", fleet.logs)
    assert worker.status == -signal.SIGKILL, worker.log


def _dies_or_rests(fleet: Fleet, fault: str, job: JobHandle) -> None:
    """The last stretches save too little to come to each point."""
    worker = fleet.worker(fault=fault, ready=False)
    until(
        lambda: worker.wait(0) is not None or job.status in ("waiting", "completed"),
        f"the worker to die {fault}, or the job to rest",
        fleet.logs,
    )
    worker.kill()


def _open(job: JobHandle) -> list[str]:
    return sorted(question.question for question in job.questions())


def _answer(job: JobHandle, question: str, answer: str) -> None:
    (found,) = [each for each in job.questions() if each.question == question]
    job.answer(answer, question=found.id)


def _waits(fleet: Fleet, job: JobHandle, *questions: str) -> None:
    def waits() -> bool:
        return job.status == "waiting" and _open(job) == sorted(questions)

    until(waits, f"questions {questions}", lambda: f"{_open(job)}\n{fleet.logs()}")


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_while_an_answer_is_taken_neither_loses_nor_repeats_it(
    point: str, fleet: Fleet, engine: Engine
) -> None:
    job = engine.submit("inquiry", {})
    first = fleet.worker()
    _waits(fleet, job, "first?", "third?")
    first.kill()

    _answer(job, "first?", "1")
    _dies(fleet, point)
    second = fleet.worker()
    _waits(fleet, job, "second?", "third?")
    second.kill()

    _answer(job, "third?", "3")
    _dies(fleet, point)
    fleet.worker()
    _waits(fleet, job, "second?")
    _answer(job, "second?", "2")

    assert job.result(60) == {"told": ["first 1", "second 2", "third 3"]}
    took = {record.label for record in fleet.records() if record.what == "took"}
    assert took == {"first 1"}


HALTS = [
    ("stopped at a breakpoint before b", ["a"]),
    ("stopped at a breakpoint in inner before y", ["a", "b", "x"]),
    ("stopped at a breakpoint in inner before z", ["a", "b", "x", "y"]),
]


@pytest.mark.parametrize("point", ["after put", "after put:2", "before finish", "after finish"])
def test_a_worker_that_dies_at_a_breakpoint_lets_no_other_pass_it(
    point: str, fleet: Fleet, engine: Engine
) -> None:
    job = engine.submit("halts", {})
    for reason, ran in HALTS:
        _dies_or_rests(fleet, point, job)
        other = fleet.worker()
        assert job.wait(60) == "waiting", fleet.logs()
        assert job.get().reason == reason
        began = [record.label for record in fleet.records() if record.what == "begin"]
        assert list(dict.fromkeys(began)) == ran
        other.kill()
        job.resume()
    _dies_or_rests(fleet, point, job)  # in the attempt that passes: whoever follows may pass too
    fleet.worker()
    assert job.result(60) == {"told": ["a", "b", *["a", "b", "x", "y", "z"]]}
