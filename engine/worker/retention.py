"""What the settings say of how long jobs are kept, carried out by a worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from ..dialect import dialect_of
from ..errors import JobNotFound, RefusedChange
from ..ledger.retention import Rule, apply, due

if TYPE_CHECKING:
    from ..database.database import Database
    from ..declared.retention import Retention

log = logging.getLogger("ucop.retention")


async def carry_out(database: Database, retention: Retention, limit: int) -> Counter[Rule]:
    """What the settings say, for up to `limit` jobs of each rule; each job is a transaction, and
    the loop does other work between two. Returns how many jobs each rule meant.

    Other workers do the same; who comes second finds nothing to do.
    """
    done: Counter[Rule] = Counter()
    tables = dialect_of(database.url).tables
    for each in await database.read(lambda: due(retention, limit)):
        for job in each.jobs:
            with contextlib.suppress(JobNotFound, RefusedChange):
                await database.write(partial(apply, tables, each.rule, job))
                done[each.rule] += 1
            await asyncio.sleep(0)
    if done:
        told = ", ".join(f"{rule} {number}" for rule, number in done.items())
        log.info("retention: %s", told)
    return done
