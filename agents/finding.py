"""Findings: what is wrong in a definition, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One mistake, or one thing to look at, in a definition.

    `code` is stable and made for programs; `message` and `hint` (what would be right) are for
    people. `position` is None where there is no text to point into.
    """

    severity: Severity
    message: str
    position: Position | None
    code: str
    hint: str | None = None
