"""`ucop check`: whether a project is sound, and ready for production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...view.checks import check_project
from ...view.findings import report_findings
from ...view.place import place_of
from .. import options

if TYPE_CHECKING:
    pass


def check(
    ctx: typer.Context,
    production: Annotated[
        bool,
        typer.Option(
            "--production", help="Also report test doubles, which production mode refuses."
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Check all agents and workflows. Report every mistake with file, line and column.

    In production mode, and with --production, test doubles are mistakes too.
    """
    place = place_of(ctx)
    production = production or place.settings.mode == "production"
    checked = check_project(place, production=production)
    raise typer.Exit(report_findings(checked, [place.settings.root], as_json=json))
