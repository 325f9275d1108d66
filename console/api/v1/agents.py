"""Agents, meshes and models: who can be asked, and asking one alone."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, StrictBool

from ucop.agents.run.alone import Ran, run_alone
from ucop.engine.errors import DoublesRefused, UcopError
from ucop.engine.jobs.job import Job
from ucop.engine.jobs.run_options import read_config, with_secrets
from ucop.engine.stores.mesh_trace import MeshAgent, MeshRun
from ucop.graphs.nodes.breaker import BreakerRules
from ucop.graphs.workflows.gate import agent_finding, doubles_of
from ucop.graphs.workflows.mesh_workflow import mesh_among

from ...view.models import check_all, models_of, resolve_all
from ...view.records import agent_brief, agent_record, mesh_agent_record
from ..access import Reads, Runs
from ..parts import Parts, Uses, tenant_for
from ..problems import Refusal, invalid
from .forms import Amounts, Form, Given, Items, Wait
from .jobs import check_secrets, rested

router = APIRouter(tags=["agents"])


class AgentBrief(BaseModel):
    """An agent that can be asked."""

    name: str
    description: str
    capabilities: list[str]
    asks: list[str]
    category: str | None
    body: str
    """`prompt`, `tools` or `python`."""
    origin: str


class AgentRecord(AgentBrief):
    """An agent, and what it is made of."""

    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None
    spec: dict[str, Any] | None


class AgentRun(Given):
    """A run of one agent alone."""

    input: dict[str, Any] = Field(default_factory=dict)


class AgentRan(BaseModel):
    """How it ended."""

    agent: str
    output: Any
    models: list[str]
    model_calls: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    seconds: float


class AgentFares(BaseModel):
    """An agent that meshes may call, and how it fares there."""

    name: str
    description: str
    capabilities: list[str]
    asks: list[str]
    origin: str
    breaker: str
    opens_at: datetime | None
    busy: int


class MeshSubmission(Form):
    """A job of agents that ask each other."""

    agent: str | None = None
    """The agent that is called first."""
    capability: str | None = None
    """Or what that agent must declare."""
    among: list[str] = Field(default_factory=list)
    """Agents that may be asked; default: all that declare what the agents may ask for."""
    max_hops: int | None = Field(default=None, ge=1, le=1000)
    input: dict[str, Any] = Field(default_factory=dict)
    key: str | None = None
    tenant: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    budget: Amounts | None = None


class ModelRecord(BaseModel):
    """A name of a model, and who answers to it."""

    name: str
    stands_for: list[str]
    answered_by: str | None
    endpoint: str | None
    embedded: bool
    note: str


class ModelCheck(Form):
    name: str | None = None
    """An alias or `provider:model`; default: all."""
    call: StrictBool = False
    """Also ask for one short answer."""


class ModelHealth(BaseModel):
    name: str
    ok: bool
    seconds: float
    note: str


@router.get("/agents")
async def list_agents(
    parts: Uses, caller: Reads, capability: str | None = None, category: str | None = None
) -> Items[AgentBrief]:
    """The agents of the project, of installed packages, and the bundled ones."""
    registry = await asyncio.to_thread(lambda: parts.engine.registry)
    found = registry.find(capability=capability, category=category)
    return Items[AgentBrief](items=[AgentBrief(**agent_brief(agent)) for agent in found])


@router.get("/agents/{name}")
async def show_agent(parts: Uses, caller: Reads, name: str) -> AgentRecord:
    """An agent's input, output and prompt."""
    registry = await asyncio.to_thread(lambda: parts.engine.registry)
    return AgentRecord(**agent_record(registry.get(name)))


