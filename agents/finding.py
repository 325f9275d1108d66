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
    people. `position` is None if there is no text to point into.
    """

    severity: Severity
    message: str
    position: Position | None
    code: str
    hint: str | None = None

    @classmethod
    def error(
        cls, code: str, message: str, position: Position | None = None, hint: str | None = None
    ) -> Finding:
        """A mistake, because of which the definition is refused."""
        return cls(severity="error", code=code, message=message, position=position, hint=hint)

    @classmethod
    def warning(
        cls, code: str, message: str, position: Position | None = None, hint: str | None = None
    ) -> Finding:
        """Something that is allowed and suspicious."""
        return cls(severity="warning", code=code, message=message, position=position, hint=hint)
