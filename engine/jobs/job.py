"""A job as data: what the command line, the HTTP API and Python callers read.

Times are UTC; JSON carries them as ISO 8601. Amounts are counts unless a unit is named.
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, NewType

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ..job_error import JobError, StepError
from ..record import Record
from .status import JobStatus, StepStatus

DEFAULT_QUEUE: Final = "default"
"""The queue of jobs that name none; it is always there."""

JobId = NewType("JobId", str)
WorkerId = NewType("WorkerId", str)
ThreadId = NewType("ThreadId", str)
NodeId = NewType("NodeId", str)
TaskId = NewType("TaskId", str)


class OnBusy(StrEnum):
    """What a new job does where jobs of its thread are queued or run."""

    ENQUEUE = "enqueue"
    """It waits until they have ended."""
    REJECT = "reject"
    """It is refused."""
    INTERRUPT = "interrupt"
    """They are cancelled; it goes on from the state that they saved."""
    ROLLBACK = "rollback"
    """They are cancelled, and what they saved is deleted."""

    @property
    def stops_others(self) -> bool:
        return self in (OnBusy.INTERRUPT, OnBusy.ROLLBACK)


def new_job_id(now: float) -> JobId:
    """The milliseconds since the epoch (11 hexadecimal digits), then 36 random bits. Jobs of one
    time stand together in every table and index, as those of UUIDv7 (RFC 9562) do."""
    return JobId(f"{int(now * 1000):011x}{secrets.token_hex(5)[:9]}")


def _kept_by_every_database(text: str) -> str:
    # PostgreSQL stores no NUL, and no database a half surrogate, which strict texts in a mapping
    # may hold.
    if re.search("[\x00\ud800-\udfff]", text):
        raise PydanticCustomError("text", "Text should hold no NUL and be valid Unicode")
    return text


Text = Annotated[str, AfterValidator(_kept_by_every_database)]
"""A text that people give."""


class Usage(Record):
    """What was spent, as the endpoints reported it."""

    model_calls: int = 0
    """Requests that reached an endpoint; failed ones too."""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    """Of `tokens_in`, those that the provider had in a cache of its own."""
    tokens_reasoning: int = 0
    """Of `tokens_out`, those of its thinking."""
    seconds_waited: float = 0.0
    """Until calls could be made: for a free place, for the provider's rate, before a next try.
    Calls at the same time add up."""
    seconds_generating: float = 0.0
    """From request to the end of the answer. Calls at the same time add up."""
    cached_calls: int = 0
    """Calls that were not made, because their answer was kept: see the agent's `cache`."""

    cost: float | None = None
    """In US dollars; None where a price is unknown."""
    seconds: float = 0.0
    """Sum of the measured run times of all steps that run inside no other."""


class Step(Record):
    """One run of one node by one attempt."""

    node: str
    task_id: str
    status: StepStatus
    attempt: int
    started_at: datetime | None = None
    finished_at: datetime | None = None
    model_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    tokens_reasoning: int = 0
    seconds_waited: float = 0.0
    seconds_generating: float = 0.0
    cached_calls: int = 0
    """These are explained at Usage."""
    cost: float | None = None
    models: tuple[str, ...] = ()
    """The models that answered, as `provider:model`."""
    cached: int = 0
    """Calls that the cache answered: 1, or with `each` one per item; 0 where none was."""
    output: Any = None
    """What the node wrote, cut where it is long."""
    error: StepError | None = None
    tries: int = 1
    """How often it was called in this attempt, its `retry` included; with `each`, its item that
    was called most."""
    warnings: tuple[str, ...] = ()
    """What is to be said of its models' answers, such as that a prompt was cut."""


class Attempt(Record):
    """One dispatch of a job to a worker."""

    number: int
    status: str
    """`queued`, `running` or `ended`."""
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    outcome: str | None = None
    """Why it ended: a job status, or what took it away."""


