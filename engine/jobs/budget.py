"""The budget of a job: what it may use over all its attempts, asked before anything is used.

Pure: what was spent, and the time, are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ucop.graphs.limits import LIMITS, limits_of, refused

from ..errors import DeadlinePassed, InvalidInput, StepsUsedUp

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage


def read_budget(given: Mapping[str, Any]) -> dict[str, float]:
    """A budget as it is kept: limits by name, `deadline` in seconds. Raises InvalidInput naming
    everything that is wrong."""
    wrong = [f"budget: {problem}" for name in given if (problem := _problem(name, given[name]))]
    if wrong:
        raise InvalidInput("; ".join(wrong))
    return limits_of(given).given()


def _problem(name: str, value: Any) -> str | None:
    if name not in LIMITS:
        return f"there is no limit {name!r}; there is {', '.join(LIMITS)}"
    wrong = refused(name, value)
    return f"{name!r} {wrong}, not {value!r}" if wrong else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What the earlier attempts of a job used."""

    steps: int = 0
    """Node runs that ended well: those that broke off are run again, and counted then."""
    model_calls: int = 0
    tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The limits of one job, seen by one attempt."""

    job_id: str
    limits: Mapping[str, float]
    """By name, as `graphs/limits.py` has them."""
    since: float
    """When the job was submitted, on this process's monotonic clock."""
    before: Spent = Spent()

    @property
    def asks(self) -> bool:
        """Whether a model call may be refused."""
        return not self.limits.keys().isdisjoint(("model_calls", "tokens", "seconds", "cost"))

    def refusal(self, now: Usage) -> str | None:
        """Why no further model call may begin, where this attempt has used `now`; else None."""
        used = {
            "model_calls": self.before.model_calls + now.model_calls,
            "tokens": self.before.tokens + now.tokens_in + now.tokens_out,
            "seconds": self.before.seconds + now.seconds,
            "cost": self.before.cost + (now.cost or 0.0),
        }
        for name, spent in used.items():
            most = self.limits.get(name)
            if most is not None and spent >= most:
                return (
                    f"budget reached: {_amount(name, spent)} of {_amount(name, most)}; "
                    f"raise it with `ucop jobs resume {self.job_id} --budget {name}=…`"
                )
        return None

    def begin_step(self, number: int, node: str) -> None:
        """A node is about to run, the attempt's `number`th. Raises StepsUsedUp."""
        most = self.limits.get("steps")
        if most is not None and self.before.steps + number > most:
            raise StepsUsedUp(
                f"limit reached: {most:g} steps, and node {node} would be one more; "
                f"raise it with `ucop jobs resume {self.job_id} --budget steps=…`"
            )

    def seconds_left(self, now: float) -> float | None:
        """Until the deadline; None where there is none. Raises DeadlinePassed."""
        deadline = self.limits.get("deadline")
        if deadline is None:
            return None
        left = self.since + deadline - now
        if left <= 0:
            raise self.late()
        return left

    def late(self) -> DeadlinePassed:
        return DeadlinePassed(
            f"the job did not end within {self.limits['deadline']:g} s of its submission; "
            f"`ucop jobs resume {self.job_id} --budget deadline=…` with more goes on"
        )


def _amount(name: str, value: float) -> str:
    if name == "cost":
        return f"${value:.4f}"
    if name == "seconds":
        return f"{value:,.1f} seconds of models"
    return f"{value:,.0f} {name.replace('_', ' ')}"
