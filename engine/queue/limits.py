"""Named queues: what each allows, as settings declare it and as people changed it since."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ucop.agents.text.duration import seconds_of

from ..errors import InvalidInput
from ..jobs.job import Record
from ..ledger.operation import Alone, One, Operation, Row
from ..ledger.records import to_json

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


class QueueLimits(BaseModel):
    """What a queue allows; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

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
            raise InvalidInput(f"a queue cannot be set so: {wrong}") from None


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


# ---------------------------------------------------------------- what people change

_CHANGES = "select changes from queues where name = :name"

_SET = """
insert into queues (name, changes, changed_at) values (:name, :changes, {now})
on conflict (name) do update set changes = excluded.changes, changed_at = excluded.changed_at"""

_RESET = "delete from queues where name = :name"


def change(name: str, declared: QueueLimits, changes: Mapping[str, Any]) -> Operation[None]:
    """Let values hold from now on, for all workers, in place of the declared ones. Raises
    InvalidInput."""
    yield Alone("turns")  # who claims now has counted with the limits of before
    rows = yield One(_CHANGES, {"name": name})
    merged = {**(json.loads(rows[0]["changes"]) if rows else {}), **changes}
    declared.changed(merged)
    yield One(_SET, {"name": name, "changes": to_json(merged)})


def reset(name: str) -> Operation[None]:
    """Let the declared values hold again."""
    yield Alone("turns")
    yield One(_RESET, {"name": name})


# ---------------------------------------------------------------- how they stand


class Backlog(Record):
    """The jobs of a queue, or of one tenant in it, that have not ended."""

    pending: int = 0
    """Those in line."""
    delayed: int = 0
    """Those whose time has not come."""
    running: int = 0
    oldest: float | None = None
    """Seconds for which the first of those in line has been there."""


class TenantBacklog(Backlog):
    """See Backlog."""

    tenant: str | None
    """None: jobs without a tenant."""


class QueueState(Backlog):
    """A queue, what it allows, and what is in it."""

    name: str
    concurrency: int | None = None
    worker_concurrency: int | None = None
    rate: str | None = None
    paused: bool = False
    changed: tuple[str, ...] = ()
    """What people set in place of the declared values."""
    declared: bool = True
    """False: no setting names it, and nobody serves it."""
    tenants: tuple[TenantBacklog, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether as many run as may at the same time."""
        return self.concurrency is not None and self.running >= self.concurrency


def states(
    declared: Mapping[str, QueueLimits],
    changes: Mapping[str, str],
    backlog: Sequence[Row],
    now: float,
) -> list[QueueState]:
    """Queues by name. Rows of `backlog` have `queue`, `tenant`, `what` (pending, delayed or
    running), `jobs` and `since`."""
    limits = in_force({**dict.fromkeys(changes, QueueLimits()), **declared}, changes)
    counts: dict[str, dict[str | None, dict[str, Any]]] = {name: {} for name in declared}
    for row in backlog:
        tenants = counts.setdefault(row["queue"], {})
        counted = tenants.setdefault(row["tenant"], {})
        counted[row["what"]] = row["jobs"]
        if row["since"] is not None:
            counted["oldest"] = max(0.0, now - row["since"])
    return [
        QueueState(
            name=name,
            **limits.get(name, QueueLimits()).model_dump(),
            changed=tuple(sorted(json.loads(changes.get(name, "{}")))),
            declared=name in declared,
            **_sum(counts[name].values()),
            tenants=tuple(
                TenantBacklog(tenant=tenant, **counted)
                for tenant, counted in sorted(counts[name].items(), key=lambda each: each[0] or "")
            ),
        )
        for name in sorted(counts)
    ]


def _sum(tenants: Collection[Mapping[str, Any]]) -> dict[str, Any]:
    ages = [each["oldest"] for each in tenants if "oldest" in each]
    jobs = {
        what: sum(each.get(what, 0) for each in tenants)
        for what in ("pending", "delayed", "running")
    }
    return {**jobs, "oldest": max(ages, default=None)}
