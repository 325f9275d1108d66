"""Places of values and texts in the file that a definition came from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from ..finding import Position
from .source import DataPath, Document

Path = DataPath
"""Where something stands in the file: keys and list indexes from the top."""


@dataclass(frozen=True)
class Places:
    """Finds parts of the file; knows no place where the definition came from a job."""

    document: Document | None = None

    @cached_property
    def _lines(self) -> list[str]:
        return self.document.text.splitlines() if self.document else []

    def at(self, path: Path, *, key: bool = False) -> Position | None:
        """The place of the value at `path`, or of its key."""
        return self.document.at(path, key=key) if self.document else None

    def has(self, path: Path) -> bool:
        """Whether anything stands at `path`."""
        return self.document is not None and path in self.document.places

    def inside(self, path: Path, offset: int, needle: str) -> Position | None:
        """The place of `needle`, which stands at `offset` of the text at `path`."""
        position = self.at(path)
        if position is None or self.document is None or offset < 0 or not self.has(path):
            return position
        value = self.document.value(path)
        if not isinstance(value, str):
            return position
        line, start = self._lines[position.line - 1], position.column - 1
        for quote in (0, 1):
            if line.startswith(value, start + quote):
                return Position(position.file, position.line, position.column + quote + offset)
        nth = len(re.findall(re.escape(needle), value[:offset]))
        return self.document.locate(path, needle, nth)
