"""Answers that are kept beyond a job, as nodes with `cache` find them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Kept:
    """An answer that is kept; it may be null."""

    answer: Any


class Answers(Protocol):
    """Keeps answers, for all jobs and beyond the process."""

    async def find(self, key: str) -> Kept | None:
        """The answer under `key`, unless its time is over."""

    async def keep(self, key: str, answer: Any, seconds: float) -> None:
        """Keep an answer (JSON) under `key` for so long."""
