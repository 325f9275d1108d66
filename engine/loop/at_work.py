"""Which node code belongs to, for whoever looks at a loop from outside."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class AtWork:
    """What runs in a task."""

    job: str
    node: str


at_work: ContextVar[AtWork | None] = ContextVar("at_work", default=None)
"""The node that this code belongs to."""
