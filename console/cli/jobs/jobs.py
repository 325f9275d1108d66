"""`ucop jobs`: look at jobs, follow them, let them go on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.status import ACTIVE

from ...view.exits import Exit
from ...view.follow import next_steps, nodes_of, report, tail
from ...view.job_facts import facts, lasted, reason_of, remark_on, took
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
    moment,
    short_enough,
)
from .. import options
from ..streaming import modes_for, output_is_shown, show_end, show_parts
from . import commands, keeping, transfer, why
from .answers import answer, inbox

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Job
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
@options.filtered
def list_(
    ctx: typer.Context,
    *,
    filter: Filter,
    archived: options.Archived = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most N.")] = 50,
    json: options.Json = False,
) -> None:
    """List jobs, newest first."""
    place = place_of(ctx)
    filter = replace(filter, archived=archived)
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


# ---------------------------------------------------------------- show


@app.command()
def show(
    ctx: typer.Context,
    id: options.JobId,
    json: options.Json = False,
) -> None:
    """Show one job in full: input, output, steps, usage."""
    place = place_of(ctx)
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


# ---------------------------------------------------------------- events


@app.command()
def events(
    ctx: typer.Context,
    id: options.JobId,
    follow: Annotated[
        bool, typer.Option("--follow", help="Also print new events until the job rests.")
    ] = False,
    after: Annotated[
        int, typer.Option(min=0, metavar="N", help="Only events with a number above N.")
    ] = 0,
    json: options.Json = False,
) -> None:
    """Print a job's events, one per line."""
    place = place_of(ctx)
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
) -> None:
    """Follow a job that another process runs, until it rests.

    Ends like `ucop run`: the output on stdout, and the same exit code.
    """
    place = place_of(ctx)
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
