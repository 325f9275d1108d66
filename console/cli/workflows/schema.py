"""`ucop workflows schema`: the workflow language as editors read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...view.exits import UsageProblem
from ...view.output import note, put
from .. import options


def schema(
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The output file. Default: stdout."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Print the JSON Schema of workflow files, for completion and checks in editors."""
    from ucop.graphs.language.json_schema import schema_text

    if output is None:
        put(schema_text().rstrip("\n"))
        return
    try:
        output.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{output}: {error.strerror}") from error
    note(f"{output}: name it in the first line of a workflow that lies beside it:")
    note(f"  # yaml-language-server: $schema={output.name}")
