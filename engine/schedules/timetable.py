"""`engine.schedules`: what people do with schedules."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from ucop.agents.text.duration import LONGEST

from ..errors import InvalidInput
from ..jobs.run_options import names_secrets
from ..ledger.events import signed
from ..ledger.records import NewJob
from ..loop.twins import aside, awaited, on_loop, waited
from ..values.inputs import json_input
from . import schedules
from .recurrence import CatchUp, recurrence
from .schedules import NewSchedule, Overlap, Schedule, labelled

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow

    from ..database.database import Database
    from ..handle import JobHandle
    from ..jobs.job import JobId
    from ..ledger.operation import Operation
    from ..loop.loop import LoopThread

T = TypeVar("T")

Find = Callable[[str], "Workflow"]
"""A workflow of the project, by name."""
Make = Callable[..., NewJob]
"""A job as `Engine.submit` would make it: of a workflow, an input, and terms by keyword."""


class Timetable:
    """Adds, changes and reads schedules. Workers submit what is due.

    Every method has an `a…` twin. Get one as `Engine.schedules`.
    """

    def __init__(
        self,
        database: Database,
        loop: LoopThread,
        *,
        find: Find,
        make: Make,
        handle: Callable[[JobId], JobHandle],
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called on the loop when a schedule or a job was written."""
        self._database, self._loop = database, loop
        self._find, self._make, self._handle, self._changed = find, make, handle, changed

    @waited
    async def add(
        self,
        name: str,
        workflow: str,
        rule: str,
        input: Any = None,
        *,
        timezone: str = "UTC",
        start: datetime | None = None,
        until: datetime | None = None,
        catch_up: CatchUp | str = CatchUp.LATEST,
        catch_up_limit: int = 100,
        overlap: Overlap | str = Overlap.ALLOW,
        priority: int = 0,
        tenant: str | None = None,
        queue: str | None = None,
        labels: Mapping[str, str] | None = None,
        budget: Mapping[str, float | str] | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
        thread_id: str | None = None,
        replace: bool = False,
    ) -> Schedule:
        """Run a workflow of the project again and again. To add the same again changes nothing.

        Args:
            rule: Cron (`30 6 * * MON-FRI`; six fields begin with seconds), or `every 15m`.
            timezone: The IANA zone that a cron rule is read in.
            start: What an interval is counted from; default: now.
            until: The last moment at which it may be due; then it has ended.
            catch_up: What becomes of times at which no worker was there: `latest` runs the newest,
                `all` each, `none` no one that is older than a minute.
            catch_up_limit: How many `all` runs at most: the newest.
            overlap: `skip` passes a time over while the last job has not ended.
            priority, tenant, queue, labels, budget, context, config, thread_id: As in
                `Engine.submit`; each job also gets the label `schedule` with the schedule's name.
            replace: Put it in the place of another schedule of this name.

        Raises UnknownWorkflow, InvalidDefinition and InvalidInput as a submit now would, for a
        rule or zone that is none, or where it would never be due, ScheduleExists, and
        ThreadNotFound for the thread of another tenant.
        """
        new = await aside(
            checked_schedule,
            self._find,
            self._make,
            name,
            workflow,
            rule,
            input,
            timezone=timezone,
            start=start,
            until=until,
            catch_up=catch_up,
            catch_up_limit=catch_up_limit,
            overlap=overlap,
            terms=kept_terms(priority, tenant, queue, labels, budget, context, config, thread_id),
        )
        return await on_loop(
            self._loop, self._changing(lambda: schedules.add(new, replace=replace))
        )

    aadd = awaited(add)

    @waited
    async def list(self) -> Sequence[Schedule]:
        """Every schedule, by name."""
        return await on_loop(self._loop, self._database.read(schedules.listed))

    alist = awaited(list)

    @waited
    async def get(self, name: str) -> Schedule:
        """One schedule. Raises ScheduleNotFound."""
        return await on_loop(self._loop, self._database.read(lambda: schedules.get(name)))

    aget = awaited(get)

    @waited
    async def pause(self, name: str) -> Schedule:
        """Nothing is due until it is resumed. Raises ScheduleNotFound."""
        return await on_loop(self._loop, self._database.write(lambda: schedules.pause(name)))

    apause = awaited(pause)

    @waited
    async def resume(self, name: str) -> Schedule:
        """Due again, from its next time on: what came while it was paused is not caught up.
        Raises ScheduleNotFound."""
        return await on_loop(self._loop, self._changing(lambda: schedules.resume(name)))

    aresume = awaited(resume)

    @waited
    async def trigger(self, name: str) -> JobHandle:
        """Submit its job now, paused or not; its next time stays. Raises ScheduleNotFound, and
        what `Engine.submit` raises."""
        schedule = await on_loop(self._loop, self._database.read(lambda: schedules.get(name)))
        job = await aside(self.job_of, schedule)
        return self._handle(
            await on_loop(self._loop, self._changing(lambda: schedules.trigger(name, job)))
        )

    atrigger = awaited(trigger)

    @waited
    async def remove(self, name: str) -> None:
        """Nothing is due any more; its jobs stay. Raises ScheduleNotFound."""
        await on_loop(self._loop, self._database.write(lambda: schedules.remove(name)))

    aremove = awaited(remove)

    # ------------------------------------------------------------ for the scheduler

    def job_of(self, schedule: Schedule, key: str | None = None) -> NewJob:
        """A schedule's job, with the workflow that the project has now. Raises as `submit`."""
        return job_of(self._find, self._make, schedule, key)

    async def _changing(self, make: Callable[[], Operation[T]]) -> T:
        """Write what may be due at once."""
        result = await self._database.write(signed(make))
        self._changed()
        return result


