"""`ucop schedules`: run workflows again and again, and see when."""

from __future__ import annotations

import json as json_text
import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.jobs.run_options import masked

from ...view.inputs import pairs, read_budget, read_input, read_moment
from ...view.output import note, put, put_json
from ...view.place import Place, place_of
from ...view.records import next_times, schedule_record, schedule_state, schedule_words
from ...view.tables import Table, first_line, moment, on_terminal
from .. import options
from ..given import Given

if TYPE_CHECKING:
    from ucop.engine.ledger.records import NewJob
    from ucop.engine.schedules.schedules import Schedule
    from ucop.graphs.workflow import Workflow


@options.with_given
def add(
    ctx: typer.Context,
    name: options.ScheduleName,
    workflow: Annotated[
        str, typer.Argument(metavar="WORKFLOW", help="A workflow of the project, by name.")
    ],
    rule: Annotated[
        str,
        typer.Argument(metavar="RULE", help="Cron, such as '30 6 * * MON-FRI', or 'every 15m'."),
    ],
    input: options.Inputs = None,
    input_file: options.InputFile = None,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="The time zone that cron is read in.")
    ] = "UTC",
    start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="What an interval is counted from, such as 2026-11-28 or 2026-11-28T18:00 (in "
            "UTC). Default: now.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="The last time at which it may be due; then it has ended."
        ),
    ] = None,
    catch_up: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="What to run of times at which no worker was there: none, latest or all.",
        ),
    ] = "latest",
    catch_up_limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many `all` runs at most: the newest.")
    ] = 100,
    overlap: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="While the last job has not ended: allow another, or skip the time.",
        ),
    ] = "allow",
    priority: options.Priority = 0,
    tenant: options.OfTenant = None,
    queue: options.Queue = None,
    label: options.Labels = None,
    budget: options.Budget = None,
    *,
    given: Given,
    replace: Annotated[
        bool, typer.Option("--replace", help="In the place of another schedule of this name.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Run a workflow whenever a rule says so. Workers see to it."""
    place = place_of(ctx)
    found = place.catalog.find(workflow)
    data = read_input(found, input or (), input_file)
    terms: dict[str, Any] = {
        "priority": priority,
        "tenant": tenant,
        "queue": queue,
        "labels": pairs(label or (), "--label"),
        "budget": read_budget(budget or ()),
        **given.read(lambda: found.context_fields),
    }
    times: dict[str, Any] = {
        "timezone": timezone,
        "start": None if start is None else read_moment(start, "--start"),
        "until": None if until is None else read_moment(until, "--until"),
        "catch_up": catch_up,
        "catch_up_limit": catch_up_limit,
        "overlap": overlap,
    }
    added = _add(place, (name, workflow, rule, data), times, terms, replace=replace)
    _tell(place, added, as_json=json)


def list_(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List schedules: when each is due next, and how it went last."""
    found = _all(place_of(ctx))
    if json:
        put_json([schedule_record(schedule) for schedule in found])
        return
    if not found:
        note("no schedules; `ucop schedules add NAME WORKFLOW RULE` adds one")
    names = ("name", "workflow", "rule", "state", "next", "last job")
    table = Table(*names, "remark", long=["remark"])
    for schedule in found:
        table.add(
            schedule.name,
            schedule.workflow,
            _rule(schedule),
            schedule_state(schedule),
            _when(schedule.next_at),
            schedule.last_job_id or "",
            first_line(schedule.error or schedule.skipped),
        )
    table.show()


def show(
    ctx: typer.Context,
    name: options.ScheduleName,
    json: options.Json = False,
) -> None:
    """Show a schedule: its rule in words, its next times, and how it went."""
    place = place_of(ctx)
    _tell(place, _one(place, name), as_json=json)


def pause(
    ctx: typer.Context,
    name: options.ScheduleName,
    json: options.Json = False,
) -> None:
    """Suspend a schedule. Running jobs continue."""
    from ucop.engine.schedules import schedules

    place = place_of(ctx)
    _one(place, name)
    _tell(place, place.write(lambda: schedules.pause(name)), as_json=json)


def resume(
    ctx: typer.Context,
    name: options.ScheduleName,
    json: options.Json = False,
) -> None:
    """Let a paused schedule go on from its next time; the pause is not caught up."""
    from ucop.engine.schedules import schedules

    place = place_of(ctx)
    _one(place, name)
    _tell(place, place.write(lambda: schedules.resume(name)), as_json=json)


def trigger(
    ctx: typer.Context,
    name: options.ScheduleName,
    json: options.Json = False,
) -> None:
    """Submit a schedule's job now, and print its id. Its next time stays."""
    from ucop.engine.schedules import schedules
    from ucop.engine.schedules.timetable import job_of

    place = place_of(ctx)
    schedule, make = _one(place, name), partial(_job_of, place)
    new = job_of(place.catalog.find, make, schedule)
    id = place.write(lambda: schedules.trigger(name, new))
    with place.reader() as reader:
        job = reader.job(id)
    if json:
        put_json(job.model_dump(mode="json"))
        return
    put(job.id)
    note(f"follow it with: {place.command(f'jobs watch {job.id}')}")


def remove(
    ctx: typer.Context,
    name: options.ScheduleName,
    json: options.Json = False,
) -> None:
    """Remove a schedule. Its jobs stay."""
    from ucop.engine.schedules import schedules

    place = place_of(ctx)
    there = _one(place, name)
    place.write(lambda: schedules.remove(name))
    if json:
        put_json(schedule_record(there))
    else:
        note(f"schedule {name} is removed; its jobs stay")


# ---------------------------------------------------------------- reading and changing


def _add(
    place: Place,
    new: tuple[str, str, str, Any],
    times: Mapping[str, Any],
    terms: Mapping[str, Any],
    *,
    replace: bool,
) -> Schedule:
    """Check everything that can be wrong before a database is opened, let alone made."""
    from ucop.engine.schedules import schedules
    from ucop.engine.schedules.timetable import checked_schedule, kept_terms

    from .run import terms_of

    terms_of(place, **terms)
    kept = kept_terms(**terms)
    checked = checked_schedule(
        place.catalog.find, partial(_job_of, place), *new, **times, terms=kept
    )
    if schedules.first_time(checked, time.time()) is None and checked.name not in {
        one.name for one in _all(place)
    }:
        raise schedules.never_due(checked)
    return place.write(lambda: schedules.add(checked, replace=replace))


def _job_of(place: Place, workflow: Workflow, input: Any, **terms: Any) -> NewJob:
    from ucop.engine.workflows.submission import job_of

    return job_of(workflow, input, place.settings, **terms)


def _all(place: Place) -> list[Schedule]:
    from ucop.engine.schedules.schedules import listed

    return place.read(listed())


def _one(place: Place, name: str) -> Schedule:
    """Raises ScheduleNotFound, also where there is no database yet: reading makes none."""
    from ucop.engine.errors import ScheduleNotFound
    from ucop.engine.reading.reader import NoDatabase
    from ucop.engine.schedules.schedules import get

    try:
        with place.reader() as reader:
            return reader.ask(get(name))
    except NoDatabase as error:
        raise ScheduleNotFound(f"no schedule {name!r}: {error}") from error


# ---------------------------------------------------------------- telling


def _tell(place: Place, schedule: Schedule, *, as_json: bool) -> None:
    if as_json:
        put_json(schedule_record(schedule))
        return
    terms = masked(schedule.terms)
    facts = {
        "name": schedule.name,
        "workflow": schedule.workflow,
        "rule": _rule(schedule),
        "means": schedule_words(schedule),
        "state": schedule_state(schedule),
        "next": "\n          ".join(_when(at) for at in next_times(schedule)),
        "last": _when(schedule.last_at),
        "last job": schedule.last_job_id,
        "error": schedule.error,
        "skipped": schedule.skipped,
        "input": json_text.dumps(schedule.input, ensure_ascii=False),
        "terms": json_text.dumps(terms, ensure_ascii=False) if terms else "",
        "catch-up": _catch_up(schedule),
        "overlap": schedule.overlap.value,
    }
    for name, value in facts.items():
        if value and not put(f"{name:<9} {value}"):
            return
    _warn(place, schedule)


def _warn(place: Place, schedule: Schedule) -> None:
    if schedule.paused:
        note(f"it is paused; resume it with: {place.command(f'schedules resume {schedule.name}')}")
        return
    with place.reader() as reader:
        if not reader.workers():
            note(f"no worker is running; start one with: {place.command('worker')}")


def _rule(schedule: Schedule) -> str:
    return schedule.rule if schedule.timezone == "UTC" else f"{schedule.rule} ({schedule.timezone})"


def _catch_up(schedule: Schedule) -> str:
    bound = f" (at most {schedule.catch_up_limit})" if schedule.catch_up == "all" else ""
    return f"{schedule.catch_up}{bound}"


def _when(at: datetime | None) -> str:
    """A time to come is of no use as how long ago it was."""
    if at is None:
        return ""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S %z") if on_terminal() else moment(at)
