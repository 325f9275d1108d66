"""What a person does to jobs, to one or to many at once.

Light: the command line asks here which jobs an action takes before it opens an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .errors import InvalidInput
from .jobs.filter import Filter
from .jobs.job import JobId
from .jobs.status import SETTLED, Change, JobStatus, sources
from .record import Record

if TYPE_CHECKING:
    from .reading.reader import Reader

TOGETHER = 50
"""Changes that are under way at the same time; on SQLite they share transactions."""


class Action(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    ARCHIVE = "archive"
    UNARCHIVE = "unarchive"
    DELETE = "delete"


def action_of(name: str) -> Action:
    """Raises InvalidInput where there is no such action."""
    try:
        return Action(name)
    except ValueError:
        raise InvalidInput(f"no action {name!r}; there is {', '.join(Action)}") from None


TAKES: Final = MappingProxyType(
    {
        Action.PAUSE: sources(Change.PAUSE),
        Action.CANCEL: sources(Change.CANCEL),
        # Those that wait go on by an answer, which nobody gives to many jobs at once.
        Action.RESUME: frozenset({JobStatus.PAUSED}),
        Action.RETRY: sources(Change.RETRY),
        Action.ARCHIVE: SETTLED,
        Action.UNARCHIVE: SETTLED,
        Action.DELETE: SETTLED,
    }
)
"""The statuses of the jobs that an action means where a filter names them."""


class Changed(Record):
    """What became of one job of many."""

    id: str
    status: JobStatus | None
    """Where it stands now; None where there is no such job, or no more."""
    refused: str | None = None
    """Why it was not changed, where it was not."""


def taking(
    action: Action,
    jobs: Filter | Iterable[str],
    reader: Callable[[], Reader],
    declared: Collection[str],
    *,
    now: bool = False,
) -> list[JobId]:
    """The jobs that an action means, in the order of their creation, or as they are named.
    With `now`, `resume` means those too that are delayed. Raises InvalidInput for what names
    none."""
    if isinstance(jobs, Filter):
        reader().check_queue(jobs.queue, declared)
        delayed = now and action is Action.RESUME
        return [id for id, _ in reader().ids(jobs, TAKES[action], delayed=delayed)]
    if isinstance(jobs, str):  # whose letters would pass for ids
        raise InvalidInput(f"jobs: a list of ids or a Filter, not the text {jobs!r}")
    return [JobId(id) for id in dict.fromkeys(jobs)]


def batched(ids: Sequence[JobId], size: int) -> Iterator[Sequence[JobId]]:
    for first in range(0, len(ids), size):
        yield ids[first : first + size]
