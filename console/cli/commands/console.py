"""`ucop console`: jobs on the whole terminal, live."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ...view import streams
from ...view.exits import UsageProblem
from ...view.place import place_of, reader_for
from ..completion import complete_job


def console(
    ctx: typer.Context,
    id: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="Open this job first: its id or the beginning of it.",
            autocompletion=complete_job,
        ),
    ] = None,
) -> None:
    """Show and control jobs in a full-screen terminal, live.

    Keys are shown at the lower edge; ? explains them, q quits. Jobs go on without it.
    """
    place = place_of(ctx)
    terminal = os.environ.get("TERM") not in (None, "", "dumb")
    # Textual draws on stderr.
    used = (sys.stdin, streams.stdout(), sys.stderr)
    if not (terminal and all(stream.isatty() for stream in used)):
        raise UsageProblem(
            "the console needs a terminal that it can draw on; "
            f"`{place.command('jobs list')}` prints the jobs anywhere"
        )
    from ...terminal.source import Source

    source = Source(place)
    if id is not None:
        with reader_for(place, id) as reader:
            id = reader.find(id)
    from ...terminal.app import Console

    raise typer.Exit(Console(source, id).run() or 0)
