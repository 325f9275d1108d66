"""Named queues: what each allows, as the project's file declares it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from ucop.agents.text.duration import seconds_of

from ..errors import InvalidInput
from ..record import Record

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _queue_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a queue's name has letters, digits, '-', '_' and '.', at most 64")
    return text


def _rate(text: str) -> str:
    rate_of(text)
    return text


QueueName = Annotated[str, AfterValidator(_queue_name)]


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `starts` attempts begin in any `period` seconds."""

    starts: int
    period: float


def rate_of(text: str) -> Rate:
    """`100/1m` as a rate. Raises ValueError."""
    starts, _, period = text.partition("/")
    seconds = seconds_of(period.strip())
    if not starts.strip().isdecimal() or int(starts) < 1 or seconds is None:
        raise ValueError("a rate is a number of jobs and a time, such as 5/1s or 100/1m")
    return Rate(int(starts), seconds)


class QueueLimits(Record):
    """What a queue allows; None is no limit."""

    concurrency: int | None = Field(default=None, ge=1)
    """Jobs that run at the same time, over all workers."""
    worker_concurrency: int | None = Field(default=None, ge=1)
    """Jobs that run at the same time in one worker."""
    rate: Annotated[str, AfterValidator(_rate)] | None = None
    """Attempts that begin in a time, such as `100/1m`: in no stretch of that length more."""
    paused: bool = False
    """Whether nothing of it is claimed. What runs goes on."""

    @property
    def is_limited(self) -> bool:
        """Whether what runs, or ran, must be counted before more may start."""
        return self != QueueLimits(paused=self.paused)

    def changed(self, changes: Mapping[str, Any]) -> QueueLimits:
        """With some values in place of the declared ones. Raises InvalidInput."""
        try:
            return QueueLimits.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
            raise InvalidInput(f"these limits of a queue are invalid: {wrong}") from None


def in_force(
    declared: Mapping[str, QueueLimits], changes: Mapping[str, str]
) -> dict[str, QueueLimits]:
    """The limits of declared queues; `changes` are objects of JSON by queue."""
    return {
        name: limits.changed(json.loads(changes[name])) if name in changes else limits
        for name, limits in declared.items()
    }


def undeclared(name: str, declared: Collection[str]) -> InvalidInput:
    """The error for a queue that the settings do not name."""
    known = ", ".join(sorted(declared))
    return InvalidInput(
        f"there is no queue {name!r}; there is {known}. "
        f"A queue is declared in the project's file: [queues.{name}]"
    )
