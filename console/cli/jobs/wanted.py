"""The jobs that a command line names."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import typer

from ucop.engine.jobs.command import Command
from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.job import JobId
from ucop.engine.jobs.status import JobStatus

from ...view.exits import Exit, UsageProblem
from ...view.output import note
from ...view.place import Place, reader_for
from ...view.tables import plural

if TYPE_CHECKING:
    from ucop.engine.reading.reader import Reader

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The jobs that a command line names: by their ids, or by a filter."""

    ids: Sequence[str]
    filter: Filter

    def __post_init__(self) -> None:
        if self.ids and not self.filter.is_empty:
            raise UsageProblem("name jobs by their ids or by a filter, not by both")
        if not self.ids and self.filter.is_empty:
            raise UsageProblem("name jobs by their ids, or by a filter such as --workflow NAME")

    @classmethod
    def of(cls, ids: Sequence[str] | None, filter: Filter) -> Wanted:
        """Raises UsageProblem."""
        return cls(ids=ids or (), filter=filter)

    @property
    def only(self) -> str | None:
        """The id, where one alone is named."""
        return self.ids[0] if len(self.ids) == 1 else None


def ids_of(
    place: Place,
    command: str,
    wanted: Wanted,
    *,
    among: frozenset[JobStatus] = frozenset(JobStatus),
    yes: bool,
    delayed: bool = False,
) -> list[JobId]:
    """Whole ids of what is to be changed, after a person has agreed to what a filter names;
    `among` are the statuses that the command takes, beside what is `delayed`."""
    if wanted.ids:
        with reader_for(place, wanted.ids[0]) as reader:
            return list(dict.fromkeys(JobId(reader.find(id)) for id in wanted.ids))
    takes = among | {JobStatus.PENDING} if delayed else among
    named, failed = wanted.filter.statuses, {JobStatus.FAILED}
    if not named & takes:
        raise UsageProblem(
            f"`{command}` takes jobs that are {_words(takes)}, not {_words(named)}"
            + ("; `retry` takes those" if command is Command.RESUME and named == failed else "")
        )
    found = _matches(place, wanted.filter, among, delayed=delayed)
    if found and not yes:
        _confirm(command, Counter(status for _, status in found))
    return [id for id, _ in found]


def ask_of(place: Place, filter: Filter, ask: Callable[[Reader], list[T]]) -> list[T]:
    """What the ledger says about the jobs of a filter; without a database there are none. Raises
    InvalidInput for a queue that does not exist."""
    from ucop.engine.reading.reader import NoDatabase

    declared = place.settings.declared if filter.queue is not None else {}
    try:
        with place.reader() as reader:
            reader.check_queue(filter.queue, declared)
            return ask(reader)
    except NoDatabase:  # or a file without tables yet
        if filter.queue is not None and filter.queue not in declared:
            from ucop.engine.declared.queue_limits import undeclared

            raise undeclared(filter.queue, declared) from None
        return []


def _matches(
    place: Place, filter: Filter, among: frozenset[JobStatus], *, delayed: bool
) -> list[tuple[JobId, JobStatus]]:
    return ask_of(place, filter, lambda reader: reader.ids(filter, among, delayed=delayed))


def _words(statuses: frozenset[JobStatus]) -> str:
    *others, last = sorted(status.value for status in statuses)
    return f"{', '.join(others)} or {last}" if others else last


def _confirm(command: str, counts: Counter[JobStatus]) -> None:
    listed = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    question = f"{command} {plural(counts.total(), 'job')} ({listed})?"
    if not sys.stdin.isatty():
        raise UsageProblem(f"{question} Nobody can be asked here: say --yes")
    if not typer.confirm(question, err=True):
        note("nothing was changed")
        raise typer.Exit(Exit.FAILED)
