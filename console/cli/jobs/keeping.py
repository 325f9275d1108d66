"""`ucop jobs archive`, `delete` and `prune`: how long jobs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import typer

from ucop.engine.jobs.command import TAKES, Command
from ucop.engine.jobs.filter import Filter

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put_json
from ...view.place import Place, place_of
from ...view.tables import Table, plural
from .. import options
from .commands import change
from .wanted import Wanted, ids_of


@options.filtered
def archive(
    ctx: typer.Context,
    id: options.JobIds = None,
    undo: Annotated[bool, typer.Option("--undo", help="Unarchive the jobs.")] = False,
    *,
    filter: Filter,
    dry_run: options.OnlyCount = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Archive ended jobs: hide them from lists. They stay complete."""
    place = place_of(ctx)
    # Of a job that is named by its id it does not matter where it is.
    wanted = Wanted.of(id, replace(filter, archived=undo and not id))
    action = Command.UNARCHIVE if undo else Command.ARCHIVE
    raise typer.Exit(_carry_out(place, action, wanted, dry_run=dry_run, yes=yes, as_json=json))


@options.filtered
def delete(
    ctx: typer.Context,
    id: options.JobIds = None,
    archived: options.Archived = False,
    *,
    filter: Filter,
    dry_run: options.OnlyCount = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Delete ended jobs permanently, with their steps, events and checkpoints."""
    place = place_of(ctx)
    wanted = Wanted.of(id, replace(filter, archived=archived))
    code = _carry_out(place, Command.DELETE, wanted, dry_run=dry_run, yes=yes, as_json=json)
    raise typer.Exit(code)


def prune(
    ctx: typer.Context,
    dry_run: options.OnlyCount = False,
    json: options.Json = False,
) -> None:
    """Apply the rules of `[retention]` in ucop.toml now. Workers apply them in the background."""
    place = place_of(ctx)
    if place.settings.retention.is_none:
        raise UsageProblem(
            'no [retention] is configured: set [retention] in ucop.toml, for example completed = "30d"'
        )
    tidied = place.carry_out(lambda commands: commands.tidy(place.settings.retention, dry_run))
    _tell({rule.value: number for rule, number in tidied.items()}, dry_run=dry_run, as_json=json)
    raise typer.Exit(Exit.OK)


def _carry_out(
    place: Place, action: Command, wanted: Wanted, *, dry_run: bool, yes: bool, as_json: bool
) -> Exit:
    if not dry_run:
        return change(place, action, wanted, yes=yes, as_json=as_json)
    found = ids_of(place, action, wanted, among=TAKES[action], yes=True)
    if as_json:
        put_json(found)
    else:
        table = Table("id")
        table.rows.extend([id] for id in found)
        table.show()
    note(f"would {action} {plural(len(found), 'job')}")
    return Exit.OK


DONE = {"delete": "deleted", "archive": "archived", "prune": "without their old states"}


def _tell(found: Mapping[str, int], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        put_json({rule: found.get(rule, 0) for rule in DONE})
        return
    for rule, number in found.items():
        said = f"{plural(number, 'job')} {DONE[rule]}"
        note(f"would be: {said}" if dry_run else said)
    if not found:
        note("nothing is due")
