"""A fan-out does not run ahead of what is saved of it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

from tests.support.waiting import DEADLINE, until
from ucop.agents import agent
from ucop.agents.spec.registry import Registry, load_registry
from ucop.engine import Engine
from ucop.engine.journal.outbox import MOST_UNSAVED

ITEMS = 300
LIMIT = 5

FLOW = f"""\
name: fan
input:
  items: {{type: array}}
nodes:
  call: {{agent: quick, each: "${{items}}", as: item, limit: {LIMIT},
         with: {{item: "${{item}}"}}, writes: answers}}
edges: [START -> call -> END]
output: {{answers: "${{answers}}"}}
"""

began: list[int] = []


@agent
async def quick(item: int) -> int:
    """Ends at once."""
    began.append(item)
    await asyncio.sleep(0)
    return item * 2


def test_no_more_items_begin_while_many_that_ended_cannot_be_saved(tmp_path: Path) -> None:
    began.clear()
    file, database = tmp_path / "fan.yaml", tmp_path / "ucop.db"
    file.write_text(FLOW)
    registry = load_registry(None).extended(Registry.of(quick))
    with Engine(f"sqlite:///{database}", root=tmp_path, registry=registry) as engine:
        job = engine.submit(file, {"items": list(range(ITEMS))})
        until(lambda: len(began) >= MOST_UNSAVED, longest=0.001)
        other = sqlite3.connect(database, isolation_level=None, timeout=DEADLINE)
        other.execute("begin immediate")  # nothing can be saved from here on
        at, until_when = len(began), time.monotonic() + 1.0
        while time.monotonic() < until_when and len(began) < ITEMS:
            time.sleep(0.02)
        ahead = len(began) - at
        other.execute("rollback")
        other.close()

        assert job.result(DEADLINE) == {"answers": [item * 2 for item in range(ITEMS)]}
    # What waits, a transaction's worth before it, and what begins in the same turn of the loop.
    assert ahead <= 2 * MOST_UNSAVED + 2 * LIMIT
    assert began == list(range(ITEMS)), "each once, in the order of the items"
