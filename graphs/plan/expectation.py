"""What a run would take, by what past jobs took."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .planned import Expected, Past, Range


def expected_of(past: Past) -> Expected | None:
    """The middle and the upper end of what past jobs used; None without any."""
    if not past.jobs:
        return None
    costs = [job.cost for job in past.jobs if job.cost is not None]
    return Expected(
        jobs=len(past.jobs),
        same_definition=past.same_definition,
        model_calls=range_of([job.model_calls for job in past.jobs]),
        tokens_in=range_of([job.tokens_in for job in past.jobs]),
        tokens_out=range_of([job.tokens_out for job in past.jobs]),
        # One unknown price makes the range unknown: it would only be too low.
        cost=range_of(costs) if len(costs) == len(past.jobs) else None,
    )


def range_of(numbers: Sequence[float]) -> Range:
    """p50 and p95 by nearest rank: numbers that really were."""
    ordered = sorted(numbers)

    def rank(share: float) -> float:
        return ordered[math.ceil(share * len(ordered)) - 1]

    return Range(p50=rank(0.50), p95=rank(0.95))
