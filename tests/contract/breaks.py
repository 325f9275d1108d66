"""Breaks the engine on purpose, one way after the other, to see that the state machine notices.

    python -m tests.contract.breaks [NAME …]

Prints for each break after how many runs it was found; exits with 1 where one was not.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support import job_machine
from tests.support.job_machine import JobMachine, SqlitePlaces
from ucop.engine.edits import forks
from ucop.engine.jobs.job import JobId
from ucop.engine.jobs.status import JobStatus
from ucop.engine.journal.journal import Journal
from ucop.engine.ledger import commands, events, lifecycle, progress, questions, threads
from ucop.engine.ledger.operation import One
from ucop.engine.worker.worker import Worker

RUNS = 300


def _sql(patch: pytest.MonkeyPatch, module: Any, name: str, old: str, new: str) -> None:
    text = getattr(module, name)
    assert old in text, f"{name} no longer says {old!r}"
    patch.setattr(module, name, text.replace(old, new))


def _without(patch: pytest.MonkeyPatch, where: list[Any], name: str, statement: str) -> None:
    """An operation that leaves a statement out."""
    whole = getattr(lifecycle, name)

    def broken(*given: Any, **more: Any) -> Generator[Any, Any, Any]:
        operation, rows = whole(*given, **more), None
        try:
            while True:
                asked = operation.send(rows)
                left_out = isinstance(asked, One) and asked.sql == statement
                rows = () if left_out else (yield asked)
        except StopIteration as stop:
            return stop.value

    for module in where:
        patch.setattr(module, name, broken)


def no_fence(patch: pytest.MonkeyPatch) -> None:
    """An attempt that lost its job saves checkpoints, steps and events."""
    _sql(patch, progress, "_TELL", "attempt = :attempt and status = 'running'", ":attempt > 0")


def fence_without_attempt(patch: pytest.MonkeyPatch) -> None:
    """An attempt writes, and finishes, as long as any attempt of its job runs."""
    for module, name in ((progress, "_TELL"), (lifecycle, "_SETTLE")):
        _sql(patch, module, name, "attempt = :attempt", ":attempt > 0")


def claim_of_any_attempt(patch: pytest.MonkeyPatch) -> None:
    """What a queue delivers late is claimed."""
    _sql(patch, lifecycle, "_CLAIM", "attempt = :attempt", ":attempt > 0")


def claim_by_the_lost(patch: pytest.MonkeyPatch) -> None:
    """A worker that was declared lost claims."""
    _sql(patch, lifecycle, "_CLAIM", "and lost = 0", "")


def no_event(patch: pytest.MonkeyPatch) -> None:
    """A pause or a cancel is not told."""
    _without(patch, [lifecycle, commands], "settle", events._ADD)


def attempt_stays_open(patch: pytest.MonkeyPatch) -> None:
    """An attempt that another follows does not end."""
    _without(patch, [lifecycle, commands], "next_attempt", lifecycle._END_ATTEMPT)


def pause_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A takeover does not see that the job was to pause."""
    _sql(patch, lifecycle, "_STATE", "jobs.want", "null as want")


def told_twice(patch: pytest.MonkeyPatch) -> None:
    """What was written still waits to be written."""
    patch.setattr(Journal, "told", lambda self, load, notes=None: self.give_back(load))


def final_is_left(patch: pytest.MonkeyPatch) -> None:
    """A completed job can be cancelled."""
    patch.setattr(commands, "sources", lambda change: frozenset(JobStatus))


def checkpoint_unknown(patch: pytest.MonkeyPatch) -> None:
    """The ledger does not know which checkpoint is the newest."""
    _sql(patch, progress, "_TELL", "coalesce(:checkpoint, checkpoint_id)", "checkpoint_id")


def fork_takes_too_much(patch: pytest.MonkeyPatch) -> None:
    """A fork holds as done what ran after its checkpoint."""
    whole = threads.copy_branch

    def broken(*given: Any, standing: bool) -> Any:
        return whole(*given, standing=True)

    patch.setattr(forks, "copy_branch", broken)


def fork_marks_its_parent(patch: pytest.MonkeyPatch) -> None:
    """A fork leaves a mark on its parent."""
    whole = forks.fork

    def broken(tables: Any, parent: JobId, *given: Any, **more: Any) -> Generator[Any, Any, Any]:
        yield One("update jobs set priority = priority + 1 where id = :job", {"job": parent})
        return (yield from whole(tables, parent, *given, **more))

    patch.setattr(forks, "fork", broken)


def poison_uncounted(patch: pytest.MonkeyPatch) -> None:
    """A job that takes its workers down goes on for ever."""
    patch.setattr(lifecycle, "POISON_ATTEMPTS", 10**6)


def pause_unheard(patch: pytest.MonkeyPatch) -> None:
    """A worker does not look what is asked for."""

    async def watch(self: Worker) -> None:
        return None

    patch.setattr(Worker, "watch", watch)


def answer_sent_again(patch: pytest.MonkeyPatch) -> None:
    """An answer that its node has gone past is sent with the next ones."""
    _sql(patch, questions, "_ANSWERS", "and consumed_at is null", "")


BREAKS: list[Callable[[pytest.MonkeyPatch], None]] = [
    no_fence,
    fence_without_attempt,
    claim_of_any_attempt,
    claim_by_the_lost,
    no_event,
    attempt_stays_open,
    pause_forgotten,
    told_twice,
    final_is_left,
    checkpoint_unknown,
    fork_takes_too_much,
    fork_marks_its_parent,
    poison_uncounted,
    pause_unheard,
    answer_sent_again,
]


def found_after(break_it: Callable[[pytest.MonkeyPatch], None]) -> tuple[int, str] | None:
    """After how many runs a break is found, and by what; None where it is not."""

    class Machine(JobMachine):
        places = SqlitePlaces()

    first = next(job_machine.runs)
    try:
        with pytest.MonkeyPatch.context() as patch:
            break_it(patch)
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=RUNS,
                    stateful_step_count=50,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                    print_blob=False,
                ),
            )
    except Exception as error:
        return next(job_machine.runs) - first - 1, type(error).__name__
    finally:
        Machine.places.close()
    return None


def main() -> int:
    logging.disable(logging.CRITICAL)
    names = sys.argv[1:]
    missed = 0
    for break_it in BREAKS:
        if not names or break_it.__name__ in names:
            found = found_after(break_it)
            missed += found is None
            told = f"found in run {found[0]} ({found[1]})" if found else "NOT FOUND"
            print(f"{break_it.__name__}\t{told}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
