"""`ucop workflows`: what can be run, and whether it is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...view.checks import check_workflow
from ...view.findings import report_findings
from ...view.output import put, put_json
from ...view.place import place_of
from ...view.records import listing_record, workflow_record
from ...view.schemas import fields_of
from ...view.tables import Table, first_line
from .. import options

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow


def list_(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List the workflows of the project, of installed packages, and the bundled ones."""
    listings = place_of(ctx).listings()
    if json:
        put_json([listing_record(listing) for listing in listings])
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
        put_json(workflow_record(found))
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
