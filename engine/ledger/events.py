"""Events of jobs: the one place where they are written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeVar

from ..values.json_text import to_json
from .operation import Many, One, Operation, Row
from .records import NewEvent

T = TypeVar("T")

acting: ContextVar[str | None] = ContextVar("acting", default=None)
"""Who gives the commands of this task, where that is known; see `signed`."""

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


def signed(make: Callable[[], Operation[T]]) -> Callable[[], Operation[T]]:
    """An operation whose events tell, as `by`, who gives the commands of this task."""
    name = acting.get()
    return make if name is None else lambda: _signed(make(), name)


def _signed(operation: Operation[T], name: str) -> Operation[T]:
    rows: Sequence[Row] | None = None
    while True:
        try:
            statement = next(operation) if rows is None else operation.send(rows)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if isinstance(statement, One) and statement.sql is _ADD:
            data = {**json.loads(statement.params["data"]), "by": name}
            statement = One(_ADD, {**statement.params, "data": to_json(data)})
        rows = yield statement
