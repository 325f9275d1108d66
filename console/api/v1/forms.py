"""What requests may say: bodies and queries."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.job import DEFAULT_QUEUE, OnBusy
from ucop.engine.jobs.status import JobStatus
from ucop.engine.reading.reader import Cursor

from ..problems import invalid

T = TypeVar("T")

LONGEST_WAIT = 600
"""Seconds."""

Wait = Annotated[
    float,
    Query(
        ge=0,
        le=LONGEST_WAIT,
        description="Seconds to wait until the job rests; then it is answered as it is.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=1000, description="Answer at most so many.")]
Amounts = dict[str, float | str]


class Form(BaseModel):
    """A body. What it does not know it refuses."""

    model_config = ConfigDict(extra="forbid")


class Items(BaseModel, Generic[T]):
    """A list, or a page of one."""

    items: list[T]
    next: str | None = None
    """The cursor of the next page; None where there is none."""


class Given(Form):
    """What a run is given beside its input."""

    context: Any = None
    config: dict[str, Any] | None = None
    """LangGraph's config, as far as a job can keep it."""


class Submission(Given):
    """A new job. See Engine.submit."""

    workflow: str
    input: Any = None
    key: str | None = None
    """For idempotence; as the header `Idempotency-Key`."""
    queue: str = DEFAULT_QUEUE
    priority: StrictInt = 0
    delay: float | str | None = None
    start_at: AwareDatetime | None = None
    deadline: float | str | None = None
    """Seconds, or a time such as `30m`, or a moment."""
    tenant: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    budget: Amounts | None = None
    thread_id: str | None = None
    on_busy: OnBusy = OnBusy.ENQUEUE
    stream: list[str] | None = None
    """Stream modes of which nothing is to be missed by who streams the job soon."""


class Pause(Form):
    now: StrictBool = False
    """In the middle of running nodes, which run again later."""


class Retry(Given):
    """See JobHandle.retry."""

    budget: Amounts | None = None
    priority: StrictInt | None = None
    checkpoint: str | None = None


class Resume(Given):
    """See JobHandle.resume."""

    now: StrictBool = False
    budget: Amounts | None = None
    priority: StrictInt | None = None
    input: dict[str, Any] | None = None
    replace: dict[str, Any] | None = None
    as_node: str | None = None


class Fork(Given):
    """See JobHandle.fork."""

    checkpoint: str | None = None
    update: dict[str, Any] | None = None
    replace: dict[str, Any] | None = None
    as_node: str | None = None
    workflow: str | None = None


class Restore(Form):
    checkpoint: str


class Prune(Form):
    keep: StrictInt = Field(default=1, ge=1)
    before: AwareDatetime | None = None
    dry_run: StrictBool = False


class Answer(Form):
    answer: Any


class FilterForm(Form):
    """Which jobs; see Filter."""

    status: list[JobStatus] | None = None
    queue: str | None = None
    workflow: str | None = None
    tenant: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    before: AwareDatetime | None = None
    after: AwareDatetime | None = None
    archived: StrictBool | None = False
    text: str | None = None

    def read(self, tenant: str | None) -> Filter:
        return Filter(**{**dict(self), "status": self.status or None, "tenant": tenant})


class Change(Form):
    """What is done to many jobs."""

    action: Literal["pause", "resume", "cancel", "retry", "archive", "unarchive", "delete"]
    ids: list[str] | None = None
    """Jobs by their ids, or the beginnings of those."""
    filter: FilterForm | None = None
    """Or those of these jobs whose status takes the action."""
    now: StrictBool = False
    budget: Amounts | None = None
    priority: StrictInt | None = None
    dry_run: StrictBool = False
    """Only tell which jobs it would be."""


class JobQuery(BaseModel):
    """Which jobs a list holds."""

    status: list[JobStatus] = Field(default_factory=list)
    queue: str | None = None
    workflow: str | None = None
    tenant: str | None = None
    label: list[str] = Field(default_factory=list)
    """`key:value`."""
    text: str | None = None
    """Stands in its id, workflow, key, tenant, labels, reason, error or input."""
    before: AwareDatetime | None = None
    after: AwareDatetime | None = None
    archived: Literal["false", "true", "any"] = "false"

    def read(self, tenant: str | None) -> Filter:
        """Raises Refusal."""
        return Filter(
            status=self.status or None,
            queue=self.queue,
            workflow=self.workflow,
            tenant=tenant,
            labels=dict(_label(text) for text in self.label),
            before=self.before,
            after=self.after,
            archived={"false": False, "true": True, "any": None}[self.archived],
            text=self.text,
        )


class JobList(JobQuery):
    limit: int = Field(default=50, ge=1, le=1000)
    cursor: str | None = None


def _label(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise invalid(f"must be key:value, not {text!r}", parameter="label")
    return name, value


def cursor_text(cursor: Cursor | None) -> str | None:
    """A cursor as clients carry it. Nothing in it is a secret, or is trusted."""
    if cursor is None:
        return None
    text = json.dumps([cursor.created_at, cursor.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(text: str | None) -> Cursor | None:
    """Raises Refusal for what is no cursor."""
    if text is None:
        return None
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        created_at, id = json.loads(decoded)
        return Cursor(created_at=float(created_at), id=str(id))
    except (ValueError, TypeError, OverflowError, binascii.Error):
        raise invalid("no cursor of this server", parameter="cursor") from None
