"""Following a job to its rest, and telling how it came there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from ucop.engine.jobs.status import ACTIVE, JobStatus

from ..exits import Exit, exit_of_job
from ..output import as_text, note, put, put_json
from ..tables import duration, plural
from .questions import how_to_go_on

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Event, Job
    from ucop.engine.reading.reader import Reader

    from ..place import Place

LOOK = 0.1
"""Seconds between two looks at a job that another process runs."""


def tail(
    reader: Reader,
    id: str,
    *,
    after: int = 0,
    follow: bool = True,
    pause: Callable[[], None] = lambda: time.sleep(LOOK),
) -> Iterator[Event]:
    """A job's events above `after`; with `follow` also those to come, until the job rests."""
    while True:
        # First the status, then the events: those of its end are then among them.
        status, _ = reader.status(id)
        while events := reader.events(id, after=after):
            yield from events
            after = events[-1].seq
        if not follow or status not in ACTIVE:
            return
        pause()


class Interrupts:
    """Ctrl-C and SIGTERM: the first raises KeyboardInterrupt, the second ends the process.

    Either way nothing is lost: a job whose process is gone goes on from its last checkpoint.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.first is not None:
            os.write(2, b"\nstopped at once\n")
            os._exit(Exit.INTERRUPTED)
        self.first = number
        raise KeyboardInterrupt


def report(place: Place, job: Job, *, as_json: bool, shown: bool = False) -> Exit:
    """Tell how a job that rests came out: its output to stdout, unless it is `shown` already, the
    rest to stderr."""
    try:
        if shown:
            pass
        elif as_json:
            put_json(job.model_dump(mode="json"))
        elif job.status is JobStatus.COMPLETED and job.output is not None:
            put(as_text(job.output))
    finally:
        _tell(place, job)
    return exit_of_job(job.status)


def _tell(place: Place, job: Job) -> None:
    note(_summary(job))
    if spent := _usage_text(job):
        note(spent)
    if job.status is JobStatus.WAITING:
        for line in how_to_go_on(place, job):
            note(f"  {line}")
    for line in next_steps(place, job):
        note(f"  {line}")


def next_steps(place: Place, job: Job) -> list[str]:
    """The commands that make sense now."""
    id = job.id
    steps = [place.command(f"jobs show {id}"), place.command(f"jobs events {id}")]
    if job.status in ACTIVE:
        steps = [place.command(f"jobs watch {id}"), *steps]
    if job.status in (JobStatus.FAILED, JobStatus.PAUSED):
        steps = [place.command(f"jobs resume {id}"), *steps]
    return steps


def _summary(job: Job) -> str:
    text = f"job {job.id} {_status_text(job.status)}"
    if job.started_at and job.finished_at:
        text += f" after {duration((job.finished_at - job.started_at).total_seconds())}"
    if job.attempt > 1:
        text += f" in attempt {job.attempt}"
    if job.error is not None:
        node = f" in node {job.error.node!r}" if job.error.node else ""
        return f"{text}{node}: {job.error.type}: {job.error.message}"
    return text + (f": {job.reason}" if job.reason else "")


def _status_text(status: JobStatus) -> str:
    words = {JobStatus.WAITING: "waits for a person", JobStatus.PAUSED: "is paused"}
    return words.get(status, status.value)


def _usage_text(job: Job) -> str:
    usage = job.usage
    if not usage.model_calls:
        return ""
    return (
        f"{plural(usage.model_calls, 'model call')}, {usage.tokens_in:,} tokens in, "
        f"{usage.tokens_out:,} tokens out"
    )


def nodes_of(definition: Mapping[str, Any]) -> list[str]:
    """The nodes of the definition that a job was submitted with."""
    kept = definition.get("definition", {})
    mesh = kept.get("mesh") or {}
    return list(definition.get("nodes") or kept.get("nodes") or mesh.get("agents", ()))
