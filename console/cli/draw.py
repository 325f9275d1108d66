"""`ucop workflows draw`: a workflow as a picture."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ucop.console.cli import options
from ucop.console.cli.exits import UsageProblem
from ucop.console.cli.output import note, put
from ucop.console.cli.place import place_of


class PictureFormat(StrEnum):
    """How a picture is written."""

    mermaid = "mermaid"
    dot = "dot"
    svg = "svg"


_OF_SUFFIX = {
    ".svg": PictureFormat.svg,
    ".dot": PictureFormat.dot,
    ".gv": PictureFormat.dot,
    ".mmd": PictureFormat.mermaid,
    ".mermaid": PictureFormat.mermaid,
}


def draw(
    ctx: typer.Context,
    workflow: options.WorkflowName,
    format: Annotated[
        PictureFormat | None,
        typer.Option(
            "--format",
            help="How it is written. Default: by the file's ending, else mermaid.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="Write it there instead of to stdout.",
            show_default=False,
        ),
    ] = None,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Draw a workflow: its nodes, conditions and loops, as Mermaid, DOT or SVG."""
    from ucop.graphs.draw import draw as drawn

    by_name = _OF_SUFFIX.get(output.suffix.lower()) if output else None
    chosen = format or by_name or PictureFormat.mermaid
    found = place_of(ctx, project, database).catalog.get(workflow)
    text = drawn(found, chosen.value)
    if output is None:
        put(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{output}: {error.strerror}") from error
    note(f"{output}: {found.name} as {chosen.value}")
