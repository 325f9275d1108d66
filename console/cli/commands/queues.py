"""`ucop queues`: what the queues hold, and what they allow from now on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put_records
from ...view.place import Place, place_of
from ...view.tables import Table, count, duration
from .. import options

if TYPE_CHECKING:
    from ucop.engine.queue.limits import Backlog, QueueState


NONE = "none"
"""How a limit is lifted."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="A declared queue.")]


def list_queues(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List queues with their limits and their queued, running and delayed jobs by tenant."""
    from ucop.engine.queue.limits import states

    place = place_of(ctx)
    declared = place.settings.declared
    empty = states(declared, {}, (), 0.0)
    _show(place.ask(lambda reader: reader.queues(declared), empty), as_json=json)


def set_queue(
    ctx: typer.Context,
    name: Name,
    concurrency: Annotated[
        str | None,
        typer.Option(metavar="N|none", help="Jobs at the same time, over all workers."),
    ] = None,
    worker_concurrency: Annotated[
        str | None,
        typer.Option(metavar="N|none", help="Jobs at the same time in one worker."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/TIME|none", help="Maximum job starts in a time, such as 100/1m."),
    ] = None,
    declared: Annotated[
        bool, typer.Option("--declared", help="Go back to the declared values.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Change a queue's limits at once, for all workers.

    It holds in place of what the project declares, until it is changed again.
    """
    given = {"concurrency": concurrency, "worker_concurrency": worker_concurrency, "rate": rate}
    changes = {key: _value(key, text) for key, text in given.items() if text is not None}
    if declared == bool(changes):
        raise UsageProblem("give what is to hold, such as --concurrency 5, or --declared alone")
    place = place_of(ctx)
    raise typer.Exit(_change(place, name, changes or None, json))


def pause(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,
) -> None:
    """Stop starting jobs from a queue. Running jobs continue."""
    place = place_of(ctx)
    raise typer.Exit(_change(place, name, {"paused": True}, json))


def resume(
    ctx: typer.Context,
    name: Name,
    json: options.Json = False,
) -> None:
    """Resume a paused queue."""
    place = place_of(ctx)
    raise typer.Exit(_change(place, name, {"paused": False}, json))


def _value(option: str, text: str) -> int | str | None:
    if text == NONE:
        return None
    if option == "rate":
        return text
    if not text.isdecimal():
        raise UsageProblem(f"--{option.replace('_', '-')} takes a number or none, not {text!r}")
    return int(text)


def _change(place: Place, name: str, changes: Mapping[str, Any] | None, as_json: bool) -> Exit:
    declared = place.settings.declared
    place.carry_out(lambda commands: commands.set_queue(name, changes, declared))
    with place.reader() as reader:
        _show([state for state in reader.queues(declared) if state.name == name], as_json=as_json)
    return Exit.OK


# ---------------------------------------------------------------- shown


def _show(found: list[QueueState], *, as_json: bool) -> None:
    if as_json:
        put_records(found)
        return
    titles = ("queue", "tenant", "state", "pending", "running", "delayed", "oldest", "limits")
    table = Table(
        *titles,
        numbers=["pending", "running", "delayed", "oldest"],
        status=["state"],
        long=["limits"],
    )
    for state in found:
        table.add(state.name, "", _standing(state), *_jobs(state), _limits(state))
        if any(each.tenant for each in state.tenants):
            table.rows.extend(
                [state.name, each.tenant or "-", "", *_jobs(each), ""] for each in state.tenants
            )
    table.show()
    for state in found:
        if not state.declared:
            note(
                f"queue {state.name!r} has jobs but is not declared in the settings, so no worker serves it"
            )


def _standing(state: QueueState) -> str:
    return "paused" if state.paused else "open"


def _jobs(backlog: Backlog) -> Iterator[str]:
    yield from (count(each) for each in (backlog.pending, backlog.running, backlog.delayed))
    yield duration(backlog.oldest)


def _limits(state: QueueState) -> str:
    values: dict[str, Any] = {
        "concurrency": state.concurrency,
        "worker_concurrency": state.worker_concurrency,
        "rate": state.rate,
    }
    return " ".join(
        f"{name.replace('_', '-')}={NONE if value is None else value}"
        + ("*" if name in state.changed else "")
        for name, value in values.items()
        if value is not None or name in state.changed
    )
