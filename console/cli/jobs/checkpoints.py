"""`ucop checkpoints`: look at what a job saved, and go on from there."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.errors import RefusedChange

from ...view.exits import Exit
from ...view.inputs import read_age, read_filter
from ...view.jobs.checkpoints import chosen, differences, pair, tree
from ...view.jobs.questions import JOB
from ...view.output import note, put, put_json
from ...view.place import place_of, reader_for
from ...view.tables import Table, first_line, moment, plural, short_enough
from .. import options
from .wanted import Wanted, ids_of

if TYPE_CHECKING:
    from ucop.engine.commands.commands import Commands
    from ucop.engine.jobs.job import Checkpoint


SHORT = 18
"""Characters of an id in lists: those before tell only the minute."""
WIDE = 200
"""Characters of a value before it is cut."""

CheckpointId = Annotated[
    str,
    typer.Argument(metavar="CHECKPOINT", help="The checkpoint's id, or the beginning of it."),
]
Maybe = Annotated[
    str | None,
    typer.Argument(
        metavar="[CHECKPOINT]",
        help="The checkpoint's id, or the beginning of it. Default: the last.",
    ),
]


# ---------------------------------------------------------------- list


def list_(
    ctx: typer.Context,
    id: options.JobId,
    json: options.Json = False,
) -> None:
    """List a job's checkpoints, as a tree if the job was restored."""
    place = place_of(ctx)
    with reader_for(place, id) as reader:
        whole = reader.find(id)
        found, forks = reader.checkpoints(whole), reader.forks(whole)
    if json:
        put_json([_record(checkpoint) for checkpoint in found])
        return
    _table(found, forks).show()
    if found:
        note(f"next: {place.command(f'checkpoints show {whole} CHECKPOINT')}")


def _record(checkpoint: Checkpoint) -> dict[str, Any]:
    return checkpoint.model_dump(mode="json", exclude={"values"})


def _table(found: Sequence[Checkpoint], forks: Sequence[tuple[str, str]]) -> Table:
    now = datetime.now(UTC)
    table = Table("checkpoint", "step", "ran", "due", "saved", "forks", numbers=["step"])
    length = short_enough([checkpoint.id for checkpoint in found], SHORT)
    for depth, checkpoint in tree(found):
        table.add(
            "│ " * depth + checkpoint.id[:length],
            str(checkpoint.step),
            ", ".join(checkpoint.nodes),
            ", ".join(checkpoint.next),
            moment(checkpoint.created_at, now),
            ", ".join(job[:JOB] for job, at in forks if at == checkpoint.id),
        )
    return table


# ---------------------------------------------------------------- show


def show(
    ctx: typer.Context,
    id: options.JobId,
    checkpoint: Maybe = None,
    full: Annotated[bool, typer.Option("--full", help="Print long values in full.")] = False,
    json: options.Json = False,
) -> None:
    """Show one checkpoint; long values are cut."""
    place = place_of(ctx)
    with reader_for(place, id) as reader:
        whole = reader.find(id)
        found = chosen(reader.checkpoints(whole), whole, checkpoint)
    if json:
        put_json(found.model_dump(mode="json"))
        return
    facts = {
        "id": found.id,
        "parent": found.parent_id,
        "step": str(found.step),
        "ran": ", ".join(found.nodes),
        "due": ", ".join(found.next),
        "saved": moment(found.created_at),
    }
    lines = [f"{name:<7} {value}" for name, value in facts.items() if value]
    lines += [f"{name}: {_text(value, full)}" for name, value in found.values.items()]
    if all(put(line) for line in lines):
        note(f"next: {place.command(f'checkpoints fork {whole} {found.id}')}")


def _text(value: Any, full: bool) -> str:
    text = value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)
    return text if full else first_line(text, WIDE)


# ---------------------------------------------------------------- diff


def diff(
    ctx: typer.Context,
    id: options.JobId,
    first: CheckpointId,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="[CHECKPOINT]", help="The other checkpoint. Default: the previous one."
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print long values in full.")] = False,
    json: options.Json = False,
) -> None:
    """Show the differences between two checkpoints."""
    place = place_of(ctx)
    with reader_for(place, id) as reader:
        whole = reader.find(id)
        found = reader.checkpoints(whole)
    before, after = pair(found, whole, first, second)
    changes = [
        {"path": path, "before": old, "after": new} for path, old, new in differences(before, after)
    ]
    if json:
        put_json(changes)
        return
    for change in changes:
        old, new = _text(change["before"], full), _text(change["after"], full)
        if not put(f"{change['path']}\n  - {old}\n  + {new}"):
            return
    if not changes:
        note("the states are the same")


# ---------------------------------------------------------------- prune


def prune(
    ctx: typer.Context,
    id: options.JobIds = None,
    keep: Annotated[
        int, typer.Option(min=1, metavar="N", help="Keep the newest N of each job.")
    ] = 1,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only those that were saved longer ago, such as 90s, 30m, 2h or 7d, or before a "
            "date.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; delete nothing.")] = False,
    status: options.Status = None,
    queue: options.OfQueue = None,
    workflow: options.OfWorkflow = None,
    tenant: options.Tenant = None,
    label: options.WithLabels = None,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Delete old checkpoints. The newest, and those that jobs need, are kept."""
    from ucop.engine.ledger.pruning import Pruning

    place = place_of(ctx)
    wanted = Wanted.of(id, read_filter(status, queue, workflow, tenant, label, None, None))
    before = None if older_than is None else read_age(older_than, "--older-than")
    found = ids_of(place, "prune the checkpoints of", wanted, yes=yes or dry_run)
    pruning = Pruning(keep=keep, before=None if before is None else before.timestamp())
    pruned: dict[str, int] = {}
    refused: list[str] = []

    async def prune_each(commands: Commands) -> None:
        for each in found:
            try:
                pruned[each] = await commands.prune(each, pruning, dry_run)
            except RefusedChange as error:
                refused.append(str(error))

    place.carry_out(prune_each)
    if json:
        put_json([{"id": each, "checkpoints": number} for each, number in pruned.items()])
    else:
        table = Table("id", "checkpoints", numbers=["checkpoints"])
        table.rows.extend((each, str(number)) for each, number in pruned.items() if number)
        table.show()
    for each in refused:
        note(f"refused: {each}")
    what = plural(sum(pruned.values()), "checkpoint")
    note(f"{what} would be deleted" if dry_run else f"{what} deleted")
    raise typer.Exit(Exit.USAGE if refused else Exit.OK)
