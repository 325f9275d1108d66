"""Jobs under any order of what workers and people do; see support/job_machine.py.

UCOP_MACHINE_RUNS=5000 UCOP_MACHINE_STEPS=100 pytest tests/contract/test_state_machine.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.job_machine import JobMachine, Places, PostgresPlaces, SqlitePlaces

RUNS = int(os.environ.get("UCOP_MACHINE_RUNS", "200"))
STEPS = int(os.environ.get("UCOP_MACHINE_STEPS", "50"))


def run(places: Places, runs: int) -> None:
    class Machine(JobMachine):
        pass

    Machine.places = places
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=runs,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
            _min_steps=STEPS,
        )
    finally:
        places.close()


@pytest.fixture
def machine() -> Iterator[JobMachine]:
    """A job that one worker runs, by hand."""
    JobMachine.places = places = SqlitePlaces()
    machine = JobMachine()
    machine.begin(workers=1, jobs=1)
    yield machine
    machine.teardown()
    places.close()


def run_to(machine: JobMachine, *nodes: str) -> None:
    """Let the job's nodes end until just these are open."""
    (life,) = machine.lives.values()
    machine._claim(life, 1, machine.hands[0])
    while life.open != set(nodes):
        machine._end_first(life)
    machine.is_as_it_must_be()


def test_an_attempt_that_lost_its_job_does_not_try_for_ever_to_tell_of_it(
    machine: JobMachine,
) -> None:
    run_to(machine, "ask", "quiz")
    (hand,) = machine.hands
    hand.lock = False
    hand.worker._held.close()
    machine._start_worker()  # and takes over
    (late,) = [gate for gate in machine._open_gates() if gate[2] == "ask"]
    machine._open(late, "end")  # it asks, and what it asks is refused; its sibling runs on
    machine.is_as_it_must_be()


def test_a_job_that_fails_asks_nobody(machine: JobMachine) -> None:
    run_to(machine, "ask", "quiz")
    ask, quiz = machine._open_gates()
    machine._open(ask, "end")
    machine._open(quiz, "raise")
    machine.is_as_it_must_be()
    (life,) = machine.lives.values()
    assert machine.rows.of([life.id])[life.id]["questions"] == []


@pytest.mark.timeout(0)
def test_jobs_go_as_the_rules_say_whatever_happens_in_whatever_order() -> None:
    run(SqlitePlaces(), RUNS)


@pytest.mark.postgres
@pytest.mark.timeout(0)
def test_jobs_go_as_the_rules_say_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    run(PostgresPlaces(postgres_url, tmp_path), max(RUNS // 20, 5))
