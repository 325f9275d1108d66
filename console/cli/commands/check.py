"""`ucop check`: whether a project is sound, and ready for production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ucop.engine.errors import InvalidDefinition

from ...view.findings import report_findings
from ...view.place import Place, place_of
from .. import options
from ..workflows.workflows import check_workflow

if TYPE_CHECKING:
    from ucop.agents.finding import Finding


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
    checked = {**_check_all(place, production=production), **_remarks(place)}
    raise typer.Exit(report_findings(checked, [place.settings.root], as_json=json))


def _remarks(place: Place) -> dict[str, tuple[Finding, ...]]:
    from ucop.agents.finding import Finding
    from ucop.engine.langgraph_json import NAME, unused

    found = tuple(
        Finding(severity="warning", message=text, position=None, hint=None, code="unused-setting")
        for text in unused(place.settings.root)
    )
    return {NAME: found} if found else {}


def _check_all(place: Place, *, production: bool) -> dict[str, tuple[Finding, ...]]:
    """What is wrong, by what was looked at. Without its agents no workflow can be read."""
    try:
        agents = _agents(place, production=production)
    except InvalidDefinition as error:
        return {"agents": error.findings}
    names = dict.fromkeys(listing.name for listing in place.catalog.names())
    workflows = {
        f"workflow {name}": check_workflow(place, name, production=production) for name in names
    }
    return {"agents": agents, **workflows}


def _agents(place: Place, *, production: bool) -> tuple[Finding, ...]:
    registry = place.registry
    if not production:
        return ()
    from ucop.graphs.workflows.gate import agent_finding, doubles_of

    found = ((agent, double) for agent in registry for double in doubles_of(agent))
    return tuple(agent_finding(agent, double) for agent, double in found)
