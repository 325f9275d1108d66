"""What a job may use at most: the `limits` of a workflow, and the budget of one job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from ucop.agents.text.duration import seconds_of

LARGEST: Final = 2**53
"""From here on floats skip whole numbers."""

COUNTS: Final = ("steps", "model_calls", "tokens")
TIMES: Final = ("deadline", "seconds")
LIMITS: Final = ("deadline", *COUNTS, "seconds", "cost")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where a job stops, with times in seconds; None is no limit."""

    deadline: float | None = None
    """How long after its submission a job that has not ended is failed."""
    steps: int | None = None
    """Runs of nodes; a job that would make one more is failed."""
    model_calls: int | None = None
    """Calls of models; before one more, the job is paused."""
    tokens: int | None = None
    """Tokens in and out; once they are used, the job is paused."""
    seconds: float | None = None
    """For how long models may answer, all calls added up; then the job is paused."""
    cost: float | None = None
    """US dollars, as far as prices are known; then the job is paused."""

    def given(self) -> dict[str, float]:
        """Those that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def refused(name: str, value: Any) -> str | None:
    """What is wrong with a limit; None if nothing is."""
    if name in TIMES:
        if seconds_of(value) is None:
            return "must be a time such as 60s, 5m or 1h"
    elif name in COUNTS:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number"
        if not 1 <= value <= LARGEST:
            return "must be at least 1" if value < 1 else f"must be at most {LARGEST}"
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number of US dollars"
    elif not 0 < value <= LARGEST:
        return "must be more than 0" if value <= 0 else f"must be at most {LARGEST}"
    return None


def limits_of(given: Mapping[str, Any]) -> Limits:
    """The limits that `given` sets rightly; what is refused is left out."""
    kept = {
        name: given[name] for name in LIMITS if name in given and not refused(name, given[name])
    }
    for name in kept.keys() & set(TIMES):
        kept[name] = seconds_of(kept[name])
    if "cost" in kept:
        kept["cost"] = float(kept["cost"])
    return Limits(**kept)
