"""Schedules in the ledger: what is due when, and the submission of it.

A due time submits a job and moves the schedule on in one transaction, a compare-and-set on the
schedule's version: whichever worker comes first submits, the others change nothing, and a worker
that dies has done both or neither. The job has a key made from schedule and time besides.
Operations of the ledger's database, like those in lifecycle.py; `{now}` is the database's clock,
because workers' clocks need not agree about what is due.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field

from ..errors import InvalidInput, ScheduleExists, ScheduleNotFound
from ..jobs.job import JobId, Text
from ..jobs.status import SETTLED
from ..ledger import lifecycle
from ..ledger.operation import One, Operation, Params, Row, clock
from ..ledger.records import NewJob
from ..record import Record, record_of, time_or_none
from ..values.json_text import to_json
from .recurrence import CatchUp, Recurrence, recurrence

LABEL = "schedule"
"""The label of jobs that a schedule submitted; its value is the schedule's name."""


class Overlap(StrEnum):
    """What a due time does while the job of an earlier one has not ended."""

    ALLOW = "allow"
    SKIP = "skip"


class Schedule(Record):
    """When a workflow is to be run, with which input, and how that went so far."""

    name: str
    workflow: str
    """By its name in the project; which definition that is, is looked up at each due time."""
    rule: str
    """Cron, or an interval such as `every 15m`."""
    timezone: str = "UTC"
    anchor: datetime
    """What an interval is counted from."""
    input: Any = Field(default_factory=dict)
    terms: dict[str, Any] = Field(default_factory=dict)
    """What its jobs are submitted with: `priority`, `tenant`, `labels`, `budget`."""
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_limit: int = 100
    overlap: Overlap = Overlap.ALLOW
    ends_at: datetime | None = None
    """Nothing is due after that."""
    paused: bool = False
    next_at: datetime | None = None
    """None while it is paused, or where it comes no more."""
    last_at: datetime | None = None
    """The due time that was seen to last."""
    last_job_id: str | None = None
    skipped: str | None = None
    """Why due times were passed over, the last time that some were."""
    skipped_at: datetime | None = None
    error: str | None = None
    """Why what is due cannot be submitted; None once it was."""
    error_at: datetime | None = None
    created_at: datetime
    version: int
    """Grows with every change."""


class NewSchedule(Record):
    """A schedule as it is asked for. Strict: a number is not a text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Text = Field(min_length=1, max_length=200, pattern=r"^[^\s/]+$")
    workflow: str
    rule: str
    timezone: str
    anchor: float | None
    """None: the moment of adding."""
    input: Any
    terms: dict[str, Any]
    catch_up: CatchUp
    catch_up_limit: int = Field(ge=1, le=10_000)
    overlap: Overlap
    ends_at: float | None


_COLUMNS = """name, workflow, rule, timezone, anchor, input, terms, catch_up, catch_up_limit,
    overlap, ends_at, paused, version, next_at, last_at, last_job_id, skipped, skipped_at, error, error_at,
    created_at"""

_ADD = """
insert into schedules (name, workflow, rule, timezone, anchor, input, terms, catch_up,
    catch_up_limit, overlap, ends_at, paused, version, next_at, created_at)
values (:name, :workflow, :rule, :timezone, :anchor, :input, :terms, :catch_up,
    :catch_up_limit, :overlap, cast(:ends_at as double precision), 0, :version, :next_at, {now})
on conflict (name) do nothing returning name"""

_REPLACE = """
update schedules set workflow = :workflow, rule = :rule, timezone = :timezone, anchor = :anchor,
    input = :input, terms = :terms, catch_up = :catch_up, catch_up_limit = :catch_up_limit,
    overlap = :overlap, ends_at = cast(:ends_at as double precision),
    next_at = case when paused = 0 then cast(:next_at as double precision) end,
    error = null, error_at = null, version = version + 1
