"""Workflows: what can be run, how it looks, whether it is sound, and what a run would do."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from enum import Enum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from ucop.agents.finding import Finding
from ucop.agents.text.source import read_yaml
from ucop.engine.errors import InvalidDefinition
from ucop.graphs.language.json_schema import schema_text
from ucop.graphs.pictures.picture import picture_of
from ucop.graphs.pictures.text import draw
from ucop.graphs.workflows.yaml_file import workflow_of

from ...view.checks import check_project, check_workflow
from ...view.findings import finding_json
from ...view.plan import make_plan
from ...view.records import listing_record, workflow_record
from ..access import Reads
from ..parts import Parts, Uses
from ..problems import invalid
from .forms import Form, Items

router = APIRouter(tags=["workflows"])


class WorkflowListing(BaseModel):
    """A workflow that can be named."""

    name: str
    kind: Literal["yaml", "python"]
    origin: str
    description: str


class WorkflowRecord(BaseModel):
    """A workflow, and what it is made of."""

    name: str
    description: str
    origin: str
    fingerprint: str
    needs: list[str]
    input_schema: dict[str, Any] | None
    nodes: list[str]
    definition: dict[str, Any]


class FindingRecord(BaseModel):
    """A mistake in a definition, or a thing to look at, and where it is."""

    severity: Literal["error", "warning"]
    code: str
    message: str
    hint: str | None
    file: str | None
    line: int | None
    column: int | None
    end_column: int | None


class Check(Form):
    """What is to be checked; nothing named: the whole project."""

    names: list[str] | None = None
    """Workflows by their names."""
    text: str | None = None
    """A definition in YAML, which is not kept. It can name the project's agents and workflows."""


class Checked(BaseModel):
    sound: bool
    """Whether there is no error."""
    findings: dict[str, list[FindingRecord]]
    """By what was looked at."""


class DryRun(Form):
    input: dict[str, Any] = Field(default_factory=dict)


@router.get("/workflows")
async def list_workflows(parts: Uses, caller: Reads) -> Items[WorkflowListing]:
    """The workflows of the project, of installed packages, and the bundled ones."""
    found = await asyncio.to_thread(parts.engine.catalog.names)
    return Items[WorkflowListing](items=[WorkflowListing(**listing_record(one)) for one in found])


@router.get("/workflows/{name}")
async def show_workflow(parts: Uses, caller: Reads, name: str) -> WorkflowRecord:
    """A workflow's input, nodes and definition."""
    workflow = await parts.workflow(name)
    return WorkflowRecord(**await asyncio.to_thread(workflow_record, workflow))


@router.get(
    "/workflows/{name}/graph",
    response_model=dict[str, Any],
    responses={200: {"content": {"text/plain": {}, "image/svg+xml": {}}}},
)
async def show_graph(
    parts: Uses,
    caller: Reads,
    name: str,
    format: Annotated[Literal["json", "mermaid", "dot", "svg"], Query()] = "json",
) -> Response:
    """A workflow's nodes, conditions and loops: as data, or drawn as Mermaid, DOT or SVG."""
    workflow = await parts.workflow(name)
    if format == "json":
        picture = asdict(await asyncio.to_thread(picture_of, workflow))
        return Response(json.dumps(picture, default=_value), media_type="application/json")
    media = "image/svg+xml" if format == "svg" else "text/plain"
    # A picture is looked at, and runs nothing.
    safe = {
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "x-content-type-options": "nosniff",
    }
    return Response(await asyncio.to_thread(draw, workflow, format), headers=safe, media_type=media)


@router.post("/workflows/check")
async def check(parts: Uses, caller: Reads, form: Check) -> Checked:
    """Check workflows, all agents and workflows of the project, or a text that is none of them."""
    if form.names is not None and form.text is not None:
        raise invalid("give names or a text, not both", pointer="/text")
    found = await asyncio.to_thread(_check, parts, form)
    folders = [parts.settings.root]
    findings = {
        what: [FindingRecord(**finding_json(one, folders)) for one in some]
        for what, some in found.items()
    }
    every = (one for some in findings.values() for one in some)
    return Checked(sound=all(one.severity != "error" for one in every), findings=findings)


def _check(parts: Parts, form: Check) -> dict[str, tuple[Finding, ...]]:
    production = parts.settings.mode == "production"
    if form.text is not None:
        return {"text": _check_text(parts, form.text)}
    if form.names is None:
        return check_project(parts.place, production=production)
    for name in form.names:
        parts.engine.catalog.find(name)  # a name, and no file
    return {name: check_workflow(parts.place, name, production=production) for name in form.names}


def _check_text(parts: Parts, text: str) -> tuple[Finding, ...]:
    engine = parts.engine
    try:
        document = read_yaml(text, "text")
        return workflow_of(document, engine.registry, engine.catalog.find).warnings
    except InvalidDefinition as error:
        return error.findings


@router.post("/workflows/{name}/dry-run")
async def dry_run(parts: Uses, caller: Reads, name: str, form: DryRun) -> dict[str, Any]:
    """What a run with this input would do: order, models, branches, loops, what it may cost, and
    what stands against it. Nothing runs, and no model is asked."""
    workflow = await parts.workflow(name)
    plan = await asyncio.to_thread(make_plan, parts.place, workflow, form.input)
    told: dict[str, Any] = json.loads(json.dumps(asdict(plan), default=_value))
    return told


@router.get("/schema/workflow")
async def workflow_schema(caller: Reads) -> dict[str, Any]:
    """The JSON Schema of workflow files."""
    schema: dict[str, Any] = json.loads(schema_text())
    return schema


def _value(member: Any) -> Any:
    if isinstance(member, Enum):
        return member.value
    raise TypeError(f"no JSON for a {type(member).__name__}")
