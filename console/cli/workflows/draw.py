"""`ucop workflows draw`: a workflow as a picture."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from json import dumps as to_json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...view.exits import UsageProblem
from ...view.output import note, put
from ...view.place import place_of
from .. import options

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow


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
            "--format", help="The format. Default: by the file's extension, else mermaid."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The output file. Default: stdout."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Draw a workflow: its nodes, conditions and loops, as Mermaid, DOT or SVG."""
    found = place_of(ctx).catalog.get(workflow)
    text = _as_json(found) if json else _draw_text(found, format or _of_name(output))
    if output is None:
        put(text.rstrip("\n"))
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageProblem(f"{output}: {error.strerror}") from error
    note(f"{found.name} is drawn in {output}")


def _of_name(output: Path | None) -> PictureFormat:
    suffix = output.suffix.lower() if output else ""
    return _OF_SUFFIX.get(suffix, PictureFormat.mermaid)


def _draw_text(workflow: Workflow, format: PictureFormat) -> str:
    from ucop.graphs.pictures.text import draw as drawn

    return drawn(workflow, format.value)


def _as_json(workflow: Workflow) -> str:
    from ucop.graphs.pictures.picture import picture_of

    picture = asdict(picture_of(workflow))
    return to_json(picture, ensure_ascii=False, indent=2, default=lambda kind: kind.value)
