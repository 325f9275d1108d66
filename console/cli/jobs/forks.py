"""`ucop checkpoints fork` and `restore`: continue from an earlier checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...view.exits import Exit
from ...view.jobs.checkpoints import chosen
from ...view.jobs.follow import nodes_of
from ...view.output import note, put, put_json
from ...view.place import place_of, reader_for
from .. import options
from ..edits import edit_by_hand, edited
from ..given import Given, fields_of
from .checkpoints import CheckpointId, Maybe

if TYPE_CHECKING:
    from ucop.engine import Engine, JobHandle


@options.with_given
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
        ),
    ] = None,
    edit: Annotated[
        bool, typer.Option("--edit", help="Edit the state as YAML in $EDITOR.")
    ] = False,
    as_node: options.AsNode = None,
    *,
    given: Given,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow", metavar="FILE", help="Use another definition: a changed file, or a name."
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
        replace = {**replace, **edit_by_hand(shown, job.id, at.id)}
    # Where nothing is named, the job is forked as it stands: what finished since then counts.
    named = at.id if checkpoint is not None or replace else None

    successor = None if workflow is None else run.named(place, workflow)
    if successor is not None:
        nodes = successor.shown_nodes()

    def fields() -> Mapping[str, Any]:
        return fields_of(place, job.workflow) if successor is None else successor.context_fields

    run_options = given.read(fields)

    def go_on(engine: Engine) -> JobHandle:
        return engine.job(job.id).fork(
            named, replace=replace, as_node=as_node, workflow=successor, **run_options
        )

    if detach:
        raise typer.Exit(run.queue(place, go_on, as_json=json))
    raise typer.Exit(run.attend(place, go_on, as_json=json, title=job.workflow, nodes=nodes))


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
    note(f"job {job.id} is {job.status}, and continues before {due}")
    note(f"next: {place.command(f'jobs resume {job.id}')}")
    raise typer.Exit(Exit.OK)
