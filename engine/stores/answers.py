"""Kept answers, in the job database: for all its workers, and for later jobs. Those of nodes
with `cache`, and those of models.

Not fenced: a key says what was asked of whom, so whoever writes, writes an answer to just that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..ledger.operation import One, Operation

if TYPE_CHECKING:
    from ..database.database import Database
    from ..loop.loop import LoopThread

PRUNE_EVERY = 60.0
"""Seconds between two looks for answers whose time is over."""

_FIND = "select answer from node_cache where key = :key and expires_at > {now}"

_KEEP = """
insert into node_cache (key, answer, expires_at) values (:key, :answer, {now} + :seconds)
on conflict (key) do update set answer = excluded.answer, expires_at = excluded.expires_at"""

_DROP = "delete from node_cache where key = :key"

_PRUNE = "delete from node_cache where expires_at <= {now}"


def find(key: str) -> Operation[str | None]:
    """The answer under `key` as JSON text, unless its time is over."""
    rows = yield One(_FIND, {"key": key})
    return rows[0]["answer"] if rows else None


def keep(key: str, answer: str, seconds: float) -> Operation[None]:
    """Keep an answer, in place of the one before."""
    yield One(_KEEP, {"key": key, "answer": answer, "seconds": seconds})


def drop(key: str) -> Operation[None]:
    """Keep the answer under `key` no longer."""
    yield One(_DROP, {"key": key})


def prune() -> Operation[None]:
    """Delete the answers whose time is over. Apart from `keep`, so that two workers never hold
    each other's rows."""
    yield One(_PRUNE, {})


class Answers:
    """See agents.models.answer_cache.KeptAnswers. Used on the engine's loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pruned = -PRUNE_EVERY

    async def find(self, key: str) -> str | None:
        return await self._database.read(lambda: find(key))

    async def keep(self, key: str, answer: str, seconds: float) -> None:
        await self._database.write(lambda: keep(key, answer, seconds))
        if time.monotonic() - self._pruned >= PRUNE_EVERY:
            self._pruned = time.monotonic()
            await self._database.write(lambda: prune())

    async def drop(self, key: str) -> None:
        await self._database.write(lambda: drop(key))


class ModelAnswers(Answers):
    """The same for models, which are asked on any loop."""

    def __init__(self, database: Database, loop: LoopThread) -> None:
        super().__init__(database)
        self._loop = loop

    async def find(self, key: str) -> str | None:
        return await self._loop.acall(super().find(key))

    async def keep(self, key: str, answer: str, seconds: float) -> None:
        await self._loop.acall(super().keep(key, answer, seconds))

    async def drop(self, key: str) -> None:
        await self._loop.acall(super().drop(key))
