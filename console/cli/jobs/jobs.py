"""`ucop jobs`: look at jobs, follow them, let them go on."""

from __future__ import annotations

import json as json_text
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.jobs.status import ACTIVE

from ...view.exits import Exit
from ...view.follow import next_steps, nodes_of, report, tail
from ...view.inputs import read_filter
from ...view.lines import event_line
from ...view.output import note, put, put_json, put_records
from ...view.place import Place, place_of, reader_for
from ...view.questions import state_of
from ...view.tables import (
    Column,
    Table,
    count,
    duration,
    first_line,
    limit,
    moment,
    plural,
    short_enough,
)
from .. import options
from ..streaming import modes_for, output_is_shown, show_end, show_parts
from . import commands, keeping, transfer, why
from .answers import answer, inbox

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job, Step
    from ucop.engine.reading.reader import Reader

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Look at jobs and continue them.",
)

app.command()(commands.pause)
app.command()(commands.resume)
app.command()(commands.cancel)
app.command()(commands.retry)
app.command()(why.why)
app.command()(keeping.archive)
app.command()(keeping.delete)
app.command()(keeping.prune)
app.command()(transfer.export)
app.command("import")(transfer.import_)
app.command()(inbox)
app.command()(answer)

SHORT = 12
"""Characters of an id in lists; any unique beginning is understood."""


# ---------------------------------------------------------------- list


