"""`ucop worker`: runs queued jobs until it is stopped."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from select import select
from typing import TYPE_CHECKING, Annotated

import typer

from ucop.agents.text.secret_url import shown_url

from ...view.exits import Exit
from ...view.jobs.follow import Interrupts
from ...view.output import note
from ...view.place import place_of
from ..logs import show_activity
from .run import open_engine

if TYPE_CHECKING:
    from ucop.engine import Engine


def worker(
    ctx: typer.Context,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Jobs at the same time."),
    ] = None,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Take only jobs of this queue. May be repeated. Default: all queues.",
        ),
    ] = None,
    while_stdin: Annotated[
        bool, typer.Option("--while-stdin", help="Stop in good order when stdin is closed.")
    ] = False,
) -> None:
    """Run queued jobs in the foreground until Ctrl-C or SIGTERM.

    The first signal lets running nodes end and gives their jobs back; a second stops at once.
    """
    place = place_of(ctx)
    show_activity()
    with Interrupts() as interrupts:
        try:
            serves = tuple(queue) if queue else None
            engine = open_engine(place, worker=True, concurrency=concurrency, serves=serves)
        except KeyboardInterrupt:
            raise typer.Exit(_stopped_by(interrupts)) from None
        try:
            _announce(engine)
            _wait_until_lost(engine, [sys.stdin.fileno()] if while_stdin else [])
        except KeyboardInterrupt:
            note(f"stopping: running nodes have {engine.settings.grace:g} s to end")
        finally:
            engine.close()
    note("stopped")
    raise typer.Exit(Exit.FAILED if engine.lost else _stopped_by(interrupts))


def _announce(engine: Engine) -> None:
    from ucop.engine.langgraph_json import unused

    known = [listing.name for listing in engine.catalog.names()]
    note(
        f"worker on {shown_url(engine.settings.url)}: {engine.settings.concurrency} jobs at a time"
    )
    note(f"queues: {', '.join(engine.settings.served)}")
    note(f"workflows: {', '.join(known) or 'none of its own'}; Ctrl-C stops")
    for remark in unused(engine.settings.root):
        note(f"warning: {remark}")


def _wait_until_lost(engine: Engine, ends: Sequence[int] = ()) -> None:
    """Returns when the worker was declared lost, or when what is written to one of `ends` has
    ended; a signal raises KeyboardInterrupt."""
    from ucop.engine.loop.loop import PULSE

    heard, tell = os.pipe()
    try:
        engine.on_lost = lambda message: _poke(tell, message)
        # In pieces: a signal that comes just before a wait does not wake it.
        while not select([heard, *ends], [], [], PULSE)[0]:
            pass
    finally:
        os.close(heard)


def _poke(pipe: int, message: str) -> None:
    note(message)
    os.write(pipe, b"x")


def _stopped_by(interrupts: Interrupts) -> Exit:
    """SIGTERM is how a supervisor stops a worker, and the end of its parent how `ucop serve` does:
    neither is a failure."""
    return Exit.OK if interrupts.first in (None, signal.SIGTERM) else Exit.INTERRUPTED
