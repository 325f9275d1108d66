"""The doors by which a node's start and end come in."""

from __future__ import annotations

import time

import pytest

from tests.support.journal import Nodes, as_task
from ucop.agents.models.meter import Meter
from ucop.engine.errors import StepsUsedUp
from ucop.engine.jobs.job import JobId
from ucop.engine.journal.journal import Journal
from ucop.engine.journal.observer import Observer


class Counting(Observer):
    """Lets a few nodes begin, and no more."""

    def __init__(self, most: int = 10) -> None:
        self.begun: list[str] = []
        self._most = most

    def begins(self, node: str) -> None:
        if len(self.begun) == self._most:
            raise StepsUsedUp(f"node {node} is one too many")
        self.begun.append(node)


def journal_of(observer: Observer) -> Journal:
    return Journal(JobId("a"), 1, Nodes(), Meter(), observer)


def told(journal: Journal) -> list[str]:
    return [event.type for event in journal.notes.events]


async def test_a_node_that_ends_before_the_stream_tells_of_it_begins_once() -> None:
    observer = Counting()
    journal = journal_of(observer)
    journal.announced((), as_task("t1", "one"))
    with journal.finished("t1", [("log", "x")], time.monotonic()) as notes:
        journal.notes.add(notes)
    journal.started((), as_task("t1", "one"))
    assert observer.begun == ["one"]
    assert told(journal) == ["step.started", "step.completed"]
    assert journal.open_nodes() == []


async def test_a_node_that_the_compiler_made_is_no_step_also_where_it_ends_early() -> None:
    observer = Counting()
    journal = journal_of(observer)
    journal.announced((), as_task("t1", "_own gate"))
    with journal.finished("t1", [("log", "x")], time.monotonic()):
        pass
    journal.started((), as_task("t1", "_own gate"))
    assert observer.begun == []
    assert told(journal) == []


async def test_a_node_that_may_not_begin_leaves_no_step() -> None:
    journal = journal_of(Counting(most=0))
    with pytest.raises(StepsUsedUp):
        journal.started((), as_task("t1", "one"))
    assert told(journal) == []
    assert journal.open_nodes() == []


async def test_a_node_whose_writes_are_not_saved_has_not_ended() -> None:
    journal = journal_of(Observer())
    journal.started((), as_task("t1", "one"))
    with (
        pytest.raises(OSError, match="full"),
        journal.finished("t1", [("log", "x")], time.monotonic()),
    ):
        raise OSError("the disk is full")
    assert journal.open_nodes() == [("t1", "one")]
    with pytest.raises(OSError, match="full"):
        journal.may_advance()


async def test_notes_that_no_transaction_took_come_before_later_ones() -> None:
    journal = journal_of(Observer())
    journal.started((), as_task("t1", "one"))
    load = journal.take()
    journal.event("progress", {"text": "later"})
    journal.give_back(load)
    assert told(journal) == ["step.started", "progress"]
