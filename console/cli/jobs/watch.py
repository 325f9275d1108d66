"""`ucop jobs watch` and `ucop jobs events`: follow one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ucop.engine.jobs.status import ACTIVE

from ...view.exits import Exit
from ...view.jobs.follow import nodes_of, report, tail
from ...view.jobs.lines import event_line
from ...view.output import note, put
from ...view.place import Place, place_of, reader_for
from .. import options
from ..streaming import modes_for, output_is_shown, show_end, show_parts

if TYPE_CHECKING:
    from ucop.engine.reading.reader import Reader


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
    from ...view.jobs.display import display_for

    job = reader.job(id)
    if job.status in ACTIVE and not reader.workers():
        note(f"no worker is running; start one with: {place.command('worker')}")
    nodes = nodes_of(reader.definition(id))
    with display_for(f"job {id}  {job.workflow}", nodes) as display:
        for event in tail(reader, id):
            display.apply(event)
