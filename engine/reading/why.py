"""Why a job stands where it stands, from what the ledger knows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..jobs.job import Job, Question, Step
from ..jobs.status import ACTIVE, JobStatus, StepStatus
from ..ledger.commands import RESTS, Overtaker
from ..queue.limits import QueueState
from .workers import SILENT

SOON = 2.0
"""Seconds within which a worker with a free slot takes what it may."""


@dataclass(frozen=True, kw_only=True)
class WorkerSeen:
    """A worker that was not declared lost; `beat_at` is in seconds since the epoch."""

    id: str
    host: str
    pid: int
    beat_at: float
    knows: frozenset[str]
    serves: frozenset[str]
    blocked: Mapping[str, Any] | None = None
    """What blocks its loop: `job`, `node`, `place` and `seconds` before `beat_at`, where
    something does."""

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
    overtaken: Overtaker | None = None
    """The job that has taken over its thread, where one has: then it cannot go on there."""
    ahead: int
    """Queued jobs whose turn comes first."""
    workers: Sequence[WorkerSeen]
    waited: float = 0.0
    """Seconds for which it has been in line."""
    rate_in: float | None = None
    """Seconds until the queue's rate allows another to begin; None where it does now."""
    of_workflow: int = 0
    """Jobs of its workflow that run."""
    workflow_limit: int | None = None
    """How many of them may."""
    running: Mapping[str, int] = field(default_factory=dict)
    """Jobs that run, by worker."""
    running_of_queue: Mapping[str, int] = field(default_factory=dict)
    """Those of its queue."""

    @property
    def workflow_is_full(self) -> bool:
        return self.workflow_limit is not None and self.of_workflow >= self.workflow_limit

    def is_full_of_queue(self, worker: str) -> bool:
        """Whether a worker runs as many jobs of the queue as one may."""
        most = self.queue.worker_concurrency
        return most is not None and self.running_of_queue.get(worker, 0) >= most

    def able(self, now: float) -> list[WorkerSeen]:
        """The workers that could run it."""
        return [
            worker
            for worker in self.workers
            if not worker.is_silent(now)
            and self.queue.name in worker.serves
            and self.needs <= worker.knows
        ]


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
            found = iter(("nothing is wrong: it completed",))
        case JobStatus.PAUSED:
            found = _paused(job, dispatch, now)
        case _:
            found = iter((job.reason or "no reason was given",))
    return (*found, *_overtaken(job, dispatch))


def cannot_go_on(job: Job, dispatch: Dispatch) -> bool:
    """Whether another job's states stand on its thread by now: then only a fork goes on."""
    rests = job.status in RESTS or job.status is JobStatus.WAITING
    return rests and dispatch.overtaken is not None


def _overtaken(job: Job, dispatch: Dispatch) -> Iterator[str]:
    if dispatch.overtaken is not None and cannot_go_on(job, dispatch):
        other = dispatch.overtaken
        yield f"it cannot go on: job {other.by} {other.does} with its thread {other.thread!r}"


def _failed(job: Job) -> Iterator[str]:
    if job.error is None:
        yield job.reason or "it failed without an error"
        return
    node = f" in node {job.error.node}" if job.error.node else ""
    yield f"{job.error.type}{node}: {job.error.message}"
    yield from job.error.details()
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
    asking = [question for question in questions if question.is_open]
    nodes = ", ".join(question.node for question in asking)
    yield f"it waits for a person's answer in {nodes}" if asking else job.reason or "it waits"
    for question in asking:
        if question.due_at is not None:
            then = "its default is used" if question.has_default else "the job fails"
            yield f"{question.node} waits until {question.due_at:%Y-%m-%d %H:%M:%S} UTC; then {then}"


def _queued(job: Job, dispatch: Dispatch, now: float) -> Iterator[str]:
    barred = list(_barred(job, dispatch, now))
    # What else is in the way shows once these are not.
    yield from barred or _held_back(job, dispatch, now)
    if job.reason:
        yield f"it was queued again: {job.reason}"


def _barred(job: Job, dispatch: Dispatch, now: float) -> Iterator[str]:
    """What keeps it from running, however few jobs there are: each of these is to be mended."""
    if missing := _no_worker(dispatch, now):
        yield missing
    if dispatch.queue.paused:
        yield f"its queue {dispatch.queue.name!r} is paused"
    if dispatch.not_before > now:
        lost = job.reason not in (None, "resumed")
        yield _not_before(
            dispatch, now, "attempts before it lost their worker" if lost else "it was delayed"
        )


def _not_before(dispatch: Dispatch, now: float, why: str) -> str:
    return f"it starts in {_told(dispatch.not_before - now)} at the earliest: {why}"


def _paused(job: Job, dispatch: Dispatch, now: float) -> Iterator[str]:
    yield job.reason or "no reason was given"
    if dispatch.not_before > now:
        yield _not_before(dispatch, now, "it was delayed")


