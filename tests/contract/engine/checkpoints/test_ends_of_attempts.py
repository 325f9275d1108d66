"""A step is in the ledger as completed exactly when its writes are saved, however its attempt ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from tests.contract.engine.checkpoints.test_savers import put, running
from tests.support.journal import as_task
from ucop.engine.checkpoints.savers import FencedSaver
from ucop.engine.database.database import Database
from ucop.engine.reading.reader import open_reader

LONGEST = 60
"""Turns of the loop after which a commit is surely over, on any database."""


async def saved_tasks(saver: FencedSaver, config: Any) -> set[str]:
    held = await saver.aget_tuple(config)
    assert held is not None
    return {task for task, *_ in held.pending_writes or ()}


def statuses(url: str) -> dict[str, str]:
    with open_reader(url) as reader:
        return {step.task_id: step.status for step in reader.steps("a")}


def completed(url: str) -> set[str]:
    """The tasks whose end was told, once, in rows and events alike."""
    with open_reader(url) as reader:
        events = [event for event in reader.events("a") if event.type.startswith("step.")]
    ends = [(e.data["task_id"], e.type) for e in events if e.type != "step.started"]
    assert len(ends) == len({task for task, _ in ends}), "an end is told twice"
    tasks = {task for task, status in statuses(url).items() if status == "completed"}
    assert tasks == {task for task, type in ends if type == "step.completed"}
    return tasks


async def test_writes_that_are_cancelled_amid_their_commit_are_told_as_they_are(
    database: Database, url: str
) -> None:
    saver, journal = await running(database)
    config = await put(saver)
    for tasks in range(LONGEST):
        journal.started((), as_task(f"t{tasks}", f"node_{tasks}"))
    journal.started((), as_task("never ends", "another"))
    for turns in range(LONGEST):
        writing = asyncio.create_task(saver.aput_writes(config, [("log", "x")], f"t{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0 if turns % 2 else 0.0002)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await saver.stop("the attempt was stopped")
    saved = await saved_tasks(saver, config)
    assert saved
    assert completed(url) == saved


async def test_writes_that_wait_as_the_attempt_ends_are_told_as_completed(
    database: Database, url: str
) -> None:
    saver, journal = await running(database)
    config = await put(saver)
    for task in ("t1", "t2", "t3", "late", "never"):
        journal.started((), as_task(task, f"node_{task}"))
    async with journal.turn:  # another commit is under way
        waiting = [
            asyncio.create_task(saver.aput_writes(config, [("log", task)], task))
            for task in ("t1", "t2", "t3")
        ]
        await asyncio.sleep(0)
        ending = asyncio.create_task(saver.stop("the attempt was stopped"))
        await asyncio.sleep(0)
        late = asyncio.create_task(saver.aput_writes(config, [("log", "late")], "late"))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting, ending, late)
    assert await saved_tasks(saver, config) == {"t1", "t2", "t3"}
    assert completed(url) == {"t1", "t2", "t3"}
    assert {statuses(url)[task] for task in ("late", "never")} == {"failed"}


async def test_a_node_inside_one_that_ends_is_told_as_its_writes_are(
    database: Database, url: str
) -> None:
    saver, journal = await running(database)
    config = await put(saver)
    journal.started((), as_task("outer", "outer"))
    journal.started(["outer:outer"], as_task("inner", "inner"))
    journal.started(["outer:outer"], as_task("idle", "idle"))
    async with journal.turn:
        waiting = asyncio.create_task(saver.aput_writes(config, [("log", "x")], "inner"))
        await asyncio.sleep(0)
        journal.failed("outer", {"type": "ValueError", "message": "no", "node": "outer"})
    with suppress(asyncio.CancelledError):
        await waiting
    await saver.stop("node outer failed")
    assert await saved_tasks(saver, config) == {"inner"}
    assert completed(url) == {"inner"}
    assert statuses(url)["idle"] == "failed"
