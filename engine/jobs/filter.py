"""Which jobs are meant: what `ucop jobs list` shows, and what a change of many jobs changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..errors import InvalidInput
from .status import JobStatus

_HOLDS_TEXT = """lower(id || ' ' || workflow || ' ' || coalesce(key, '') || ' ' ||
    coalesce(tenant, '') || ' ' || labels || ' ' || coalesce(reason, '') || ' ' ||
    coalesce(error, '') || ' ' || input) like lower(:text) escape '!'"""

ON_THREAD = "((thread_id = :thread and thread_id <> id) or (id = :thread and thread_id = id))"
"""The condition that a job is on a thread, as the indexes have it."""

Statuses = JobStatus | str | Iterable[JobStatus | str]
"""One status, or several."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Jobs that have all of what is given; an empty filter names every job that is not
    archived. Raises InvalidInput for a status that does not exist, or a time without a zone."""

    status: Statuses | None = None
    """Jobs of this status, or of one of these."""
    queue: str | None = None
    workflow: str | None = None
    thread: str | None = None
    """On this LangGraph thread."""
    tenant: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """A job that is meant has each of these, and may have more."""
    before: datetime | None = None
    """Created earlier than that."""
    after: datetime | None = None
    """Created then or later."""
    archived: bool | None = False
    """Whether jobs that were archived are meant, and no others; None means both."""
    text: str | None = None
    """Stands in its id, workflow, key, tenant, labels, reason, error or input; capitals or not."""

    def __post_init__(self) -> None:
        # What was given may be read but once, and is compared.
        object.__setattr__(self, "status", None if self.status is None else _read(self.status))
        for name, moment in (("before", self.before), ("after", self.after)):
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput(f"{name}: must be a datetime with a time zone, not {moment!r}")

    @property
    def is_empty(self) -> bool:
        return self == Filter()

    @property
    def statuses(self) -> frozenset[JobStatus]:
        """Those that a job may have."""
        return frozenset(JobStatus) if self.status is None else _read(self.status)

    def conditions(self) -> tuple[list[str], dict[str, Any]]:
        """SQL conditions, and their parameters. Only what is given is asked, so that the database
        may use its indexes."""
        given: dict[str, tuple[str, Any]] = {}
        if self.queue is not None:
            given["queue"] = ("queue = :queue", self.queue)
        if self.workflow is not None:
            given["workflow"] = ("workflow = :workflow", self.workflow)
        if self.thread is not None:
            given["thread"] = (ON_THREAD, self.thread)
        if self.tenant is not None:
            given["tenant"] = ("tenant = :tenant", self.tenant)
        if self.labels:
            given["labels"] = ("{labelled}", json.dumps(dict(self.labels)))
        if self.before is not None:
            given["before"] = ("created_at < :before", self.before.timestamp())
        if self.after is not None:
            given["after"] = ("created_at >= :after", self.after.timestamp())
        if self.text:
            given["text"] = (_HOLDS_TEXT, f"%{_literal(self.text)}%")
        archived = {False: ["archived_at is null"], True: ["archived_at is not null"], None: []}
        status = [] if self.status is None else [among(self.statuses)]
        return (
            [*status, *(condition for condition, _ in given.values()), *archived[self.archived]],
            {name: value for name, (_, value) in given.items()},
        )


def among(statuses: Iterable[JobStatus]) -> str:
    """The SQL condition that a job has one of these."""
    listed = ", ".join(f"'{status.value}'" for status in sorted(statuses))
    return f"status in ({listed})"


def _read(given: Statuses) -> frozenset[JobStatus]:
    named = [given] if isinstance(given, str) else list(given)
    if not named:
        raise InvalidInput("status: name one at least, or give none")
    try:
        return frozenset(JobStatus(each) for each in named)
    except ValueError as error:
        known = ", ".join(JobStatus)
        raise InvalidInput(f"status: {error}; there is {known}") from None


def _literal(text: str) -> str:
    """A text in which `like` sees no signs of its own."""
    return re.sub("([!%_])", r"!\1", text)
