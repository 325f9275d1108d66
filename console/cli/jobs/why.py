"""`ucop jobs why`: the cause in a few lines, and the commands that would help."""

from __future__ import annotations

from dataclasses import asdict

import typer

from ...view.jobs.why import explain
from ...view.output import put, put_json
from ...view.place import place_of, reader_for
from .. import options


def why(
    ctx: typer.Context,
    id: options.JobId,
    json: options.Json = False,
) -> None:
    """Explain why a job failed, waits, is paused or does not continue, and suggest commands."""
    place = place_of(ctx)
    with reader_for(place, id) as reader:
        found = explain(place, reader, reader.job(id), reader.now())
    if json:
        last = found.checkpoint
        put_json(
            {
                "id": found.job.id,
                "status": found.job.status.value,
                "causes": found.causes,
                "checkpoint": last and last.model_dump(mode="json", exclude={"values"}),
                "commands": [asdict(each) for each in found.advice],
            }
        )
        return
    for line in found.lines():
        if not put(line):
            return
