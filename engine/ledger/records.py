"""What the ledger's operations take and give: data of the engine's own, not of its users (job.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..jobs.budget import Spent
from ..jobs.job import DEFAULT_QUEUE, JobId, OnBusy, TaskId, ThreadId
from ..jobs.run_options import PLAIN, RunOptions
from ..jobs.status import Change, StepStatus
from ..jobs.thread_run import ThreadRun

PAUSE, PAUSE_NOW = "pause", "pause now"
"""What a running job may be asked for (`jobs.want`); its worker sees to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    """A job as it is submitted; `input` and `definition` are JSON text."""

    id: JobId
    workflow: str
    fingerprint: str
    definition: str
    needs: str
    input: str
    thread_id: ThreadId
    run: str = "{}"
    """What its run is given beside: see run_options.py."""
    key: str | None = None
    priority: int = 0
    tenant: str | None = None
    labels: str = "{}"
    budget: str = "{}"
    queue: str = DEFAULT_QUEUE
    delay: float = 0.0
    """Seconds after which it takes its place in line."""
    start_at: float | None = None
    """The moment at which it does, where one was given."""
    deadline: float | None = None
    """Seconds within which it is to end."""
    ends_at: float | None = None
    """The moment by which it is, where one was given."""
    on_busy: OnBusy = OnBusy.ENQUEUE
    thread_run: ThreadRun | None = None
    """How it goes on with its thread, which `run` holds too."""

    @property
    def is_temporary(self) -> bool:
        """Whether its end deletes its thread."""
        return self.thread_run is not None and self.thread_run.temporary

    @property
    def waits(self) -> bool:
        """Whether it does not take its place in line at once."""
        return self.delay > 0 or self.start_at is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """An answer, and what it was given to."""

    question: str
    """The question's id."""
    node: str
    asked: str
    """What was asked, as JSON."""
    answer: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Claimed:
    """An attempt that this worker now owns."""

    job_id: JobId
    attempt: int
    workflow: str
    fingerprint: str
    thread_id: ThreadId
    input: Any
    begun: bool
    """Whether an earlier attempt saved a checkpoint: then the graph goes on from there."""
    saved: bool = False
    """Whether an earlier attempt saved anything: the writes of a command count too."""
    run: RunOptions = PLAIN
    """What it is given beside its input."""
    answers: Sequence[Given] = field(default=())
    """What people answered and no node has gone past yet."""
    passed: str | None = None
    """The newest saved state that a person let the job go on from."""
    budget: Mapping[str, float] = field(default_factory=dict)
    """What the job may use at most, by name."""
    tenant: str | None = None
    submitted_at: float = 0.0
    """On this process's monotonic clock."""
    spent: Spent = field(default_factory=Spent)
    """What earlier attempts used; only looked up where there is a budget."""
    listened: frozenset[str] = frozenset()
    """The stream modes that somebody listens to already."""

    @property
    def is_temporary(self) -> bool:
        """Whether its end deletes its thread."""
        return self.run.thread_run is not None and self.run.thread_run.temporary


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRow:
    """A node run as an attempt notes it; times are those of its process's monotonic clock."""

    task_id: TaskId
    node: str
    status: StepStatus
    started_at: float | None
    finished_at: float | None = None
    input: str | None = None
    output: str | None = None
    error: str | None = None
    model_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_reasoning: int = 0
    seconds_waited: float = 0.0
    seconds_generating: float = 0.0
    cached_calls: int = 0
    cost: float | None = None
    models: str = "[]"
    tries: int = 1
    cached: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    type: str
    at: float
    """On the process's monotonic clock."""
    data: str = "{}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What an interrupted node wants to know; texts are JSON."""

    id: str
    node: str
    question: str
    answer_schema: str | None = None
    within: float | None = None
    """Seconds for which it waits; None is for ever."""
    default: str | None = None
    """What is the answer then; None: the job fails."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How an attempt ended, as its worker saw it."""

    change: Change
    output: str | None = None
    error: str | None = None
    reason: str | None = None
    steps: Sequence[StepRow] = field(default=())
    events: Sequence[NewEvent] = field(default=())
    questions: Sequence[Question] = field(default=())
    consumed: Sequence[str] = field(default=())
    """Questions whose answers nodes have gone past."""
    rejected: Sequence[str] = field(default=())
    """Questions whose answers did not fit."""
    passed_over: Sequence[str] = field(default=())
    """Nodes that this attempt did not run and that a completed job need not have run."""
