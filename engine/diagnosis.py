"""Why a job stands where it stands, from what the ledger knows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ucop.engine.job import Job, Question, Step
from ucop.engine.queues import QueueState
from ucop.engine.states import ACTIVE, JobStatus, StepStatus

SILENT = 60.0
"""Seconds without a heartbeat after which a worker is spoken of as gone."""


@dataclass(frozen=True, kw_only=True)
class WorkerSeen:
    """A worker that was not declared lost; `beat_at` is in seconds since the epoch."""

    id: str
    host: str
    pid: int
    beat_at: float
    knows: frozenset[str]
    serves: frozenset[str]

    def is_silent(self, now: float) -> bool:
        return now - self.beat_at > SILENT


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """What decides whether, when and where a job runs."""

    needs: frozenset[str]
    queue: QueueState
    not_before: float
    worker: str | None
    want: str | None
    busy_with: str | None
    """The job that runs on the same thread now, or comes first there, where one does."""
    ahead: int
    """Queued jobs whose turn comes first."""
    workers: Sequence[WorkerSeen]


def causes(
    job: Job, dispatch: Dispatch, questions: Sequence[Question], now: float
) -> tuple[str, ...]:
    """The root cause first, then what adds to it."""
    match job.status:
        case JobStatus.FAILED:
            found = _failed(job)
        case JobStatus.WAITING:
            found = _waits(job, questions)
        case JobStatus.PENDING:
            found = _queued(job, dispatch, now)
        case JobStatus.RUNNING:
            found = _runs(job, dispatch, now)
        case JobStatus.COMPLETED:
            found = iter(("nothing is wrong: it has completed",))
        case _:
            found = iter((job.reason or "nobody said why",))
    return tuple(found)


def _failed(job: Job) -> Iterator[str]:
    if job.error is None:
        yield job.reason or "it failed without an error"
        return
    node = f" in node {job.error.node}" if job.error.node else ""
    yield f"{job.error.type}{node}: {job.error.message}"
    broken = [step for step in job.steps if step.node == job.error.node and _broke(step)]
    if broken and broken[-1].tries > 1:
        yield f"its last attempt tried that node {broken[-1].tries} times"
    if len(broken) > 1:
        same = sum(1 for step in broken if step.error and step.error.message == job.error.message)
        yield f"that node broke in {len(broken)} attempts, {same} times with this error"
    if caught := [step.node for step in job.steps if step.error and step.error.caught]:
        yield f"before that, errors were caught in {', '.join(dict.fromkeys(caught))}"


def _broke(step: Step) -> bool:
    return step.status is StepStatus.FAILED and not (step.error and step.error.caught)


def _waits(job: Job, questions: Sequence[Question]) -> Iterator[str]:
    asking = [question for question in questions if question.answered_at is None]
    nodes = ", ".join(question.node for question in asking)
    yield f"a person's answer is due in {nodes}" if asking else job.reason or "it waits"
    for question in asking:
        if question.due_at is not None:
            then = "its default holds" if question.has_default else "the job fails"
            yield f"{question.node} waits until {question.due_at:%Y-%m-%d %H:%M:%S} UTC; then {then}"


def _queued(job: Job, dispatch: Dispatch, now: float) -> Iterator[str]:
    alive = [worker for worker in dispatch.workers if not worker.is_silent(now)]
    serving = [worker for worker in alive if dispatch.queue.name in worker.serves]
    able = [worker for worker in serving if dispatch.needs <= worker.knows]
    if not alive:
        yield "no worker runs"
    elif not serving:
        yield f"none of the {len(alive)} workers that run serves queue {dispatch.queue.name!r}"
    elif not able:
        missing = dispatch.needs - frozenset().union(*(worker.knows for worker in serving))
        named = ", ".join(sorted(missing or dispatch.needs))
        yield f"none of the {len(serving)} workers that serve its queue knows {named}"
    elif dispatch.queue.paused:
        yield f"its queue {dispatch.queue.name!r} is paused"
    elif dispatch.not_before > now:
        wait = dispatch.not_before - now
        why = "attempts before it lost their worker" if job.attempt > 1 else "it was delayed"
        yield f"it is run in {wait:.0f} s and not before: {why}"
    elif dispatch.busy_with:
        yield f"job {dispatch.busy_with} comes first on its thread {job.thread_id!r}"
    elif dispatch.queue.is_full:
        yield f"its queue {dispatch.queue.name!r} runs {dispatch.queue.running} jobs, and no more"
    elif dispatch.ahead:
        yield f"its turn has not come: {dispatch.ahead} queued jobs go first in its queue"
    else:
        yield f"it is about to be taken; {len(able)} of the workers that run could"
    if job.reason:
        yield f"it was queued again: {job.reason}"


def _runs(job: Job, dispatch: Dispatch, now: float) -> Iterator[str]:
    mine = next((each for each in dispatch.workers if each.id == dispatch.worker), None)
    others = [each for each in dispatch.workers if each is not mine and not each.is_silent(now)]
    if mine is None or mine.is_silent(now):
        yield f"its worker {dispatch.worker} gives no sign of life" + (
            "" if others else ", and no other runs that could take it over"
        )
    running = [step for step in job.steps if step.status is StepStatus.RUNNING]
    if dispatch.want:
        yield "it was asked to pause, and does when the nodes that run now have ended"
    for step in running:
        began = step.started_at.timestamp() if step.started_at else now
        yield f"node {step.node} runs, for {now - began:.0f} s now"
    if mine is not None and not running:
        yield "it runs, between two nodes"


def finished(job: Job) -> int:
    """How many node runs ended well, and are kept."""
    return len({step.task_id for step in job.steps if step.status is StepStatus.COMPLETED})


def is_stuck(job: Job, dispatch: Dispatch, now: float) -> bool:
    """Whether an active job goes on only once a worker is started."""
    if job.status not in ACTIVE:
        return False
    alive = [worker for worker in dispatch.workers if not worker.is_silent(now)]
    return not any(
        dispatch.needs <= worker.knows and dispatch.queue.name in worker.serves for worker in alive
    )
