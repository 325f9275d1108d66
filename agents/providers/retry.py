"""When a failed model call is tried again, and after how long."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import TypeVar

from ..errors import ModelError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Bounded tries with exponential back-off; what the endpoint asks for goes first."""

    tries: int = 4
    """Tries in all, the first included."""
    backoff: float = 0.5
    """Seconds before the second try; doubled before each further one."""
    longest: float = 30.0
    """No back-off of our own is longer than this, in seconds."""
    draw: Callable[[], float] = random.random
    """Jitter in [0, 1); spreads tries of many jobs."""

    def with_retries(self, retries: int | None) -> Retry:
        """The same with so many tries after the first."""
        return self if retries is None else replace(self, tries=retries + 1)

    def pause(self, error: ModelError, tries: int) -> float | None:
        """Seconds to wait after `tries` failed tries, None to give up."""
        if not error.transient or tries >= self.tries:
            return None
        if error.retry_after is not None:
            return error.retry_after
        return min(self.longest, self.backoff * 2.0 ** (tries - 1)) * (0.5 + self.draw() / 2)

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Await attempts until one succeeds. Raises the last one's ModelError."""
        for tries in count(1):
            try:
                return await attempt()
            except ModelError as error:
                pause = self.pause(error, tries)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("counting has no end")


def parse_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Seconds of a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3)."""
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:  # it names no zone, or -0000
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
