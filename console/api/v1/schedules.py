"""Schedules: workflows that run again and again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime, StrictInt

from ucop.engine.errors import ScheduleNotFound, UnknownWorkflow
from ucop.engine.jobs.job import Job
from ucop.engine.schedules.recurrence import CatchUp
from ucop.engine.schedules.schedules import Overlap, Schedule

from ...view.records import schedule_record
from ..access import Caller, Operates, Reads
from ..parts import Parts, Uses, tenant_for
from ..problems import invalid
from .forms import Amounts, Given, Items, Wait
from .jobs import check_secrets, rested

router = APIRouter(prefix="/schedules", tags=["schedules"])


class ScheduleRecord(Schedule):
    """A schedule, and when it is due."""

    state: str
    """`active`, `paused`, `failed` or `ended`."""
    explanation: str
    """The rule in words."""
    next_times: list[datetime]


class NewSchedule(Given):
    """See Timetable.add."""

    workflow: str
    rule: str
    """Cron, such as `30 6 * * MON-FRI`, or `every 15m`."""
    input: Any = None
    timezone: str = "UTC"
    start: AwareDatetime | None = None
    until: AwareDatetime | None = None
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_limit: StrictInt = 100
    overlap: Overlap = Overlap.ALLOW
    priority: StrictInt = 0
    tenant: str | None = None
    queue: str | None = None
    labels: dict[str, str] | None = None
    budget: Amounts | None = None


@router.get("")
async def list_schedules(parts: Uses, caller: Reads) -> Items[ScheduleRecord]:
    """Schedules: when each is due next, and how it went last."""
    found = await parts.engine.schedules.alist()
    return Items[ScheduleRecord](items=[_record(each) for each in found if _is_seen(caller, each)])


@router.get("/{name}")
async def show_schedule(parts: Uses, caller: Reads, name: str) -> ScheduleRecord:
    """One schedule: its rule in words, its next times, and how it went."""
    return _record(await _seen(parts, caller, name))


@router.put("/{name}")
async def put_schedule(
    parts: Uses,
    caller: Operates,
    name: str,
    form: NewSchedule,
    replace: Annotated[
        bool, Query(description="In the place of another schedule of this name.")
    ] = False,
) -> ScheduleRecord:
    """Run a workflow whenever a rule says so. To put the same again changes nothing; another
    under this name is refused unless it is to be replaced."""
    check_secrets(caller, form)
    if replace:
        await _own_or_new(parts, caller, name)
    given = {**dict(form), "tenant": tenant_for(caller, form.tenant)}
    try:
        added = await parts.engine.schedules.aadd(name, replace=replace, **given)
    except UnknownWorkflow as error:
        raise invalid(str(error), pointer="/workflow") from error
    return _record(added)


@router.delete("/{name}", status_code=204)
async def remove_schedule(parts: Uses, caller: Operates, name: str) -> None:
    """Remove a schedule. Its jobs stay."""
    await _seen(parts, caller, name)
    await parts.engine.schedules.aremove(name)


@router.post("/{name}/pause")
async def pause_schedule(parts: Uses, caller: Operates, name: str) -> ScheduleRecord:
    """Suspend a schedule. Running jobs continue."""
    await _seen(parts, caller, name)
    return _record(await parts.engine.schedules.apause(name))


@router.post("/{name}/resume")
async def resume_schedule(parts: Uses, caller: Operates, name: str) -> ScheduleRecord:
    """Let a paused schedule go on from its next time; the pause is not caught up."""
    await _seen(parts, caller, name)
    return _record(await parts.engine.schedules.aresume(name))


@router.post("/{name}/trigger", status_code=201)
async def trigger_schedule(
    parts: Uses, caller: Operates, name: str, response: Response, wait: Wait = 0
) -> Job:
    """Submit a schedule's job now. Its next time stays."""
    await _seen(parts, caller, name)
    handle = await parts.engine.schedules.atrigger(name)
    response.headers["location"] = f"/api/v1/jobs/{handle.id}"
    return await rested(parts, handle.id, wait)


def _record(schedule: Schedule) -> ScheduleRecord:
    return ScheduleRecord.model_validate(schedule_record(schedule))


def _is_seen(caller: Caller, schedule: Schedule) -> bool:
    return caller.tenant in (None, schedule.terms.get("tenant"))


async def _seen(parts: Parts, caller: Caller, name: str) -> Schedule:
    """Raises ScheduleNotFound, also for one of another tenant."""
    found = await parts.engine.schedules.aget(name)
    if not _is_seen(caller, found):
        raise ScheduleNotFound(f"no schedule {name!r}")
    return found


async def _own_or_new(parts: Parts, caller: Caller, name: str) -> None:
    """Raises ScheduleNotFound for one of another tenant."""
    if any(each.name == name for each in await parts.engine.schedules.alist()):
        await _seen(parts, caller, name)