def _held_back(job: Job, dispatch: Dispatch, now: float) -> Iterator[str]:
    """The first thing in its way of other jobs."""
    queue, name, able = dispatch.queue, repr(dispatch.queue.name), dispatch.able(now)
    if dispatch.busy_with:
        yield f"job {dispatch.busy_with} comes first on its thread {job.thread_id!r}"
    elif queue.is_full:
        yield f"its queue {name} runs {_jobs(queue.running)}, its limit"
    elif dispatch.workflow_is_full:
        yield f"its workflow {job.workflow!r} runs {_jobs(dispatch.of_workflow)}, its limit"
    elif dispatch.rate_in:
        yield (
            f"its queue {name} has reached its rate limit {queue.rate}; the next job "
            f"starts in {_told(dispatch.rate_in)}"
        )
    elif able and all(dispatch.is_full_of_queue(worker.id) for worker in able):
        each = "its worker runs" if len(able) == 1 else f"each of its {len(able)} workers runs"
        yield f"{each} {_jobs(queue.worker_concurrency or 0)} of queue {name}, its limit"
    else:
        yield from _in_line(job, dispatch, able)


def _no_worker(dispatch: Dispatch, now: float) -> str | None:
    alive = [worker for worker in dispatch.workers if not worker.is_silent(now)]
    serving = [worker for worker in alive if dispatch.queue.name in worker.serves]
    if not alive:
        return "no worker is running"
    if not serving:
        return f"no running worker serves queue {dispatch.queue.name!r}"
    if not dispatch.able(now):
        missing = dispatch.needs - frozenset().union(*(worker.knows for worker in serving))
        if any(need.startswith("process:") for need in missing):
            return (
                "its graph has no name, so only the process that submitted it can run it, and no "
                "worker runs there; give the graph a name, and submit again"
            )
        return (
            f"no worker that serves its queue knows {', '.join(sorted(missing or dispatch.needs))}"
        )
    return None


def _in_line(job: Job, dispatch: Dispatch, able: Sequence[WorkerSeen]) -> Iterator[str]:
    """What is in the way where nothing but workers' slots can be."""
    runs = sum(dispatch.running.get(worker.id, 0) for worker in able)
    who = (
        "the worker that could run it is"
        if len(able) == 1
        else (f"the {len(able)} workers that could run it are")
    )
    full = f"{who} busy with {_jobs(runs)}"
    others = sum(each.pending for each in dispatch.queue.tenants if each.tenant != job.tenant)
    if dispatch.ahead:
        yield f"{_jobs(dispatch.ahead)} ahead of it in its queue" + (f" ({full})" if runs else "")
    elif not runs or dispatch.waited < SOON:
        yield f"it is about to start; {who} free"
        return
    else:
        yield f"{full}; it starts when one of them ends"
    if others and runs:
        yield (
            f"{_jobs(others)} of other tenants in line too: the tenant whose jobs hold the "
            "fewest slots goes first"
        )


def _jobs(number: int) -> str:
    return f"{number} job{'' if number == 1 else 's'}"


def _told(seconds: float) -> str:
    """A time to wait, as far as it matters."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _runs(job: Job, dispatch: Dispatch, now: float) -> Iterator[str]:
    mine = next((each for each in dispatch.workers if each.id == dispatch.worker), None)
    others = [each for each in dispatch.workers if each is not mine and not each.is_silent(now)]
    if mine is None or mine.is_silent(now):
        yield f"its worker {dispatch.worker} does not respond" + (
            "" if others else ", and no other worker can take the job over"
        )
    if mine is not None and mine.blocked is not None:
        yield _blocked(job, mine.blocked, now - mine.beat_at)
    running = [step for step in job.steps if step.status is StepStatus.RUNNING]
    if dispatch.want:
        yield "it was asked to pause, and will when its running nodes have ended"
    for step in running:
        began = step.started_at.timestamp() if step.started_at else now
        yield f"node {step.node} has been running for {now - began:.0f} s"
    if mine is not None and not running:
        yield "it is running, between two nodes"


def _blocked(job: Job, by: Mapping[str, Any], since: float) -> str:
    mine = by["job"] == job.id
    node = f" in node {by['node']}" if by["node"] else ""
    other = f" of job {by['job']}" if node and not mine else ""
    place = f" (at {by['place']})" if by["place"] else ""
    told = f"its worker's loop is blocked{node}{other} for {by['seconds'] + max(since, 0):.0f} s{place}"
    return f"{told}: move the blocking call into a plain function or asyncio.to_thread"


def finished(job: Job) -> int:
    """How many node runs ended well, and are kept."""
    return len({step.task_id for step in job.steps if step.status is StepStatus.COMPLETED})


def is_stuck(job: Job, dispatch: Dispatch, now: float) -> bool:
    """Whether an active job goes on only once a worker is started."""
    if job.status not in ACTIVE:
        return False
    return not dispatch.able(now)
