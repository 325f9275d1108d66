"""How long jobs are kept, as the project's file declares it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

from ucop.agents.text.duration import seconds_of

from ..record import Record


def _seconds(value: Any) -> float:
    seconds = seconds_of(value)
    if seconds is None:
        raise ValueError("must be a time such as 12h or 30d")
    return seconds


Age = Annotated[float, BeforeValidator(_seconds)]
"""Seconds, or a text such as `12h` or `30d`."""


class Retention(Record):
    """How long jobs are kept after they have ended; what is not said is kept for ever."""

    completed: Age | None = None
    """Completed jobs, before they are deleted."""
    failed: Age | None = None
    """Failed ones. A person can no longer retry one that is deleted."""
    cancelled: Age | None = None
    archive: Age | None = None
    """Any, before they leave the lists."""
    checkpoints: Age | None = None
    """Any, before their saved states are deleted but for the last."""

    @property
    def is_none(self) -> bool:
        return self == Retention()
