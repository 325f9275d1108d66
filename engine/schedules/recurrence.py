"""When a schedule is due: cron rules in a time zone, and intervals. Pure; clocks are passed in.

The arithmetic of cron is cronsim's. Times are seconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from itertools import islice
from math import ceil, floor
from typing import Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ..errors import InvalidInput

LATE = 60.0
"""Seconds after which a time that nobody saw to counts as missed."""

_EVERY = re.compile(r"every\s+(\d+(?:\.\d+)?)\s*(s|m|h|d)", re.IGNORECASE)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WORDS = {"s": "second", "m": "minute", "h": "hour", "d": "day"}

SHORTEST, LONGEST = 1.0, 366 * 86_400.0
"""Seconds that an interval may have."""


class CatchUp(StrEnum):
    """What becomes of times that nobody saw to, because no worker was there."""

    NONE = "none"
    """They are skipped; one that is less than LATE seconds old is still run."""
    LATEST = "latest"
    """Only the newest of them is run."""
    ALL = "all"
    """Each is run, the oldest first; the newest so many, where there are more than a limit."""


class Recurrence(Protocol):
    """A rule that says when."""

    def after(self, time: float) -> float | None:
        """The first time later than `time`; None where none comes."""

    def until(self, time: float) -> Iterator[float]:
        """The times up to `time`, from the newest to the oldest, without end."""

    def explain(self) -> str:
        """The rule in words."""


@dataclass(frozen=True)
class Every:
    """An interval: whole multiples of `seconds` from `anchor`, so that nothing drifts."""

    seconds: float
    anchor: float
    words: str

    def after(self, time: float) -> float | None:
        turn = max(0, floor((time - self.anchor) / self.seconds) + 1)
        found = self.anchor + turn * self.seconds
        # Division may round to the wrong side of a whole number.
        return found if found > time else self.anchor + (turn + 1) * self.seconds

    def until(self, time: float) -> Iterator[float]:
        turn = ceil((time - self.anchor) / self.seconds)
        while turn >= 0:
            if (found := self.anchor + turn * self.seconds) <= time:
                yield found
            turn -= 1

    def explain(self) -> str:
        return f"Every {self.words}, counted from {_utc(self.anchor)}"


@dataclass(frozen=True)
class Ending:
    """Another rule, as far as a last moment."""

    rule: Recurrence
    last: float

    def after(self, time: float) -> float | None:
        found = self.rule.after(time)
        return found if found is not None and found <= self.last else None

    def until(self, time: float) -> Iterator[float]:
        return self.rule.until(min(time, self.last))

    def explain(self) -> str:
        return f"{self.rule.explain()}, until {_utc(self.last)}"


@dataclass(frozen=True)
class Cron:
    """A cron rule of five fields, or of six with seconds first, in a time zone."""

    rule: str
    zone: tzinfo
    zone_name: str

    def after(self, time: float) -> float | None:
        # Where clocks are set back, cronsim may name a time of the first pass again.
        return next((found for found in self._walk(time) if found > time), None)

    def until(self, time: float) -> Iterator[float]:
        # cronsim walks from the second that it is given, and does not name it.
        back = self._walk(floor(time) + 1, back=True)
        first = next((found for found in back if found <= time), None)
        if first is None:
            return
        # In an hour that clocks repeat, the way back can miss a time of the first pass.
        newer = [first]
        while (found := self.after(newer[-1])) is not None and found <= time:
            newer.append(found)
        yield from reversed(newer)
        yield from back

    def explain(self) -> str:
        return f"{CronSim(self.rule, datetime.now(UTC)).explain()}, {self.zone_name}"

    def _walk(self, time: float, *, back: bool = False) -> Iterator[float]:
        start = datetime.fromtimestamp(floor(time), self.zone)
        return (at.timestamp() for at in CronSim(self.rule, start, reverse=back))


def recurrence(rule: str, timezone: str, anchor: float, ends_at: float | None = None) -> Recurrence:
    """What a rule means: `every 15m` from `anchor` on, or cron in a time zone; up to `ends_at`.

    Raises InvalidInput for a rule or a zone that is none, and for one that never comes.
    """
    found = _endless(rule, timezone, anchor)
    return found if ends_at is None else Ending(found, ends_at)


def _endless(rule: str, timezone: str, anchor: float) -> Recurrence:
    zone = _zone(timezone)
    if rule.strip().lower().startswith("every"):
        return _every(rule.strip(), anchor)
    try:
        found = Cron(" ".join(rule.split()), zone, timezone)
        comes = found.after(anchor)
    except CronSimError as error:
        raise InvalidInput(
            f"the rule {rule!r} is no cron rule ({error}): give five fields, minute, hour, day of "
            "the month, month and day of the week, such as '30 6 * * MON-FRI', or an interval "
            "such as 'every 15m'"
        ) from None
    if comes is None:
        raise InvalidInput(f"the rule {rule!r} never comes: no day of the next 50 years fits it")
    return found


def _every(rule: str, anchor: float) -> Every:
    found = _EVERY.fullmatch(rule)
    seconds = float(found[1]) * _UNITS[found[2].lower()] if found else 0.0
    if found is None or not SHORTEST <= seconds <= LONGEST:
        raise InvalidInput(
            f"the rule {rule!r} is no interval: give one such as 'every 30s', 'every 15m', "
            "'every 2h' or 'every 1d', from a second to a year"
        )
    word = _WORDS[found[2].lower()]
    return Every(seconds, anchor, word if float(found[1]) == 1 else f"{found[1]} {word}s")


def _utc(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # also where the machine has no time zones
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # a folder of zones, a path, no such zone
        raise InvalidInput(
            f"there is no time zone {name!r}; give an IANA name such as Europe/Berlin. Where a "
            "machine lacks them all, install its package tzdata, or Python's"
        ) from None


@dataclass(frozen=True)
class Turn:
    """What is to be done about a schedule whose time has come."""

    due: float | None
    """The time to run for now; None: none of those that came."""
    next: float | None
    """The schedule's next time, which may have come too; None where no more come."""
    skipped: bool
    """Whether times were passed over."""


def turn(recurrence: Recurrence, at: float, now: float, catch_up: CatchUp, limit: int) -> Turn:
    """What to do at `now` about a schedule that has been due since `at`.

    Times move on strictly, so none is run twice; of those that have come, `catch_up` says which
    are run, and `limit` how many with CatchUp.ALL.
    """
    if catch_up is CatchUp.ALL:
        newest = list(islice(_since(recurrence, at, now), limit))
        due = newest[-1]
        return Turn(due, recurrence.after(due), skipped=due > at)
    due = next(_since(recurrence, at, now))
    following = recurrence.after(now)
    if catch_up is CatchUp.NONE and now - due > LATE:
        return Turn(None, following, skipped=True)
    return Turn(due, following, skipped=due > at)


def _since(recurrence: Recurrence, at: float, now: float) -> Iterator[float]:
    """The times from `at` to `now`, the newest first; `at` is one of them in any case."""
    for found in recurrence.until(now):
        if found <= at:
            break
        yield found
    yield at
