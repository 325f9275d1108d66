"""`ucop checkpoints`: look at what a job saved, and go on from there."""

from __future__ import annotations

import json as json_text
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.errors import RefusedChange

from ...view.checkpoints import chosen, differences, pair, tree
from ...view.exits import Exit
from ...view.follow import nodes_of
from ...view.inputs import read_age, read_filter
from ...view.output import note, put, put_json
from ...view.place import place_of, reader_for
from ...view.questions import JOB
from ...view.tables import Column, Table, first_line, moment, plural, short_enough
from .. import options
from ..edits import edited, edited_by_hand
from ..given import fields_of, typed_given
from .commands import Wanted, ids_of

if TYPE_CHECKING:
    from ucop.engine import Engine, JobHandle
    from ucop.engine.commands import Commands
    from ucop.engine.jobs.job import Checkpoint

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Show checkpoints and continue from them.",
)

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
        show_default=False,
    ),
]


# ---------------------------------------------------------------- list


@app.command("list")
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
    titles = ("checkpoint", "step", "ran", "due", "saved", "forks")
    table = Table([Column(title=title, numbers=title == "step") for title in titles])
    length = short_enough([checkpoint.id for checkpoint in found], SHORT)
    for depth, checkpoint in tree(found):
        table.rows.append(
            (
                "│ " * depth + checkpoint.id[:length],
                str(checkpoint.step),
                ", ".join(checkpoint.nodes),
                ", ".join(checkpoint.next),
                moment(checkpoint.created_at, now),
                ", ".join(job[:JOB] for job, at in forks if at == checkpoint.id),
            )
        )
    return table


# ---------------------------------------------------------------- show


@app.command()
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


@app.command()
def diff(
    ctx: typer.Context,
    id: options.JobId,
    first: CheckpointId,
    second: Annotated[
        str | None,
        typer.Argument(
            metavar="[CHECKPOINT]",
            help="The other checkpoint. Default: the previous one.",
            show_default=False,
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


# ---------------------------------------------------------------- fork and restore


@app.command()
def fork(
    ctx: typer.Context,
    id: options.JobId,
    checkpoint: Maybe = None,
    set: options.SetPath = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="A JSON or YAML file with names of the state and their new values, - for stdin.",
            show_default=False,
        ),
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Edit the state as YAML in $EDITOR.")
    ] = False,
    as_node: options.AsNode = None,
    context: options.Context = None,
    context_file: options.ContextFile = None,
    config: options.Config = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow",
            metavar="FILE",
            help="Use another definition: a changed file, or a name.",
            show_default=False,
        ),
    ] = None,
    detach: options.Detach = False,
    json: options.Json = False,
) -> None:
    """Fork a new job from a checkpoint, optionally with an edited state.

    The job that it comes from stays as it is. Runs here and now, as `ucop run` does.
    """
    from ..commands import run

    place = place_of(ctx)
    with reader_for(place, id) as reader:
        job = reader.job(id)
        at = chosen(reader.checkpoints(job.id), job.id, checkpoint)
        nodes = nodes_of(reader.definition(job.id))
    replace = edited(at.values, set or (), from_file)
    if edit:
        shown = {**at.values, **replace}
        replace = {**replace, **edited_by_hand(shown, job.id, at.id)}
    # Where nothing is named, the job is forked as it stands: what finished since then counts.
    named = at.id if checkpoint is not None or replace else None

    successor = None if workflow is None else run.named(place, workflow)
    if successor is not None:
        nodes = successor.shown_nodes()

    def fields() -> Mapping[str, Any]:
        return fields_of(place, job.workflow) if successor is None else successor.context_fields

    given = typed_given(context, context_file, config, fields)

    def go_on(engine: Engine) -> JobHandle:
        return engine.job(job.id).fork(
            named, replace=replace, as_node=as_node, workflow=successor, **given
        )

    if detach:
        raise typer.Exit(run.queue(place, go_on, as_json=json))
    raise typer.Exit(run.attend(place, go_on, as_json=json, title=job.workflow, nodes=nodes))


@app.command()
def restore(
    ctx: typer.Context,
    id: options.JobId,
    checkpoint: CheckpointId,
    json: options.Json = False,
) -> None:
    """Restore a paused or failed job to a checkpoint.

    When it goes on, it goes on from there. What it did after that stays to be read.
    """
    from ..commands import run

    place = place_of(ctx)
    with reader_for(place, id) as reader:
        whole = reader.find(id)
        at = chosen(reader.checkpoints(whole), whole, checkpoint)
    with run.open_engine(place, worker=False) as engine:
        handle = engine.job(whole)
        handle.restore(at.id)
        job = handle.get()
    if json:
        put_json(job.model_dump(mode="json"))
    else:
        put(job.id)
    due = ", ".join(at.next) or "its end"
    note(f"job {job.id} is {job.status}, and stands before {due} again")
    note(f"next: {place.command(f'jobs resume {job.id}')}")
    raise typer.Exit(Exit.OK)


# ---------------------------------------------------------------- prune


@app.command()
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
            show_default=False,
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
        table = Table([Column(title="id"), Column(title="checkpoints", numbers=True)])
        table.rows.extend((each, str(number)) for each, number in pruned.items() if number)
        table.show()
    for each in refused:
        note(f"refused: {each}")
    what = plural(sum(pruned.values()), "checkpoint")
    note(f"{what} would be deleted" if dry_run else f"{what} deleted")
    raise typer.Exit(Exit.USAGE if refused else Exit.OK)
