"""`ucop jobs export` and `ucop jobs import`: one job as one file."""

from __future__ import annotations

from typing import Annotated

import typer

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put, put_json
from ...view.place import place_of, reader_for
from .. import options


def export(
    ctx: typer.Context,
    id: options.JobId,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file; it must not exist. Default: stdout."
        ),
    ] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Mask all text.")] = False,
    json: options.Json = False,
) -> None:
    """Export a job to one file, without secrets: a bug report that you can run elsewhere."""
    from ucop.engine.transfer.job_file import save

    place = place_of(ctx)
    with reader_for(place, id) as reader:
        whole = reader.find(id)
        lines = reader.export(whole, redact=redact)
        if output is None:
            all(put(line.rstrip("\n")) for line in lines)
            return
        try:
            save(output, lines)
        except OSError as error:
            raise UsageProblem(f"{output}: cannot be written: {error.strerror}") from error
    if json:
        put_json({"id": whole, "file": output})
    note(f"job {whole} is in {output}; read it before you send it: it holds what the job worked on")


def import_(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file from `ucop jobs export`.")],
    new_id: Annotated[bool, typer.Option("--new-id", help="Assign a new id.")] = False,
    json: options.Json = False,
) -> None:
    """Import a job from a file. Nothing starts until you resume or fork it."""
    from ucop.engine.transfer.job_file import read_job_file

    place = place_of(ctx)
    try:
        contents = read_job_file(file)
    except OSError as error:
        raise UsageProblem(f"{file}: cannot be read: {error.strerror}") from error
    id = place.carry_out(lambda commands: commands.add(contents, new_id))
    with place.reader() as reader:
        job = reader.job(id)
    if json:
        put_json(job.model_dump(mode="json"))
    else:
        put(job.id)
    note(f"job {job.id} is {job.status}; next: {place.command(f'jobs show {job.id}')}")
    raise typer.Exit(Exit.OK)
