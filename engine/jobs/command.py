"""The commands that people give to jobs, and which jobs each of them takes."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ..errors import InvalidInput
from ..record import Record
from .status import SETTLED, Change, JobStatus, sources


class Command(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    DELETE = "delete"


def read_command(name: str) -> Command:
    """The command of this name. Raises InvalidInput if there is none."""
    try:
        return Command(name)
    except ValueError:
        raise InvalidInput(f"no command {name!r}; there is {', '.join(Command)}") from None


TAKES: Final = MappingProxyType(
    {
        Command.PAUSE: sources(Change.PAUSE),
        Command.CANCEL: sources(Change.CANCEL),
        # Those that wait go on by an answer, which nobody gives to many jobs at once.
        Command.RESUME: frozenset({JobStatus.PAUSED}),
        Command.RETRY: sources(Change.RETRY),
        Command.ARCHIVE: SETTLED,
        Command.UNARCHIVE: SETTLED,
        Command.DELETE: SETTLED,
    }
)
"""The statuses of the jobs that a command takes if a filter names them."""


class Changed(Record):
    """What became of one job of many."""

    id: str
    status: JobStatus | None
    """Its status now; None if there is no such job, or no more."""
    refused: str | None = None
    """Why it was not changed, if it was not."""
