"""`ucop events`: what happens to all jobs, in one order."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ...view.exits import Exit
from ...view.jobs.follow import LOOK
from ...view.jobs.lines import event_line
from ...view.output import put
from ...view.place import Place, place_of
from .. import options

if TYPE_CHECKING:
    from ucop.engine.events.subscriptions import Wanted
    from ucop.engine.jobs.job import Event
    from ucop.engine.reading.reader import Reader


def events(
    ctx: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", help="Also print new events until Ctrl-C.")
    ] = False,
    after: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Only events after position N. Default: all; with --follow, new events only.",
        ),
    ] = None,
    type: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE",
            help="Only events of this type, such as job.failed or 'job.*'. May be repeated.",
        ),
    ] = None,
    workflow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only events of jobs of this workflow. May be repeated."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Print events of all jobs, one per line, each after its position."""
    from ucop.engine.events.subscriptions import wanted

    place = place_of(ctx)
    try:
        for event in _events(place, wanted(type, None, workflow), after, follow=follow):
            if not put(
                event.model_dump_json()
                if json
                else event_line(event, str(event.position), event.job_id)
            ):
                return
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


def _events(place: Place, asked: Wanted, after: int | None, *, follow: bool) -> Iterator[Event]:
    from ucop.engine.events.subscriptions import end
    from ucop.engine.reading.reader import NoDatabase

    try:
        with place.reader() as reader:
            since = (reader.ask(end()) if follow else 0) if after is None else after
            yield from _tail(reader, asked, since, follow=follow)
    except NoDatabase:
        if follow:
            raise


def _tail(reader: Reader, asked: Wanted, after: int, *, follow: bool) -> Iterator[Event]:
    from ucop.engine.events.subscriptions import page

    while True:
        found = reader.ask(page(asked, after))
        yield from found.events
        after = found.position
        if not found.events:
            if not follow:
                return
            time.sleep(LOOK)