where name = :name"""

_ALL = f"select {_COLUMNS} from schedules order by name"  # noqa: S608 - ours
_BY_NAME = f"select {_COLUMNS} from schedules where name = :name"  # noqa: S608
_DUE = f"""
select {_COLUMNS} from schedules where next_at <= :clock order by next_at, name"""  # noqa: S608
_NEXT = "select min(next_at) as next_at from schedules where next_at > :clock"


def add(new: NewSchedule, *, replace: bool = False) -> Operation[Schedule]:
    """Keep a schedule. One that is there already and says the same stays as it is; one that says
    something else raises ScheduleExists, or with `replace` is replaced. Its past, and whether it
    is paused, stay. Raises InvalidInput for one that would never be due."""
    now = yield from clock()
    if new.anchor is None:
        new = new.model_copy(update={"anchor": float(math.floor(now))})
    next_at = first_time(new, now)
    if next_at is None:
        rows = yield One(_BY_NAME, {"name": new.name})
        if not rows or not _says_the_same(_schedule(rows[0]), new):
            raise never_due(new)
    # Not 1: a schedule that was removed and added anew must not pass for the one of before.
    version = int(now * 1000)
    params = {**new.model_dump(mode="json"), "next_at": next_at, "version": version}
    params["input"], params["terms"] = to_json(new.input), to_json(new.terms)
    if not (yield One(_ADD, params)):
        there = yield from get(new.name)
        if not _says_the_same(there, new):
            if not replace:
                raise ScheduleExists(
                    f"there is a schedule {new.name!r} already, and it says something else "
                    f"({there.workflow}, {there.rule!r}); replace it, or take another name"
                )
            yield One(_REPLACE, params)
    return (yield from get(new.name))


def first_time(new: NewSchedule, now: float) -> float | None:
    """When it is due first, None where that is never."""
    anchor = math.floor(now) if new.anchor is None else new.anchor
    return recurrence(new.rule, new.timezone, anchor, new.ends_at).after(now)


def never_due(new: NewSchedule) -> InvalidInput:
    ends = "" if new.ends_at is None else f": it ends at {told(new.ends_at)}"
    return InvalidInput(f"the schedule {new.name!r} would never be due ({new.rule!r}){ends}")


def _says_the_same(there: Schedule, new: NewSchedule) -> bool:
    # The anchor is the moment of adding, unless someone names it: only an interval has a use of it.
    names = set(NewSchedule.model_fields) - {"anchor", "ends_at"}
    same = there.model_dump(include=names) == new.model_dump(include=names)
    return same and there.ends_at == time_or_none(new.ends_at)


def listed() -> Operation[list[Schedule]]:
    """Every schedule, by name."""
    return [_schedule(row) for row in (yield One(_ALL, {}))]


def get(name: str) -> Operation[Schedule]:
    """Raises ScheduleNotFound."""
    rows = yield One(_BY_NAME, {"name": name})
    if not rows:
        raise ScheduleNotFound(
            f"no schedule {name!r}; `ucop schedules list` shows the schedules there are"
        )
    return _schedule(rows[0])


def due() -> Operation[tuple[list[Schedule], float, float]]:
    """The schedules whose time has come, the seconds until the next of the others, and the
    database's clock."""
    now = yield from clock()
    found = [_schedule(row) for row in (yield One(_DUE, {"clock": now}))]
    comes = (yield One(_NEXT, {"clock": now}))[0]["next_at"]
    return found, math.inf if comes is None else comes - now, now


# ---------------------------------------------------------------- what a person changes

_PAUSE = """
update schedules set paused = 1, next_at = null, version = version + 1
where name = :name and paused = 0"""

_RESUME = """
update schedules set paused = 0, next_at = :next_at, error = null, error_at = null,
    version = version + 1
where name = :name and paused = 1 and version = :version"""

_REMOVE = "delete from schedules where name = :name returning name"


def pause(name: str) -> Operation[Schedule]:
    """From now on nothing is due. Raises ScheduleNotFound."""
    yield One(_PAUSE, {"name": name})
    return (yield from get(name))


def resume(name: str) -> Operation[Schedule]:
    """Due again, at its next time from now on; what came meanwhile is not caught up. Raises
    ScheduleNotFound."""
    found = yield from get(name)
    while found.paused:
        # Its rule may be replaced at the same moment: then that one's next time counts.
        next_at = recurrence_of(found).after((yield from clock()))
        yield One(_RESUME, {"name": name, "next_at": next_at, "version": found.version})
        found = yield from get(name)
    return found


def remove(name: str) -> Operation[None]:
    """Its jobs stay. Raises ScheduleNotFound."""
    if not (yield One(_REMOVE, {"name": name})):
        yield from get(name)


_TRIGGERED = """
update schedules set last_job_id = :job, version = version + 1 where name = :name returning name"""


