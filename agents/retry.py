"""When a failed model call is tried again, and after how long."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ucop.agents.errors import ModelError


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

    def pause(self, error: ModelError, tries: int) -> float | None:
        """Seconds to wait after `tries` failed tries, None to give up."""
        if not error.transient or tries >= self.tries:
            return None
        if error.retry_after is not None:
            return error.retry_after
        return min(self.longest, self.backoff * 2.0 ** (tries - 1)) * (0.5 + self.draw() / 2)
