"""Turns of requests to models, in the job database: rates hold over all its processes.

The rule is that of agents/providers/rates.py. Reservations are not fenced: they say when somebody may ask,
and nothing about a job.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from ucop.agents.providers import rates
from ucop.agents.providers.rates import Begun, Rate, Reservation, next_turn

from ..ledger.operation import One, Operation

if TYPE_CHECKING:
    from ..database.database import Database
    from ..loop.loop import LoopThread

# The row of the provider is the lock: who reserves holds it until the commit.
_LOCK = """
insert into model_rates (provider, at) values (:provider, {now})
on conflict (provider) do update set at = {now} returning at"""

_PRUNE = "delete from model_turns where provider = :provider and at <= :before"

_BEGUN = "select id, at, tokens from model_turns where provider = :provider order by at, id"

_RESERVE = """
insert into model_turns (id, provider, at, tokens) values (:id, :provider, :at, :tokens)"""

_SETTLE = "update model_turns set tokens = :tokens where id = :id"

_RELEASE = "delete from model_turns where id = :id"


def reserve(id: str, provider: str, rate: Rate, tokens: int) -> Operation[Reservation]:
    """The next turn of a provider; `now` is the caller's clock, used where the database has
    none of its own."""
    rows = yield One(_LOCK, {"provider": provider})
    at = rows[0]["at"]
    yield One(_PRUNE, {"provider": provider, "before": at - rates.MINUTE})
    rows = yield One(_BEGUN, {"provider": provider})
    begun = [Begun(row["id"], row["at"], row["tokens"]) for row in rows]
    turn = next_turn(begun, rate, tokens, at)
    yield One(_RESERVE, {"id": id, "provider": provider, "at": turn, "tokens": tokens})
    return Reservation(id=id, provider=provider, wait=turn - at)


def settle(id: str, tokens: int) -> Operation[None]:
    yield One(_SETTLE, {"id": id, "tokens": tokens})


def release(id: str) -> Operation[None]:
    yield One(_RELEASE, {"id": id})


class DatabaseRates:
    """See agents.rates.Rates. May be used from any loop."""

    def __init__(self, database: Database, loop: LoopThread) -> None:
        self._database, self._loop = database, loop

    async def reserve(self, provider: str, rate: Rate, tokens: int) -> Reservation:
        id = secrets.token_hex(8)

        def make() -> Operation[Reservation]:
            return reserve(id, provider, rate, tokens)

        return await self._loop.acall(self._database.write(make))

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        await self._loop.acall(self._database.write(lambda: settle(reservation.id, tokens)))

    async def release(self, reservation: Reservation) -> None:
        await self._loop.acall(self._database.write(lambda: release(reservation.id)))
