"""Which jobs are meant: what `ucop jobs list` shows, and what a change of many jobs changes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ucop.engine.states import JobStatus

_HOLDS_TEXT = """lower(id || ' ' || workflow || ' ' || coalesce(key, '') || ' ' ||
    coalesce(tenant, '') || ' ' || labels || ' ' || coalesce(reason, '') || ' ' ||
    coalesce(error, '') || ' ' || input) like lower(:text) escape '!'"""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Jobs that have all of what is given; an empty filter names every job that is not
    archived."""

    status: JobStatus | None = None
    workflow: str | None = None
    tenant: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    """A job that is meant has each of these, and may have more."""
    before: datetime | None = None
    """Created earlier than that."""
    archived: bool | None = False
    """Whether jobs that were archived are meant, and no others; None means both."""
    text: str | None = None
    """Stands in its id, workflow, key, tenant, labels, reason, error or input; capitals or not."""

    @property
    def is_empty(self) -> bool:
        return self == Filter()

    def conditions(self, labelled: str) -> tuple[list[str], dict[str, Any]]:
        """SQL conditions, and their parameters. Only what is given is asked, so that the database
        may use its indexes; `labelled` is the database's own condition on `:labels`."""
        given: dict[str, tuple[str, Any]] = {}
        if self.status is not None:
            given["status"] = ("status = :status", self.status.value)
        if self.workflow is not None:
            given["workflow"] = ("workflow = :workflow", self.workflow)
        if self.tenant is not None:
            given["tenant"] = ("tenant = :tenant", self.tenant)
        if self.labels:
            given["labels"] = (labelled, json.dumps(dict(self.labels)))
        if self.before is not None:
            given["before"] = ("created_at < :before", self.before.timestamp())
        archived = {False: ["archived_at is null"], True: ["archived_at is not null"], None: []}
        if self.text:
            given["text"] = (_HOLDS_TEXT, f"%{_literal(self.text)}%")
        return (
            [*(condition for condition, _ in given.values()), *archived[self.archived]],
            {name: value for name, (_, value) in given.items()},
        )


def filter_of(
    status: JobStatus | str | None = None,
    workflow: str | None = None,
    tenant: str | None = None,
    labels: Mapping[str, str] | None = None,
    before: datetime | None = None,
    archived: bool | None = False,
) -> Filter:
    """A filter from what a caller gave. Raises ValueError for a status that does not exist."""
    return Filter(
        status=None if status is None else JobStatus(status),
        workflow=workflow,
        tenant=tenant,
        labels=labels or {},
        before=before,
        archived=archived,
    )


def _literal(text: str) -> str:
    """A text in which `like` sees no signs of its own."""
    return re.sub("([!%_])", r"!\1", text)
