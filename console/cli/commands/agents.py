"""`ucop agents`: who can be asked, and asking one alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...view.exits import Exit
from ...view.inputs import typed_input
from ...view.jobs.follow import Interrupts
from ...view.output import as_text, note, put, put_json
from ...view.place import Place, place_of
from ...view.records import agent_brief, agent_record, body_of
from ...view.schemas import fields_of
from ...view.tables import Table, first_line, plural
from .. import options
from ..given import Given

if TYPE_CHECKING:
    from ucop.agents.models.provider import ModelUse
    from ucop.agents.run.alone import Ran
    from ucop.agents.spec.agent import Agent


def list_(
    ctx: typer.Context,
    capability: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only agents that declare it."),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only agents of this category."),
    ] = None,
    json: options.Json = False,
) -> None:
    """List the agents of the project, of installed packages, and the bundled ones."""
    registry = place_of(ctx).registry
    found = registry.find(capability=capability, category=category)
    if json:
        put_json([agent_brief(agent) for agent in found])
        return
    table = Table("name", "body", "from", "description", long=["description"])
    for agent in found:
        told = first_line(agent.description)
        table.add(agent.name, body_of(agent), agent.origin, told)
    table.show()


def show(
    ctx: typer.Context,
    agent: options.AgentName,
    json: options.Json = False,
) -> None:
    """Show an agent's input, output and prompt."""
    found = place_of(ctx).registry.get(agent)
    if json:
        put_json(agent_record(found))
        return
    put(f"{found.name}  ({found.origin})")
    if found.description:
        put(found.description)
    put("")
    if found.capabilities:
        put(f"capabilities: {', '.join(found.capabilities)}")
    if found.asks:
        put(f"may ask for: {', '.join(found.asks)}")
    if found.category:
        put(f"category: {found.category}")
    put("input:")
    for line in fields_of(found.input_schema):
        put(f"  {line}")
    put("output:")
    for line in fields_of(found.output_schema) if found.output_schema else ["text"]:
        put(f"  {line}")
    _show_body(found)


@options.with_given
def run(
    ctx: typer.Context,
    agent: options.AgentName,
    input: options.Inputs = None,
    input_file: options.InputFile = None,
    *,
    given: Given,
    json: options.Json = False,
) -> None:
    """Run one agent alone, without a workflow or a job, and print its output.

    Nothing is kept: an agent that shall survive a crash runs in a workflow.
    """
    place = place_of(ctx)
    found = place.registry.get(agent)
    if place.settings.mode == "production":
        _refuse_doubles(found)
    data = typed_input(found.input_schema, input or (), input_file)
    with_secrets = _with_secrets(found, given.read())
    with Interrupts():
        raise typer.Exit(_run(place, found, data, with_secrets, as_json=json))


def _with_secrets(agent: Agent, typed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Context and config, with the secrets that they name. Raises InvalidInput, MissingSecret."""
    from ucop.engine.jobs.run_options import read_config, with_secrets

    config = read_config(typed["config"]).model_dump(exclude_defaults=True)
    given: Mapping[str, Any] = with_secrets(
        {"context": typed["context"], "config": config}, f"agent {agent.name!r}"
    )
    return given


def _run(
    place: Place,
    agent: Agent,
    data: dict[str, Any],
    given: Mapping[str, Any],
    *,
    as_json: bool,
) -> Exit:
    import asyncio

    from ucop.engine.errors import UcopError

    try:
        ran = asyncio.run(_run_alone(place, agent, data, given))
    except UcopError:
        raise
    except KeyboardInterrupt:
        note("interrupted")
        return Exit.INTERRUPTED
    except Exception as error:
        if os.environ.get("UCOP_DEBUG"):
            raise
        note(f"error: agent {agent.name!r} raised {type(error).__name__}: {error}")
        return Exit.FAILED
    if as_json:
        put_json(_record(agent, ran))
    else:
        put(as_text(ran.output))
    note(_summary(ran))
    return Exit.OK


async def _run_alone(
    place: Place, agent: Agent, data: dict[str, Any], given: Mapping[str, Any]
) -> Ran:
    from ucop.agents.models.models import Models
    from ucop.agents.run.alone import run_alone

    settings = place.settings
    told: set[str] = set()

    def tell(use: ModelUse) -> None:
        if use.name not in told:
            told.add(use.name)
            note(f"model {use.asked}: {use.note}")

    models = Models(
        aliases=settings.models,
        ollama_host=settings.ollama_host,
        embedded=settings.embedded,
        timeout=settings.model_timeout,
        idle_timeout=settings.model_idle_timeout,
        on_use=tell,
    )
    try:
        return await run_alone(
            agent,
            data,
            models=models,
            folder=settings.root,
            production=settings.mode == "production",
            progress=note,
            **given,
        )
    finally:
        await models.aclose()


def _refuse_doubles(agent: Agent) -> None:
    from ucop.engine.errors import DoublesRefused
    from ucop.graphs.workflows.gate import agent_finding, doubles_of

    if findings := [agent_finding(agent, double) for double in doubles_of(agent)]:
        raise DoublesRefused(findings)


def _summary(ran: Ran) -> str:
    usage = ran.usage
    if not usage.model_calls:
        return f"{ran.seconds:.1f} s, no model"
    return (
        f"{ran.seconds:.1f} s, {', '.join(usage.models)}, "
        f"{plural(usage.model_calls, 'model call')}, "
        f"{usage.tokens_in} tokens in, {usage.tokens_out} out"
    )


def _record(agent: Agent, ran: Ran) -> dict[str, Any]:
    usage = ran.usage
    return {
        "agent": agent.name,
        "output": ran.output,
        "models": list(usage.models),
        "model_calls": usage.model_calls,
        "tokens_in": usage.tokens_in,
        "tokens_out": usage.tokens_out,
        "cost": usage.cost,
        "seconds": round(ran.seconds, 3),
    }


def _show_body(agent: Agent) -> None:
    if agent.spec is None:
        put("body: a Python function")
        return
    put(f"model: {agent.spec.model or 'default'}")
    if agent.tools:
        put("tools:")
        for name, bound in agent.tools.items():
            put(f"  {name}: {first_line(bound.description)}")
    for name, text in (("system", agent.spec.system), ("prompt", agent.spec.prompt)):
        if text:
            put(f"{name}:")
            for line in text.rstrip().splitlines():
                put(f"  {line}")