@app.command("list")
def list_(
    ctx: typer.Context,
    status: options.Status = None,
    queue: options.OfQueue = None,
    workflow: options.OfWorkflow = None,
    tenant: options.Tenant = None,
    label: options.WithLabels = None,
    older_than: options.OlderThan = None,
    newer_than: options.NewerThan = None,
    archived: options.Archived = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 50,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """List jobs, the newest first."""
    place = place_of(ctx, project, database)
    given = (status, queue, workflow, tenant, label, older_than, newer_than)
    filter = read_filter(*given, archived=archived)
    found = commands.ask_of(place, filter, lambda reader: reader.jobs(filter, limit=limit))
    if json:
        put_records(found)
        return
    if not found:
        note(f"no jobs{' yet' if filter.is_empty else ' like that'}; `ucop run NAME` starts one")
    _jobs_table(found, datetime.now(UTC)).show()


def _jobs_table(jobs: list[Job], now: datetime) -> Table:
    table = Table(
        [
            Column(title="id"),
            Column(title="workflow"),
            Column(title="status", status=True),
            Column(title="created"),
            Column(title="duration", numbers=True),
            Column(title="attempts", numbers=True),
            Column(title="reason", long=True),
        ]
    )
    length = short_enough([job.id for job in jobs], SHORT)
    for job in jobs:
        table.rows.append(
            (
                job.id[:length],
                job.workflow,
                job.status.value,
                moment(job.created_at, now),
                duration(lasted(job, now)),
                str(job.attempt),
                first_line(reason_of(job)),
            )
        )
    return table


def lasted(job: Job, now: datetime) -> float | None:
    """Seconds since it was started, until now or its end."""
    if job.started_at is None:
        return None
    end = job.finished_at or (now if job.status in ACTIVE else None)
    return (end - job.started_at).total_seconds() if end else None


def reason_of(job: Job) -> str:
    """Its error, or why else it stands where it stands."""
    return f"{job.error.type}: {job.error.message}" if job.error else job.reason or ""


# ---------------------------------------------------------------- show


@app.command()
def show(
    ctx: typer.Context,
    id: options.JobId,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Show everything about one job: input, output, steps, what it used."""
    place = place_of(ctx, project, database)
    with reader_for(place, id) as reader:
        job = reader.job(id)
        asked = reader.questions(job.id)
    if json:
        told = [question.model_dump(mode="json") for question in asked]
        put_json({**job.model_dump(mode="json"), "questions": told})
        return
    shown = [*facts(job, datetime.now(UTC)).items()]
    shown += [("question", state_of(question)) for question in asked]
    if all(put(f"{name:<9} {value}") for name, value in shown):
        _steps(job)
    for line in [*next_steps(place, job)[:-2], place.command(f"jobs events {job.id}")]:
        note(f"next: {line}")


def facts(job: Job, now: datetime) -> dict[str, str]:
    """What is known about a job, by name; what it lacks is left out."""
    found: dict[str, Any] = {
        "id": job.id,
        "workflow": job.workflow,
        "status": job.status.value,
        "reason": job.reason,
        "error": job.error and _error(job),
        "created": moment(job.created_at, now),
        "started": moment(job.started_at, now),
        "finished": moment(job.finished_at, now),
        "archived": moment(job.archived_at, now),
        "duration": duration(lasted(job, now)),
        "attempts": str(job.attempt),
        "used": _used(job),
        "budget": _budget(job),
        "key": job.key,
        "labels": " ".join(f"{key}={value}" for key, value in job.labels.items()),
        "notice": job.notice,
        "input": _value(job.input),
        "context": None if job.context is None else _value(job.context),
        "config": _value(job.config) if job.config else None,
        "output": None if job.output is None else _value(job.output),
    }
    return {name: value for name, value in found.items() if value}


def _error(job: Job) -> str:
    assert job.error is not None
    node = f" (node {job.error.node})" if job.error.node else ""
    first = f"{job.error.type}: {job.error.message}{node}"
    return "\n".join([first, *(f"  {line}" for line in job.error.details())])


SHOWN_WAIT = 0.1
"""Shorter waiting for models is not worth a word, in seconds."""


def _used(job: Job) -> str:
    usage = job.usage
    if not usage.model_calls and not usage.cached_calls:
        return ""
    tokens = f"{count(usage.tokens_in)} tokens in, {count(usage.tokens_out)} out"
    cost = f", {usage.cost:.4f} USD" if usage.cost else ""
    cached = f" ({usage.cached_calls} more from the cache)" if usage.cached_calls else ""
    waited = usage.seconds_waited
    wait = f", waited {duration(waited)} for them" if waited >= SHOWN_WAIT else ""
    return f"{plural(usage.model_calls, 'model call')}{cached}, {tokens}{cost}{wait}"


def _budget(job: Job) -> str:
    return ", ".join(limit(name, most) for name, most in job.budget.items())


def _value(value: Any) -> str:
    text = json_text.dumps(value, ensure_ascii=False)
    if len(text) <= 100:
        return text
    return "\n" + "\n".join(
        f"  {line}" for line in json_text.dumps(value, ensure_ascii=False, indent=2).splitlines()
    )


def _steps(job: Job) -> None:
    table = Table(
        [
            Column(title="step"),
            Column(title="status", status=True),
            Column(title="attempt", numbers=True),
            Column(title="time", numbers=True),
            Column(title="calls", numbers=True),
            Column(title="cached", numbers=True),
            Column(title="tokens in", numbers=True),
            Column(title="out", numbers=True),
            Column(title="error", long=True),
        ]
    )
    for step in job.steps:
        table.rows.append(
            (
                step.node,
                step.status.value,
                str(step.attempt),
                duration(took(step)),
                str(step.model_calls),
                str(step.cached + step.cached_calls),
                count(step.tokens_in),
                count(step.tokens_out),
                first_line(remark_on(step)),
            )
        )
    if job.steps and put(""):
        table.show(titles=True)


def remark_on(step: Step) -> str:
    """Its error, whether the job went on after it, how often it was tried, and its warnings."""
    told = step.error.message if step.error else ""
    if step.error and step.error.caught:
        told = f"caught: {told}"
    if step.tries > 1:
        told = f"{step.tries} tries{': ' if told else ''}{told}"
    return "; ".join(part for part in (told, *step.warnings) if part)


def took(step: Step) -> float | None:
    """Seconds that a step ran."""
    if step.started_at is None or step.finished_at is None:
        return None
    return (step.finished_at - step.started_at).total_seconds()


# ---------------------------------------------------------------- events


@app.command()
def events(
    ctx: typer.Context,
    id: options.JobId,
    follow: Annotated[
        bool, typer.Option("--follow", help="Also those to come, until the job rests.")
    ] = False,
    after: Annotated[
        int, typer.Option(min=0, metavar="N", help="Only events with numbers above N.")
    ] = 0,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Print what happened to a job, one event a line."""
    place = place_of(ctx, project, database)
    with reader_for(place, id) as reader:
        for event in tail(reader, reader.find(id), after=after, follow=follow):
            if not put(event.model_dump_json() if json else event_line(event)):
                return


# ---------------------------------------------------------------- watch


@app.command()
def watch(
    ctx: typer.Context,
    id: options.JobId,
    stream: options.Stream = False,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Follow a job that another process runs, until it rests.

    Ends like `ucop run`: the output on stdout, and the same exit code.
    """
    place = place_of(ctx, project, database)
    shown = False
    with reader_for(place, id) as reader:
        id = reader.find(id)
        try:
            if stream:
                shown = _stream(place, id, as_json=json)
            else:
                _watch(place, reader, id)
        except KeyboardInterrupt:
            note(f"job {id} goes on; look again with: {place.command(f'jobs watch {id}')}")
            raise typer.Exit(Exit.INTERRUPTED) from None
        job = reader.job(id)
        if stream and json:
            show_end(job)
        shown = stream and (json or output_is_shown(job, shown))
        raise typer.Exit(report(place, job, as_json=json, shown=shown))


def _stream(place: Place, id: str, *, as_json: bool) -> bool:
    from ..commands.run import open_engine

    with open_engine(place, worker=False) as engine:
        job = engine.job(id)
        shown = show_parts(job.stream(modes_for(as_json=as_json)), as_json=as_json)
        job.wait()
    return shown


def _watch(place: Place, reader: Reader, id: str) -> None:
    from ...view.display import display_for

    job = reader.job(id)
    if job.status in ACTIVE and not reader.workers():
        note(f"no worker is running; start one with: {place.command('worker')}")
    nodes = nodes_of(reader.definition(id))
    with display_for(f"job {id}  {job.workflow}", nodes) as display:
        for event in tail(reader, id):
            display.apply(event)