def job_of(find: Find, make: Make, schedule: Schedule, key: str | None = None) -> NewJob:
    """A schedule's job, with the workflow that the project has now. Raises as `submit`."""
    terms = {**schedule.terms, "labels": labelled(schedule.terms, schedule.name)}
    return make(find(schedule.workflow), schedule.input, key=key, **terms)


def checked_schedule(
    find: Find,
    make: Make,
    name: str,
    workflow: str,
    rule: str,
    input: Any,
    *,
    timezone: str,
    start: datetime | None,
    until: datetime | None,
    catch_up: CatchUp | str,
    catch_up_limit: int,
    overlap: Overlap | str,
    terms: dict[str, Any],
) -> NewSchedule:
    """What is asked for, as it is kept, checked as a submission of now would be. Raises as
    `Timetable.add`, but ScheduleExists."""
    found = find(workflow)
    if terms.get("context") is not None:
        terms = {**terms, "context": found.accept_context(terms["context"], names_secrets)}
    anchor = None if start is None else _moment(start, "start")
    kept_input = json_input(found, input)
    given = {
        "name": name,
        "workflow": workflow,
        "rule": rule,
        "timezone": timezone,
        "anchor": anchor,
        "input": {} if kept_input is None else kept_input,
        "terms": terms,
        "catch_up": _one_of(CatchUp, catch_up, "catch_up"),
        "catch_up_limit": catch_up_limit,
        "overlap": _one_of(Overlap, overlap, "overlap"),
        "ends_at": None if until is None else _moment(until, "until"),
    }
    recurrence(rule, timezone, anchor or 0.0)  # raises for one that is none
    try:
        new = NewSchedule.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()
        )
        raise InvalidInput(f"the schedule cannot be kept so: {wrong}") from None
    make(found, new.input, **{**terms, "labels": labelled(terms, name)})
    return new


def kept_terms(
    priority: int,
    tenant: str | None,
    queue: str | None,
    labels: Mapping[str, str] | None,
    budget: Mapping[str, float | str] | None,
    context: Any = None,
    config: Mapping[str, Any] | None = None,
    thread_id: str | None = None,
) -> dict[str, Any]:
    """What is to be kept of the terms: those that say something."""
    given = {
        "priority": priority,
        "tenant": tenant,
        "queue": queue,
        "labels": dict(labels or {}),
        "budget": dict(budget or {}),
        "context": context,
        "config": dict(config or {}),
        "thread_id": thread_id,
    }
    return {name: value for name, value in given.items() if value}


def _moment(at: datetime, name: str) -> float:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidInput(f"{name}: must be a datetime with a time zone, not {at!r}")
    if at.timestamp() - time.time() > LONGEST:
        raise InvalidInput(f"{name}: must be within a thousand years, not {at!r}")
    return at.timestamp()


def _one_of(kind: type[T], given: Any, name: str) -> T:
    try:
        return kind(given)  # type: ignore[call-arg]
    except ValueError:
        known = ", ".join(repr(str(one)) for one in kind)  # type: ignore[attr-defined]
        raise InvalidInput(f"{name} must be one of {known}, not {given!r}") from None