@router.post("/agents/{name}/run")
async def run_agent(parts: Uses, caller: Runs, name: str, form: AgentRun) -> AgentRan:
    """Run one agent alone, without a workflow or a job. Nothing is kept: an agent that shall
    survive a crash runs in a workflow."""
    check_secrets(caller, form)
    registry = await asyncio.to_thread(lambda: parts.engine.registry)
    agent, settings = registry.get(name), parts.settings
    production = settings.mode == "production"
    if production and (found := [agent_finding(agent, each) for each in doubles_of(agent)]):
        raise DoublesRefused(found)
    config = read_config(form.config).model_dump(exclude_defaults=True)
    given = with_secrets({"context": form.context, "config": config}, f"agent {name!r}")

    async def alone() -> Ran:
        models = models_of(settings)
        try:
            return await run_alone(
                agent,
                form.input,
                models=models,
                folder=settings.root,
                production=production,
                **given,
            )
        finally:
            await models.aclose()

    try:
        # On a thread of its own: a function that blocks holds no other request up.
        ran = await asyncio.to_thread(lambda: asyncio.run(alone()))
    except UcopError:
        raise
    except Exception as error:
        raise Refusal(
            "invalid-input", f"agent {name!r} raised {type(error).__name__}: {error}"
        ) from error
    usage = ran.usage
    return AgentRan(
        agent=name,
        output=ran.output,
        models=list(usage.models),
        model_calls=usage.model_calls,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        cost=usage.cost,
        seconds=round(ran.seconds, 3),
    )


# ---------------------------------------------------------------- meshes


@router.get("/meshes/agents")
async def mesh_agents(
    parts: Uses, caller: Reads, capability: str | None = None
) -> Items[AgentFares]:
    """Agents with their capabilities, what they may ask for, and how they fare."""
    registry = await asyncio.to_thread(lambda: parts.engine.registry)
    fare = {each.agent: each for each in await _fare(parts)}
    found = [one for one in registry.find(capability=capability) if one.capabilities or one.asks]
    return Items[AgentFares](
        items=[AgentFares(**mesh_agent_record(one, fare.get(one.name))) for one in found]
    )


@router.get("/meshes/stats")
async def mesh_stats(parts: Uses, caller: Reads) -> Items[MeshAgent]:
    """Calls, failures, times and breakers of the agents that meshes called, over all jobs."""
    return Items[MeshAgent](items=await _fare(parts))


@router.get("/meshes/{job}")
async def mesh_trace(parts: Uses, caller: Reads, job: str) -> Items[MeshRun]:
    """The hops of a job's meshes: who asked whom for what, when, and what came of it."""
    whole = (await parts.job(job, caller)).id
    return Items[MeshRun](items=await parts.read(lambda reader: reader.hops(whole)))


@router.post("/meshes", status_code=201)
async def submit_mesh(
    parts: Uses, caller: Runs, form: MeshSubmission, response: Response, wait: Wait = 0
) -> Job:
    """Run a mesh as a job: an agent, which may call other agents by capability."""
    if (form.agent is None) == (form.capability is None):
        raise invalid("name the agent that is called first, or a capability", pointer="/agent")
    workflow = await asyncio.to_thread(
        lambda: mesh_among(
            parts.engine.registry,
            agent=form.agent,
            capability=form.capability,
            agents=form.among,
            max_hops=form.max_hops,
        )
    )
    handle = await parts.engine.asubmit(
        workflow,
        form.input,
        key=form.key,
        tenant=tenant_for(caller, form.tenant),
        labels=form.labels,
        budget=form.budget,
    )
    response.headers["location"] = f"/api/v1/jobs/{handle.id}"
    return await rested(parts, handle.id, wait)


async def _fare(parts: Parts) -> list[MeshAgent]:
    settings = parts.settings
    rules = BreakerRules(failures=settings.mesh_failures, pause=settings.mesh_pause)
    return await parts.read(lambda reader: reader.mesh_agents(rules))


# ---------------------------------------------------------------- models


@router.get("/models")
async def list_models(parts: Uses, caller: Reads) -> Items[ModelRecord]:
    """The project's names of models, and the model behind each now."""
    found = await asyncio.to_thread(lambda: asyncio.run(resolve_all(parts.settings)))
    return Items[ModelRecord](items=[ModelRecord(**each) for each in found])


@router.post("/models/check")
async def check_models(parts: Uses, caller: Runs, form: ModelCheck) -> Items[ModelHealth]:
    """Whether every endpoint has its model."""
    found = await asyncio.to_thread(
        lambda: asyncio.run(check_all(parts.settings, form.name, call=form.call))
    )
    health = [
        ModelHealth(name=one.name, ok=one.ok, seconds=one.seconds, note=one.note) for one in found
    ]
    return Items[ModelHealth](items=health)