def trigger(name: str, job: NewJob) -> Operation[JobId]:
    """Submit a schedule's job now; its next time stays. Raises ScheduleNotFound."""
    id, _ = yield from lifecycle.submit(job)
    if not (yield One(_TRIGGERED, {"name": name, "job": id})):
        yield from get(name)
    return id


# ---------------------------------------------------------------- what a worker does about it

_MOVE = """
update schedules set next_at = :next_at, error = null, error_at = null,
    last_at = coalesce(cast(:due as double precision), last_at),
    skipped = coalesce(cast(:skipped as text), skipped),
    skipped_at = case when cast(:skipped as text) is null then skipped_at
        else {now} end,
    version = version + 1
where name = :name and version = :version returning last_job_id"""

_UNSETTLED = """
select status from jobs where id = :job and status not in ({settled})""".format(
    settled=", ".join(f"'{status.value}'" for status in sorted(SETTLED))
)

_NOTE_SKIPPED = """
update schedules set skipped = :skipped, skipped_at = {now} where name = :name"""

_NOTE_JOB = "update schedules set last_job_id = :job where name = :name"


@dataclass(frozen=True, slots=True)
class Fired:
    """What became of a due time: a job, or why there is none."""

    job: JobId | None
    skipped: str | None = None


def fire(
    schedule: Schedule,
    due: float,
    next_at: float | None,
    job: NewJob,
    *,
    skipped: str | None = None,
) -> Operation[Fired | None]:
    """Submit the job of a due time, and move the schedule on to the next; None where the schedule
    is no longer as it was read, because another worker was there first, or a person changed it.

    `skipped` tells of times before this one that were passed over. Raises KeyConflict where the
    key that schedule and time make belongs to another job.
    """
    name = schedule.name
    moved = yield from _move(schedule, due, next_at, skipped)
    if moved is None:
        return None
    last = moved["last_job_id"]
    if schedule.overlap is Overlap.SKIP and last is not None:
        open_one = yield One(_UNSETTLED, {"job": last})
        if open_one:
            why = f"skipped the run due at {told(due)}: job {last} is still {open_one[0]['status']}"
            yield One(_NOTE_SKIPPED, {"name": name, "skipped": why})
            return Fired(None, why)
    id, _ = yield from lifecycle.submit(job)
    yield One(_NOTE_JOB, {"name": name, "job": id})
    return Fired(id, skipped)


def skip(schedule: Schedule, due: float | None, next_at: float | None, why: str) -> Operation[bool]:
    """Move a schedule on without a job; False where it is no longer as it was read."""
    return (yield from _move(schedule, due, next_at, why)) is not None


def _move(
    schedule: Schedule, due: float | None, next_at: float | None, skipped: str | None
) -> Operation[Row | None]:
    params: Params = {
        "name": schedule.name,
        "version": schedule.version,
        "next_at": next_at,
        "due": due,
        "skipped": skipped,
    }
    rows = yield One(_MOVE, params)
    return rows[0] if rows else None


_BLAME = """
update schedules set error = :error, error_at = {now}
where name = :name and version = :version and (error is null or error <> :error)
returning name"""


def blame(schedule: Schedule, error: str) -> Operation[bool]:
    """Note why what is due cannot be submitted; it stays due. True where that is news."""
    params = {"name": schedule.name, "version": schedule.version, "error": error}
    return bool((yield One(_BLAME, params)))


def key_of(name: str, due: float) -> str:
    """The key of the job of a due time."""
    return f"schedule/{name}/{told(due)}"


def told(time: float) -> str:
    """A due time as keys and messages have it, in UTC."""
    at = datetime.fromtimestamp(time, UTC)
    text = at.isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def labelled(terms: Mapping[str, Any], name: str) -> dict[str, str]:
    """The labels of a schedule's jobs."""
    return {**terms.get("labels", {}), LABEL: name}


def _schedule(row: Row) -> Schedule:
    return record_of(Schedule, row, input=json.loads(row["input"]), terms=json.loads(row["terms"]))


def recurrence_of(schedule: Schedule) -> Recurrence:
    """Its rule, as far as it goes."""
    ends_at = None if schedule.ends_at is None else schedule.ends_at.timestamp()
    return recurrence(schedule.rule, schedule.timezone, schedule.anchor.timestamp(), ends_at)
