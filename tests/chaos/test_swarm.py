"""A fan-out over 1,000 items whose worker is killed in the middle of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial

from tests.chaos.audit import Auditor, hold, run_again
from tests.chaos.fleet import Fleet, chance
from tests.chaos.mazes import SWARM_LIMIT, label
from tests.chaos.witness import Record
from tests.support.waiting import until
from ucop.engine import Engine
from ucop.engine.journal.outbox import MOST_UNSAVED

ITEMS = 1_000
KILLS = 3


def test_a_killed_fan_out_goes_on_with_what_was_not_done_and_keeps_limit_and_order(
    fleet: Fleet, engine: Engine, auditor: Auditor, seed: int
) -> None:
    fleet.nap = 0.05
    name = "swarm"
    worker = fleet.worker()
    job = engine.submit("swarm", {"name": name, "items": list(range(ITEMS))})
    held = []
    for due in chance(seed).sample(range(20, 200), KILLS):
        ready = partial(has_ended, fleet, worker.pid, due)
        until(ready, f"{due} items to end there", fleet.logs)
        worker.kill()
        held += hold(auditor, fleet.witness, worker.pid)
        worker = fleet.worker()

    assert job.result(timeout=120) == [label("buzz", 0, item) for item in range(ITEMS)]
    assert [len(each.labels) > 0 for each in held] == [True] * KILLS, "killed before or after it"
    assert run_again(fleet.witness, held) == []
    records = fleet.records()
    began = Counter(record.label for record in records if record.what == "begin")
    assert len(began) == ITEMS
    # What ran when a worker was killed runs again, and what had ended and was not saved yet: what
    # a transaction held, what waited for it, and what ended in the turn of the loop in which more
    # began.
    unsaved = 2 * MOST_UNSAVED + SWARM_LIMIT
    assert began.total() - ITEMS <= KILLS * (SWARM_LIMIT + unsaved)
    assert most_at_once(records) == SWARM_LIMIT


def has_ended(fleet: Fleet, pid: int, items: int) -> bool:
    """Whether a process has ended so many items: it holds the job, and is in the middle of it."""
    return sum(record.what == "end" and record.pid == pid for record in fleet.records()) >= items


def most_at_once(records: Iterable[Record]) -> int:
    """The most items that one process had running; those of a killed one ended with it."""
    running: Counter[int] = Counter()
    most = 0
    for record in records:
        running[record.pid] += {"begin": 1, "end": -1}.get(record.what, 0)
        most = max(most, running[record.pid])
    return most