class Question(Record):
    """What a job that waits wants to know from a person."""

    id: str
    node: str
    question: Any
    """What the graph passed to `interrupt`: a text, or any JSON."""
    answer_schema: dict[str, Any] | None = None
    """JSON Schema that the answer must fit."""
    asked_at: datetime
    due_at: datetime | None = None
    """When it has waited long enough; None where it waits for ever."""
    default_answer: Any = None
    """What is the answer then."""
    has_default: bool = False
    """Whether there is such a default; without one the job fails then."""
    answer: Any = None
    answered_at: datetime | None = None
    """None while nobody has answered."""
    by_default: bool = False
    """Whether nobody answered in time, and the default holds."""
    consumed_at: datetime | None = None
    """When the node that asked had gone past the answer; None while it has not."""
    withdrawn_at: datetime | None = None
    """When the job stopped asking without having used an answer: its node asked something else,
    or another way was taken."""

    @property
    def is_open(self) -> bool:
        """Whether the job asks, and nobody has answered yet."""
        return self.answered_at is None and self.withdrawn_at is None

    def takes_answer(self, status: JobStatus) -> bool:
        """Whether a job of this status lets people answer it: a waiting job what is open; a failed
        job also what was answered and no node has gone past, for it may have failed because of
        that answer."""
        if status is JobStatus.FAILED:
            return self.consumed_at is None and self.withdrawn_at is None
        return status is JobStatus.WAITING and self.is_open


class Checkpoint(Record):
    """One saved state of a job's graph."""

    id: str
    parent_id: str | None
    step: int
    """LangGraph's superstep number, -1 for the input. Repeats after a fork: order by parent."""
    nodes: tuple[str, ...]
    """The nodes that ran to make this state."""
    next: tuple[str, ...]
    """The nodes due after it."""
    created_at: datetime
    values: dict[str, Any] = Field(default_factory=dict)


class Event(Record):
    """Something that happened to a job. Numbers of one job count from 1 without a gap."""

    job_id: str
    seq: int
    type: str
    """`job.<status>`, `job.submitted`, `step.started|retried|pending|completed|failed|skipped`,
    `mesh.asked|answered|failed|stopped`, `model.used`, `model.fallback`, `question.expired|rejected`,
    `progress`."""
    at: datetime
    data: dict[str, Any] = Field(default_factory=dict)
    position: int = 0
    """Where it stands among the events of all jobs: grows, with gaps."""


def event_of(row: Any) -> Event:
    """An event from its row in the ledger."""
    return Event(
        job_id=row["job_id"],
        seq=row["seq"],
        type=row["type"],
        at=datetime.fromtimestamp(row["at"], UTC),
        data=json.loads(row["data"]),
        position=row["position"],
    )


class Parent(Record):
    """Where a forked job came from."""

    job_id: str
    checkpoint_id: str


class Terms(Record):
    """What may be said of a job beside its input. Strict: a number is not a text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    key: Text | None = Field(default=None, min_length=1, max_length=1000)
    priority: int = Field(default=0, ge=-(2**31), lt=2**31)
    tenant: Text | None = Field(default=None, min_length=1, max_length=1000)
    labels: dict[Text, Text] = Field(default_factory=dict)
    thread_id: Text | None = Field(default=None, min_length=1, max_length=1000)
    queue: str = DEFAULT_QUEUE
    delay: float = 0.0
    """Seconds."""
    start_at: float | None = None
    """Seconds since the epoch."""
    on_busy: OnBusy = OnBusy.ENQUEUE


class Job(Record):
    """Everything that is known about a job, except its events and checkpoints."""

    id: str
    workflow: str
    status: JobStatus
    reason: str | None = None
    """Why it stands where it stands, in words, where that is not plain."""
    input: Any
    """What it was submitted with; an object, unless its graph takes something else."""
    context: dict[str, Any] | None = None
    """What its run is given as context, without secrets."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Of LangGraph's config what its run is given, without secrets."""
    notice: str | None = None
    """What whoever looks at it should know of how it was submitted."""
    output: Any = None
    error: JobError | None = None
    thread_id: str
    attempt: int
    queue: str = DEFAULT_QUEUE
    priority: int = 0
    tenant: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    key: str | None = None
    start_at: datetime | None = None
    """Before that it is not run; None where it waits for no time, or no longer."""
    parent: Parent | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    archived_at: datetime | None = None
    """Since when it is out of the lists; None where it is in them."""
    steps: tuple[Step, ...] = ()
    usage: Usage = Field(default_factory=Usage)
    budget: dict[str, float] = Field(default_factory=dict)
    """What it may use at most, over all attempts: `deadline` in seconds, `steps`, `model_calls`,
    `tokens`, `cost`."""
