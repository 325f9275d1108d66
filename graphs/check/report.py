"""Findings being collected, each with its place in the file."""

from __future__ import annotations

from collections.abc import Iterable

from ucop.agents.finding import Finding, Position
from ucop.agents.text.places import Path, Places

from ..language.definition import Entry, Route


class Report:
    """What is wrong with one definition, in the order in which it was found."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.findings: list[Finding] = []

    def error(
        self, code: str, message: str, position: Position | None, hint: str | None = None
    ) -> None:
        """Add a mistake; `hint` tells what would be right."""
        self.findings.append(Finding.error(code, message, position, hint))

    def warn(
        self, code: str, message: str, position: Position | None, hint: str | None = None
    ) -> None:
        """Add what is legal but suspicious."""
        self.findings.append(Finding.warning(code, message, position, hint))

    @property
    def sound(self) -> bool:
        """Whether there are no errors so far."""
        return all(finding.severity == "warning" for finding in self.findings)

    # ---- places ----

    def at(self, path: Path) -> Position | None:
        """The place of the value at `path`."""
        return self.places.at(path)

    def key(self, path: Path) -> Position | None:
        """The place of the key that leads to `path`."""
        return self.places.at(path, key=True)

    def inside(self, path: Path, offset: int, needle: str) -> Position | None:
        """The place of `needle`, which stands at `offset` of the text at `path`."""
        return self.places.inside(path, offset, needle)

    def has(self, path: Path) -> bool:
        """Whether anything stands at `path`."""
        return self.places.has(path)

    def source_of(self, route: Route) -> Position | None:
        """The place of the name that an edge leads out of."""
        if route.offset >= 0:
            return self.inside(route.path, route.offset, route.source)
        return self.at((*route.path, "from"))

    def target_of(self, entry: Entry) -> Position | None:
        """The place of the name that an edge leads to."""
        if entry.offset >= 0:
            return self.inside(entry.path, entry.offset, entry.target)
        named = (*entry.path, "node")
        return self.at(named if self.has(named) else entry.path)


def one_of(names: Iterable[str]) -> str | None:
    """A hint that tells every right name, if they are few."""
    listed = list(names)
    return f"there is {', '.join(listed)}" if 0 < len(listed) <= 12 else None


def either(names: list[str]) -> str:
    """Names in a sentence."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
