"""The circuit breaker of an agent: whether it is asked after it failed. Pure; the clock is given.

closed     it is asked
open       it failed too often in a row: it is not asked until a pause is over
half-open  the pause is over: one call may try it. If that goes well it is closed, else open again

Nothing but facts is kept (failures in a row, when the last one was, when a trial began), so that
all workers read the same state from them, and a trial whose worker died blocks nobody for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """Whether an agent is asked."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass(frozen=True, kw_only=True)
class BreakerRules:
    """When a breaker opens, and for how long."""

    failures: int = 3
    """So many in a row open it."""
    pause: float = 30.0
    """Seconds for which it stays open, and for which a trial may take."""


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """What is known of an agent's calls. Times are seconds since the epoch."""

    failures: int = 0
    """In a row, up to now."""
    failed_at: float = 0.0
    """When the last of them was."""
    trial_at: float = 0.0
    """When the last trial began."""


def state_of(breaker: Breaker, rules: BreakerRules, now: float) -> BreakerState:
    """Whether an agent may be asked at `now`."""
    if breaker.failures < rules.failures:
        return BreakerState.CLOSED
    return BreakerState.OPEN if now < opens_at(breaker, rules) else BreakerState.HALF_OPEN


def opens_at(breaker: Breaker, rules: BreakerRules) -> float:
    """From when on an agent that failed too often may be tried."""
    return max(breaker.failed_at, breaker.trial_at) + rules.pause
