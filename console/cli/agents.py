"""`ucop agents`: who can be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.console.cli import options
from ucop.console.cli.output import put, put_json
from ucop.console.cli.place import place_of
from ucop.console.cli.schemas import fields_of
from ucop.console.cli.tables import Column, Table, first_line

if TYPE_CHECKING:
    from ucop.agents.spec import Agent

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, add_completion=False, help="Look at agents."
)


@app.command("list")
def list_(
    ctx: typer.Context,
    capability: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only agents that declare it.", show_default=False),
    ] = None,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """List the agents of the project, of installed packages, and the bundled ones."""
    found = place_of(ctx, project, database).registry.find(capability=capability)
    if json:
        put_json([_brief(agent) for agent in found])
        return
    titles = [Column(title="name"), Column(title="body"), Column(title="from")]
    table = Table([*titles, Column(title="description", long=True)])
    for agent in found:
        told = first_line(agent.description)
        table.rows.append((agent.name, _body(agent), agent.origin, told))
    table.show()


@app.command()
def show(
    ctx: typer.Context,
    agent: options.AgentName,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Show what an agent takes, what it answers, and its prompt."""
    found = place_of(ctx, project, database).registry.get(agent)
    if json:
        put_json(_whole(found))
        return
    put(f"{found.name}  ({found.origin})")
    if found.description:
        put(found.description)
    put("")
    if found.capabilities:
        put(f"capabilities: {', '.join(found.capabilities)}")
    if found.asks:
        put(f"may ask for: {', '.join(found.asks)}")
    put("input:")
    for line in fields_of(found.input_schema):
        put(f"  {line}")
    put("output:")
    for line in fields_of(found.output_schema) if found.output_schema else ["text"]:
        put(f"  {line}")
    _show_body(found)


def _show_body(agent: Agent) -> None:
    if agent.spec is None:
        put("body: a Python function")
        return
    put(f"model: {agent.spec.model or 'default'}")
    for name, text in (("system", agent.spec.system), ("prompt", agent.spec.prompt)):
        if text:
            put(f"{name}:")
            for line in text.rstrip().splitlines():
                put(f"  {line}")


def _body(agent: Agent) -> str:
    return "python" if agent.spec is None else "prompt"


def _brief(agent: Agent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "description": agent.description,
        "capabilities": list(agent.capabilities),
        "asks": list(agent.asks),
        "category": agent.category,
        "body": _body(agent),
        "origin": agent.origin,
    }


def _whole(agent: Agent) -> dict[str, Any]:
    spec = agent.spec.model_dump(mode="json", exclude_none=True) if agent.spec else None
    return {
        **_brief(agent),
        "input_schema": agent.input_schema,
        "output_schema": agent.output_schema,
        "spec": spec,
    }
