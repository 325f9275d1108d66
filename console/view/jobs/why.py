"""Why a job stands where it stands, and what would help: the cause in a few lines, and commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ucop.engine.jobs.status import ACTIVE, JobStatus

from ..place import Place
from ..tables import plural
from .questions import command as answer_command

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Checkpoint, Job, Question
    from ucop.engine.reading.reader import Reader
    from ucop.engine.reading.why import Dispatch


LIMITS = {"DeadlinePassed": "deadline", "StepsUsedUp": "steps"}
"""The limit that an error is about."""


@dataclass(frozen=True)
class Advice:
    command: str
    does: str


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a job stands where it stands, and what would help."""

    job: Job
    causes: Sequence[str]
    checkpoint: Checkpoint | None
    """Where it would go on from."""
    advice: Sequence[Advice]

    def lines(self) -> list[str]:
        """As a person reads it."""
        from ucop.engine.reading.why import finished

        job, kept = self.job, plural(finished(self.job), "node run")
        return [
            f"job {job.id} ({job.workflow}) is {job.status}; {kept} finished, "
            f"attempt {job.attempt}",
            *_with_title("cause", self.causes),
            *_with_title("checkpoint", [_stands(self.checkpoint)] if self.checkpoint else ()),
            *_with_title("next", [f"{each.command}   # {each.does}" for each in self.advice]),
        ]


def explain(place: Place, reader: Reader, job: Job, now: float) -> Explanation:
    """Ask the ledger why a job stands where it stands. `now` in seconds since the epoch."""
    from ucop.engine.reading.why import causes

    settings, questions = place.settings, reader.questions(job.id)
    dispatch = reader.dispatch(job.id, settings.declared, settings.workflow_concurrency)
    last = next(iter(reader.checkpoints(job.id)), None)
    return Explanation(
        job=job,
        causes=causes(job, dispatch, questions, now),
        checkpoint=last,
        advice=tuple(_advice(place, job, dispatch, questions, last, now)),
    )


def _with_title(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{'' if index else title:<11}{line}" for index, line in enumerate(lines)]


def _stands(checkpoint: Checkpoint) -> str:
    after = f"after {', '.join(checkpoint.nodes)}" if checkpoint.nodes else "at the beginning"
    due = f", before {', '.join(checkpoint.next)}" if checkpoint.next else ", at the end"
    return f"{checkpoint.id} {after}{due}"


def _advice(
    place: Place,
    job: Job,
    dispatch: Dispatch,
    questions: Sequence[Question],
    last: Checkpoint | None,
    now: float,
) -> Iterator[Advice]:
    from ucop.engine.reading.why import cannot_go_on, is_stuck

    if cannot_go_on(job, dispatch):
        yield Advice(place.command(f"checkpoints fork {job.id}"), "go on in a new job")
    elif job.status is JobStatus.FAILED:
        yield from _after_failure(place, job, questions, last)
    elif job.status is JobStatus.PAUSED:
        yield _go_on(place, job, used_up(job), at_once=dispatch.not_before > now)
    elif job.status is JobStatus.WAITING:
        yield from _answers(place, job, questions)
    elif is_stuck(job, dispatch, now):
        yield Advice(place.command("worker"), "a worker that knows this project's workflows")
    elif job.status in ACTIVE:
        yield from _sooner(place, job, dispatch, now)
        yield Advice(place.command(f"jobs watch {job.id}"), "see what it does")
        if job.status is JobStatus.RUNNING:
            yield Advice(place.command(f"jobs pause {job.id} --now"), "stop it where it hangs")
    yield Advice(place.command(f"jobs events {job.id}"), "all that happened")


def _sooner(place: Place, job: Job, dispatch: Dispatch, now: float) -> Iterator[Advice]:
    """What lets a queued job go first."""
    if job.status is not JobStatus.PENDING:
        return
    queue = dispatch.queue
    if queue.paused:
        yield Advice(place.command(f"queues resume {queue.name}"), "let the queue go on")
    elif dispatch.not_before > now:
        yield Advice(place.command(f"jobs resume {job.id} --now"), "run it without waiting")
    elif dispatch.busy_with:
        yield Advice(place.command(f"jobs why {dispatch.busy_with}"), "what that one does")
    elif queue.is_full or dispatch.rate_in or queue.worker_concurrency is not None:
        yield Advice(place.command("queues list"), "what its queue allows, and holds")
    elif dispatch.running:
        yield Advice(place.command("jobs list --status running"), "what runs now")


def _after_failure(
    place: Place, job: Job, questions: Sequence[Question], last: Checkpoint | None
) -> Iterator[Advice]:
    kind = job.error.type if job.error else ""
    if kind.startswith("Model"):
        yield Advice(place.command("models list"), "which model answers to which name")
    if limit := LIMITS.get(kind):
        yield _go_on(place, job, limit)
        return
    anew = [question for question in questions if question.takes_answer(job.status)]
    for question in anew:
        words = answer_command(job.id, question, several=len(anew) > 1)
        yield Advice(place.command(words), f"give {question.node} another answer")
    yield Advice(place.command(f"jobs retry {job.id}"), "once the cause is gone")
    if last is not None:
        at = f"checkpoints fork {job.id} {last.id} --set NAME=VALUE"
        yield Advice(place.command(at), "a new job from there, with another state")


def used_up(job: Job) -> str | None:
    """The limit of a budget that paused a job."""
    reason = job.reason or ""
    return next((name for name in job.budget if f"--budget {name}=" in reason), None)


def _go_on(place: Place, job: Job, limit: str | None, *, at_once: bool = False) -> Advice:
    command = f"jobs resume {job.id}"
    if limit is not None:
        more = f" --budget {limit}={twice(limit, job.budget[limit])}" if limit in job.budget else ""
        return Advice(place.command(command + more), "go on with more")
    if at_once:
        return Advice(place.command(f"{command} --now"), "run it without waiting")
    return Advice(place.command(command), "go on from the checkpoint")


def twice(limit: str, most: float) -> str:
    return f"{most * 2:g}" if limit in ("cost", "seconds") else f"{most * 2:.0f}"


def _answers(place: Place, job: Job, questions: Sequence[Question]) -> Iterator[Advice]:
    asked = [question for question in questions if question.takes_answer(job.status)]
    for question in asked:
        words = answer_command(job.id, question, several=len(asked) > 1)
        yield Advice(place.command(words), f"answer {question.node}")
    if not asked:
        yield _go_on(place, job, None)
