"""How often a provider may be asked: a window of one minute that slides.

Whoever wants to ask reserves its turn, and learns at once how long to wait for it: nobody asks
twice, and turns come in the order in which they were reserved. The engine keeps the
reservations in the job database, so that the rate holds over all its processes; where there is
none, they are kept in this process.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

MINUTE = 60.0
"""The window, in seconds."""


@dataclass(frozen=True, kw_only=True)
class Rate:
    """What may begin within any minute; None is no limit."""

    requests: int | None
    tokens: int | None


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """A turn. `wait` is in seconds, from when it was reserved."""

    id: str
    provider: str
    wait: float


class Rates(Protocol):
    """Hands out turns."""

    async def reserve(self, provider: str, rate: Rate, tokens: int) -> Reservation:
        """The next turn for a request of about so many tokens, in and out."""

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """The request had so many tokens."""

    async def release(self, reservation: Reservation) -> None:
        """The request is not made."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A request in the window: when it begins, and its tokens."""

    id: str
    at: float
    tokens: int


def next_turn(begun: Sequence[Begun], rate: Rate, tokens: int, now: float) -> float:
    """When a request may begin, after those in `begun` (the earliest first).

    Not before any of them, so that none of the later ones breaks a promise made to it. A
    request larger than a minute's tokens has the window for itself.
    """
    turn = max(now, begun[-1].at) if begun else now
    if rate.requests is not None and len(begun) >= rate.requests:
        turn = max(turn, begun[-rate.requests].at + MINUTE)
    if rate.tokens is not None:
        room = rate.tokens - min(tokens, rate.tokens)
        total = 0
        for one in reversed(begun):
            total += one.tokens
            if total > room:
                turn = max(turn, one.at + MINUTE)
                break
    return turn


class ProcessRates:
    """See Rates. Keeps the turns of this process alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[str, list[Begun]] = {}

    async def reserve(self, provider: str, rate: Rate, tokens: int) -> Reservation:
        now = self._clock()
        begun = [one for one in self._begun.get(provider, ()) if one.at > now - MINUTE]
        turn = next_turn(begun, rate, tokens, now)
        id = secrets.token_hex(8)
        self._begun[provider] = [*begun, Begun(id, turn, tokens)]
        return Reservation(id=id, provider=provider, wait=turn - now)

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        self._begun[reservation.provider] = [
            Begun(one.id, one.at, tokens) if one.id == reservation.id else one
            for one in self._begun[reservation.provider]
        ]

    async def release(self, reservation: Reservation) -> None:
        begun = self._begun[reservation.provider]
        self._begun[reservation.provider] = [one for one in begun if one.id != reservation.id]
