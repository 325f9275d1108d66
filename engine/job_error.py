"""Why jobs and steps failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from .record import Record


class Frame(Record):
    """A place in the user's own code that an error came through."""

    file: str
    line: int
    function: str


class FailedItem(Record):
    """The item of an `each` that failed."""

    key: int | str
    """Its index in the list, or its key in the map."""
    value: Any = None
    """The item, cut where it is long."""


class Cause(Record):
    """An error that another one came from."""

    type: str
    message: str
    how: Literal["cause", "context", "group"]
    """`cause`: the other was raised from it. `context`: the other was raised while it was handled.
    `group`: the other is an exception group that holds it."""
    frames: tuple[Frame, ...] = ()


_HOW = {"cause": "raised from", "context": "raised while handling", "group": "one of the group:"}


def _places(frames: Sequence[Frame]) -> list[str]:
    return [f"at {frame.file}:{frame.line} in {frame.function}" for frame in frames]


class JobError(Record):
    """Why a job or a step failed."""

    type: str
    """Name of the exception's class."""
    message: str
    """Its text, cut where it is long."""
    node: str | None = None
    """The node that raised, where one did."""
    channel: str | None = None
    """Of a value that cannot be stored: the channel that it was written to."""
    kind: str | None = None
    """Of a value that cannot be stored: its type."""
    item: FailedItem | None = None
    frames: tuple[Frame, ...] = ()
    """Where in the user's own code it was raised, the outermost first; the middle of many is left
    out. Empty for an error that no code of the user's raised."""
    causes: tuple[Cause, ...] = ()
    """What it came from, the nearest first; at most 10."""

    def details(self) -> list[str]:
        """What is known beside type and message, line by line, as a person reads it."""
        found = [f"item {self.item.key} of its each: {self.item.value!r}"] if self.item else []
        found += _places(self.frames)
        for cause in self.causes:
            found.append(f"{_HOW[cause.how]} {cause.type}: {cause.message}")
            found += [f"  {place}" for place in _places(cause.frames)]
        return found


class StepError(JobError):
    """Why a step failed."""

    caught: bool = False
    """Whether the job went on, as the node's `on_error` says."""
