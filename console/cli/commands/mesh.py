"""`ucop mesh`: agents that ask each other; who there is, how they fare, what a job's did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...view.exits import UsageProblem
from ...view.output import put, put_json, put_records
from ...view.place import Place, place_of, reader_for
from ...view.records import breaker, mesh_agent_record
from ...view.tables import Table, count, duration, first_line, moment
from .. import options
from ..completion import complete_agent

if TYPE_CHECKING:
    from ucop.engine.stores.mesh_trace import MeshAgent, MeshHop, MeshRun


Capability = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Only agents that declare it."),
]
Entry = Annotated[
    str | None,
    typer.Argument(metavar="[AGENT]", help="The first agent.", autocompletion=complete_agent),
]
EntryCapability = Annotated[
    str | None,
    typer.Option(
        "--capability",
        metavar="NAME",
        help="Instead of an agent: the capability of the first agent.",
    ),
]
Among = Annotated[
    list[str] | None,
    typer.Option(
        "--among",
        metavar="AGENT",
        help="An agent that may be asked. May be repeated. Default: all that declare what the "
        "agents may ask for.",
    ),
]
MaxHops = Annotated[
    int | None,
    typer.Option(min=1, max=1000, help="The maximum number of agent calls."),
]


def agents(
    ctx: typer.Context,
    capability: Capability = None,
    json: options.Json = False,
) -> None:
    """List agents with their capabilities, what they may request, and their health."""
    place = place_of(ctx)
    fare = {each.agent: each for each in _fare(place)}
    able = place.registry.find(capability=capability)
    found = [agent for agent in able if agent.capabilities or agent.asks]
    if json:
        put_json([mesh_agent_record(agent, fare.get(agent.name)) for agent in found])
        return
    titles = ("agent", "can", "may ask for", "breaker", "busy", "from")
    table = Table(*titles, numbers=["busy"], status=["breaker"], long=["can", "may ask for"])
    for agent in found:
        told = fare.get(agent.name)
        can, asks = ", ".join(agent.capabilities), ", ".join(agent.asks)
        busy = str(told.busy if told else 0)
        table.add(agent.name, can, asks, breaker(told), busy, agent.origin)
    table.show()


def run(
    ctx: typer.Context,
    agent: Entry = None,
    capability: EntryCapability = None,
    among: Among = None,
    max_hops: MaxHops = None,
    input: options.Inputs = None,
    input_file: options.InputFile = None,
    detach: options.Detach = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    key: options.Key = None,
    label: options.Labels = None,
    budget: options.Budget = None,
) -> None:
    """Run a mesh as a job: an agent, which may call other agents by capability.

    The inputs are those of the agent that is called first.
    """
    from ucop.graphs.workflows.mesh_workflow import mesh_among

    from ...view.inputs import pairs, read_budget
    from .run import carry_out, order_of, terms_of

    if (agent is None) == (capability is None):
        raise UsageProblem("name the agent that is called first, or give --capability NAME")
    place = place_of(ctx)
    workflow = mesh_among(
        place.registry, agent=agent, capability=capability, agents=among or (), max_hops=max_hops
    )
    if dry_run:
        from ...view.inputs import read_input
        from ..dry_run import show_plan

        data = read_input(workflow, input or (), input_file, None)
        raise typer.Exit(show_plan(place, workflow, data, as_json=json))
    terms = terms_of(
        place, key=key, labels=pairs(label or (), "--label"), budget=read_budget(budget or ())
    )
    order = order_of(place, workflow, input, input_file, terms)
    raise typer.Exit(carry_out(place, order, detach=detach, as_json=json))


def stats(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """Show calls, failures, times and breakers of the agents that meshes called.

    Over all jobs of the database. An agent that asks is called again with the answer: each is a call.
    """
    found = _fare(place_of(ctx))
    if json:
        put_records(found)
        return
    numbers = ("calls", "failed", "in a row", "mean", "slowest", "busy")
    titles = ("agent", *numbers, "breaker", "called", "last error")
    table = Table(*titles, numbers=numbers, status=["breaker"], long=["last error"])
    for each in found:
        table.add(
            each.agent,
            count(each.calls),
            count(each.failed),
            count(each.in_a_row),
            duration(each.mean_seconds),
            duration(each.slowest_seconds),
            count(each.busy),
            breaker(each),
            moment(each.called_at),
            first_line(each.error),
        )
    table.show()


def trace(
    ctx: typer.Context,
    job: options.JobId,
    json: options.Json = False,
) -> None:
    """Show the hops of a job's meshes: who requested what from whom, when, and the outcome."""
    place = place_of(ctx)
    with reader_for(place, job) as reader:
        found = reader.hops(reader.find(job))
    if json:
        put_records(found)
        return
    titles = ("node", "hop", "asker", "asked", "for", "at", "took", "outcome", "why")
    table = Table(*titles, numbers=["hop", "took"], status=["outcome"], long=["why"])
    for mesh in found:
        table.rows.extend(_row(mesh, hop) for hop in mesh.hops)
    table.show()
    for mesh in found:
        if mesh.stopped is not None:
            put(f"stopped\t{mesh.stopped.type}\t{' '.join(mesh.stopped.message.split())}")


def _row(mesh: MeshRun, hop: MeshHop) -> tuple[str, ...]:
    why = f"{hop.error.type}: {hop.error.message}" if hop.error else ""
    return (
        mesh.node,
        str(hop.hop),
        hop.asker or "(job)",
        hop.agent,
        hop.capability or "",
        moment(hop.asked_at),
        duration(hop.seconds),
        hop.outcome,
        first_line(why),
    )


def _fare(place: Place) -> list[MeshAgent]:
    """How agents fare."""
    from ucop.graphs.nodes.breaker import BreakerRules

    settings = place.settings
    rules = BreakerRules(failures=settings.mesh_failures, pause=settings.mesh_pause)
    return place.ask(lambda reader: reader.mesh_agents(rules), [])
