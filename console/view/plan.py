"""The plan of a run, joined from the workflow, the endpoints and past jobs.

It asks endpoints which models they have, and asks no model anything; it reads past jobs, and
makes no database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ucop.engine.errors import DatabaseError, ModelError
from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.status import JobStatus
from ucop.graphs.plan.plan import Plan, asked_models, plan_of
from ucop.graphs.plan.planned import Objection, Past, Spent

from .place import Place

if TYPE_CHECKING:
    from ucop.agents.models.models import Models
    from ucop.agents.models.provider import ModelUse
    from ucop.engine.jobs.job import Step, Usage
    from ucop.engine.settings import Settings
    from ucop.graphs.workflow import Workflow

MOST_JOBS = 30
"""Past jobs that a range is made of: the newest."""


def make_plan(place: Place, workflow: Workflow, data: Mapping[str, Any]) -> Plan:
    """What a run with this input would do. Outside of any event loop."""
    import asyncio

    objections = _of_gate(place, workflow)
    past = None
    try:
        past = _past(place, workflow)
    except DatabaseError as error:
        objections.append(Objection(by="database", message=str(error)))
    return plan_of(
        workflow,
        data,
        answers=asyncio.run(_answers(place.settings, asked_models(workflow))),
        past=past,
        objections=objections,
    )


def _of_gate(place: Place, workflow: Workflow) -> list[Objection]:
    """Test doubles, where the project is in production mode."""
    if place.settings.mode != "production":
        return []
    from ucop.graphs.workflows.gate import refusals

    return [
        Objection(by="gate", message=str(one), nodes=(one.node,) if one.node else ())
        for one in refusals(workflow)
    ]


# ---- what answers ----


async def _answers(settings: Settings, names: Sequence[str]) -> dict[str, ModelUse | ModelError]:
    from ucop.agents.embedded import EmbeddedModel
    from ucop.agents.models.models import Models

    class Unstarted(EmbeddedModel):
        """Tells whether the embedded model is installed, and does not start it."""

        async def endpoint(self) -> str:
            return "a process of its own"

    models = Models(
        aliases=settings.models,
        ollama_host=settings.ollama_host,
        embedded=Unstarted() if settings.embedded else False,
        providers=settings.providers,
    )
    try:
        return {name: await _answer(models, name) for name in names}
    finally:
        await models.aclose()


async def _answer(models: Models, name: str) -> ModelUse | ModelError:
    try:
        return await models.resolve(name)
    except ModelError as error:
        return error


# ---- past jobs ----


def _past(place: Place, workflow: Workflow) -> Past | None:
    """Completed jobs of this very definition; where there are none, of its name."""
    from ucop.engine.reading.reader import NoDatabase

    try:
        with place.reader() as reader:
            jobs = reader.jobs(
                Filter(status=JobStatus.COMPLETED, workflow=workflow.name), limit=MOST_JOBS
            )
            stored = json.loads(json.dumps(workflow.stored))
            same = [job for job in jobs if reader.definition(job.id) == stored]
            whole = [reader.job(job.id) for job in same or jobs]
    except NoDatabase:
        return None
    return Past(
        jobs=[_spent(job.usage) for job in whole],
        same_definition=bool(same),
        models=_models_of(step for job in whole for step in job.steps),
    )


def _spent(usage: Usage) -> Spent:
    return Spent(
        model_calls=usage.model_calls,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        cost=usage.cost,
    )


def _models_of(steps: Iterable[Step]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for step in steps:
        found.setdefault(step.node, {}).update(dict.fromkeys(step.models))
    return {node: list(models) for node, models in found.items()}
