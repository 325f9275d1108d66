"""What an engine reads of one job. Operations as in lifecycle.py; reading/reader.py reads for all
others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..errors import JobNotFound
from ..jobs.job import Event, ThreadId, event_of
from ..jobs.run_options import RunOptions, run_options
from ..jobs.status import JobStatus
from .operation import One, Operation

_REST = "select status, reason, output, error from jobs where id = :job"

_EVENTS = """
select job_id, seq, type, at, data, position from events
where job_id = :job and seq > :after order by seq limit :limit"""

_DEFINITION = "select body from definitions where fingerprint = :fingerprint"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job as it was submitted, and how far it is."""

    attempt: int
    checkpoint_id: str | None
    """The last one."""
    thread_id: ThreadId
    fingerprint: str
    """Of its workflow."""
    input: str
    """JSON."""
    run: str
    """See run_options.RunOptions."""

    @property
    def options(self) -> RunOptions:
        return run_options(self.run)


_SUBMITTED = """
select attempt, checkpoint_id, thread_id, fingerprint, input, run from jobs where id = :job"""


def submitted(job: str) -> Operation[Submitted]:
    """Raises JobNotFound."""
    rows = yield One(_SUBMITTED, {"job": job})
    if not rows:
        raise JobNotFound(f"no job {job}")
    return Submitted(**{name: rows[0][name] for name in Submitted.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Rest:
    """Where a job stands and, once it rests, how it ended; texts are JSON."""

    status: JobStatus
    reason: str | None
    output: str | None
    error: str | None


def rest(job: str) -> Operation[Rest]:
    """Raises JobNotFound."""
    rows = yield One(_REST, {"job": job})
    if not rows:
        raise JobNotFound(f"no job {job}")
    row = rows[0]
    return Rest(JobStatus(row["status"]), row["reason"], row["output"], row["error"])


def events(job: str, after: int, limit: int) -> Operation[list[Event]]:
    """Up to `limit` events with numbers above `after`."""
    rows = yield One(_EVENTS, {"job": job, "after": after, "limit": limit})
    return [event_of(row) for row in rows]


def definition(fingerprint: str) -> Operation[dict[str, Any]]:
    """The stored form of a workflow."""
    rows = yield One(_DEFINITION, {"fingerprint": fingerprint})
    body: dict[str, Any] = json.loads(rows[0]["body"])
    return body
