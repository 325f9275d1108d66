"""Events of jobs: the one place where they are written."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..values.json_text import to_json
from .operation import Many, One
from .records import NewEvent

_ADD = """
insert into events (job_id, seq, type, at, data)
values (:job, :seq, :type, {now} - :ago, :data)"""


def event(job: str, seq: int, type: str, data: Mapping[str, Any] | None = None) -> One:
    """Write what happens to a job in this transaction; `seq` is the event's number."""
    params = {"job": job, "seq": seq, "type": type, "ago": 0.0}
    return One(_ADD, {**params, "data": to_json(data or {})})


def noted_events(job: str, first: int, events: Sequence[NewEvent]) -> Many:
    """Write what an attempt noted, numbered from `first`."""
    moment = time.monotonic()
    return Many(
        _ADD,
        [
            {"job": job, "seq": seq, "type": e.type, "ago": moment - e.at, "data": e.data}
            for seq, e in enumerate(events, first)
        ],
    )
