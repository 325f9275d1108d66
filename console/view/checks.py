"""Whether a project is sound: its agents and workflows, as a run would read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucop.engine.errors import InvalidDefinition

if TYPE_CHECKING:
    from ucop.agents.finding import Finding
    from ucop.graphs.workflow import Workflow

    from .place import Place


def check_project(place: Place, *, production: bool) -> dict[str, tuple[Finding, ...]]:
    """What is wrong, by what was looked at."""
    return {**_checked(place, production=production), **_remarks(place)}


def _remarks(place: Place) -> dict[str, tuple[Finding, ...]]:
    from ucop.agents.finding import Finding
    from ucop.engine.langgraph_json import NAME, unused

    found = tuple(
        Finding(severity="warning", message=text, position=None, hint=None, code="unused-setting")
        for text in unused(place.settings.root)
    )
    return {NAME: found} if found else {}


def _checked(place: Place, *, production: bool) -> dict[str, tuple[Finding, ...]]:
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


def check_workflow(place: Place, name: str, *, production: bool) -> tuple[Finding, ...]:
    """Load a workflow as a run would; a Python graph is built, too."""
    try:
        workflow = place.catalog.get(name)
        workflow.shown_nodes()
    except InvalidDefinition as error:
        return error.findings
    return (*workflow.warnings, *(_doubles(workflow) if production else ()))


def _doubles(workflow: Workflow) -> list[Finding]:
    from ucop.graphs.workflows.gate import refusals

    return [refusal.finding for refusal in refusals(workflow)]
