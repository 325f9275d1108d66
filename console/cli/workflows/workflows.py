"""`ucop workflows`: what can be run, and whether it is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.errors import InvalidDefinition

from ...view.findings import report_findings
from ...view.output import put, put_json
from ...view.place import Place, place_of
from ...view.schemas import fields_of
from ...view.tables import Table, first_line
from .. import options

if TYPE_CHECKING:
    from ucop.agents.finding import Finding
    from ucop.graphs.workflow import Workflow


def list_(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List the workflows of the project, of installed packages, and the bundled ones."""
    listings = place_of(ctx).listings()
    if json:
        put_json(
            [
                {
                    "name": listing.name,
                    "kind": listing.kind,
                    "origin": listing.origin,
                    "description": listing.description,
                }
                for listing in listings
            ]
        )
        return
    table = Table("name", "kind", "from", "description", long=["description"])
    for listing in listings:
        told = first_line(listing.description)
        table.add(listing.name, listing.kind, listing.origin, told)
    table.show()


def show(
    ctx: typer.Context,
    workflow: options.WorkflowName,
    json: options.Json = False,
) -> None:
    """Show a workflow's input and nodes."""
    found = place_of(ctx).catalog.get(workflow)
    if json:
        put_json(_as_json(found))
        return
    put(f"{found.name}  ({found.origin})")
    if found.description:
        put(found.description)
    put("")
    put("input:")
    for line in fields_of(found.input_schema):
        put(f"  {line}")
    put("nodes:")
    for line in _nodes(found):
        put(f"  {line}")


def _as_json(workflow: Workflow) -> dict[str, Any]:
    return {
        "name": workflow.name,
        "description": workflow.description,
        "origin": workflow.origin,
        "fingerprint": workflow.fingerprint,
        "needs": list(workflow.needs),
        "input_schema": workflow.input_schema,
        "nodes": workflow.shown_nodes(),
        "definition": workflow.stored,
    }


def _nodes(workflow: Workflow) -> list[str]:
    from ucop.graphs.language.kind import work_of
    from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

    if not isinstance(workflow, YamlWorkflow):
        return workflow.shown_nodes()
    definition, lines = workflow.definition, []
    said = workflow.stored["definition"].get("nodes")
    if said is None:  # a mesh
        asks = {name: ", ".join(agent.asks) for name, agent in workflow.agents.items()}
        return [f"{name}" + (f", may ask for {asks[name]}" if asks[name] else "") for name in asks]
    for name in workflow.shown_nodes():
        node = definition.nodes[name]
        each = f", once for each of {node.each}" if node.each else ""
        writes = f", writes {node.writes}" if node.writes else ""
        lines.append(f"{name}: {work_of(said[name])}{each}{writes}")
    return lines


def check(
    ctx: typer.Context,
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILES]...", help="YAML files, or names. Default: all."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Check workflows. Report every mistake with file, line and column."""
    place = place_of(ctx)
    names = files or list(dict.fromkeys(listing.name for listing in place.catalog.names()))
    production = place.settings.mode == "production"
    checked = {name: check_workflow(place, name, production=production) for name in names}
    raise typer.Exit(report_findings(checked, [place.settings.root], as_json=json))


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
