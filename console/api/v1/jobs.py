"""Jobs: submitted, listed, shown, from files and to files."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ucop.engine.errors import ResultTimeout, UnknownWorkflow
from ucop.engine.jobs.job import Attempt, Checkpoint, Event, Job, Question, Step
from ucop.engine.jobs.run_options import names_secrets
from ucop.engine.jobs.status import JobStatus
from ucop.engine.stores.api_keys import Scope

from ...view.jobs.why import explain
from ..access import Administers, Caller, Reads, Runs
from ..body import JOB_FILE
from ..parts import Parts, Uses, tenant_for
from ..problems import Refusal, invalid
from .forms import (
    Given,
    Items,
    JobList,
    JobQuery,
    Limit,
    Submission,
    Wait,
    cursor_text,
    read_cursor,
)

router = APIRouter(prefix="/jobs", tags=["jobs"])

FILE_LIMIT = 1 << 30
"""Bytes of a job's file."""


class Why(BaseModel):
    """Why a job stands where it stands, and what would help."""

    id: str
    status: JobStatus
    causes: list[str]
    """The root cause first."""
    checkpoint: Checkpoint | None
    """Where it would go on from, without its values."""
    commands: list[dict[str, str]]
    """`command` and what it `does`."""


@router.get("")
async def list_jobs(parts: Uses, caller: Reads, query: Annotated[JobList, Query()]) -> Items[Job]:
    """Jobs, the newest first, with their usage and without their steps."""
    filter = query.read(tenant_for(caller, query.tenant))
    behind = read_cursor(query.cursor)

    def ask(reader: Any) -> Any:
        reader.check_queue(filter.queue, parts.settings.declared)
        return reader.jobs_behind(filter, behind, limit=query.limit)

    jobs, last = await parts.read(ask)
    return Items[Job](items=jobs, next=cursor_text(last))


@router.get("/counts")
async def count_jobs(
    parts: Uses, caller: Reads, query: Annotated[JobQuery, Query()]
) -> dict[JobStatus, int]:
    """How many jobs have each status."""
    filter = query.read(tenant_for(caller, query.tenant))
    return await parts.read(lambda reader: reader.counts(filter))


@router.post("", status_code=201, responses={200: {"description": "A job with this key exists."}})
async def submit(
    parts: Uses,
    caller: Runs,
    form: Submission,
    response: Response,
    wait: Wait = 0,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Job:
    """Submit a job. It is stored when this answers, and survives whatever happens then."""
    if form.key not in (None, idempotency_key) and idempotency_key is not None:
        raise invalid("differs from the header Idempotency-Key", pointer="/key")
    check_secrets(caller, form)
    try:
        workflow = await parts.workflow(form.workflow)
    except UnknownWorkflow as error:
        raise invalid(str(error), pointer="/workflow") from error
    terms = form.model_dump(exclude={"workflow", "key", "tenant", "input"})
    handle = await parts.engine.asubmit(
        workflow,
        form.input,
        key=form.key or idempotency_key,
        tenant=tenant_for(caller, form.tenant),
        **terms,
    )
    response.headers["location"] = f"/api/v1/jobs/{handle.id}"
    if not handle.is_new:
        response.status_code = 200
    return await rested(parts, handle.id, wait)


@router.post(
    "/import",
    status_code=201,
    openapi_extra={
        "requestBody": {"required": True, "content": {JOB_FILE: {"schema": {"type": "string"}}}}
    },
)
async def import_job(
    parts: Uses, caller: Administers, request: Request, response: Response, new_id: bool = False
) -> Job:
    """Take in a job from a file of `export`. Nothing runs until it is resumed or forked."""
    if caller.tenant is not None:
        raise Refusal("forbidden", "a key with a tenant cannot import jobs: a file names its own")
    with tempfile.TemporaryDirectory(prefix="ucop-import-") as folder:
        file = Path(folder) / "job"
        await _save(request, file)
        handle = await parts.engine.aimport_job(file, new_id=new_id)
    response.headers["location"] = f"/api/v1/jobs/{handle.id}"
    return await handle.aget()


async def _save(request: Request, file: Path) -> None:
    size = 0
    with file.open("wb") as stream:
        async for piece in request.stream():
            size += len(piece)
            if size > FILE_LIMIT:
                raise Refusal("too-large", f"a job's file may have {FILE_LIMIT:,} bytes")
            stream.write(piece)


@router.get("/{id}")
async def show_job(parts: Uses, caller: Reads, id: str, wait: Wait = 0) -> Job:
    """One job whole, by its id or the beginning of it."""
    return await rested(parts, (await parts.job(id, caller)).id, wait)


@router.get("/{id}/why")
async def why(parts: Uses, caller: Reads, id: str) -> Why:
    """Why a job failed, waits, is paused or does not go on, and the commands that help."""
    whole = (await parts.job(id, caller)).id

    def ask(reader: Any) -> Why:
        found = explain(parts.place, reader, reader.job(whole), reader.now())
        at = found.checkpoint
        return Why(
            id=whole,
            status=found.job.status,
            causes=list(found.causes),
            checkpoint=at and at.model_copy(update={"values": {}}),
            commands=[asdict(each) for each in found.advice],
        )

    return await parts.read(ask)


@router.get("/{id}/steps")
async def steps(parts: Uses, caller: Reads, id: str) -> Items[Step]:
    """The job's node runs, in the order in which they began."""
    whole = (await parts.job(id, caller)).id
    return Items[Step](items=await parts.read(lambda reader: reader.steps(whole)))


@router.get("/{id}/attempts")
async def attempts(parts: Uses, caller: Reads, id: str) -> Items[Attempt]:
    """The job's attempts, from the first."""
    whole = (await parts.job(id, caller)).id
    return Items[Attempt](items=await parts.read(lambda reader: reader.attempts(whole)))


@router.get("/{id}/events")
async def events(
    parts: Uses,
    caller: Reads,
    id: str,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Limit = 200,
) -> Items[Event]:
    """The job's events with numbers above `after`, in order and without a gap. `next` is the
    number to ask after then."""
    whole = (await parts.job(id, caller)).id
    found = await parts.read(lambda reader: reader.events(whole, after=after, limit=limit))
    return Items[Event](items=found, next=str(found[-1].seq) if len(found) == limit else None)


@router.get("/{id}/questions")
async def questions(
    parts: Uses, caller: Reads, id: str, only_open: Annotated[bool, Query(alias="open")] = False
) -> Items[Question]:
    """What the job asked people, in the order of asking; with `open` what is not answered yet."""
    whole = (await parts.job(id, caller)).id
    asked = await parts.read(lambda reader: reader.questions(whole))
    return Items[Question](items=[one for one in asked if one.is_open or not only_open])


@router.get("/{id}/export", response_class=StreamingResponse)
async def export(parts: Uses, caller: Reads, id: str, redact: bool = False) -> StreamingResponse:
    """The job as one file, without secrets; with `redact` of every text only its shape."""
    whole = (await parts.job(id, caller)).id
    lines: Iterator[str] = await parts.read(lambda reader: reader.export(whole, redact=redact))
    name = {"content-disposition": f'attachment; filename="{whole}.jsonl"'}
    return StreamingResponse(lines, media_type=JOB_FILE, headers=name)


async def rested(parts: Parts, id: str, wait: float) -> Job:
    """The job, once it rests; as it is where that takes more than `wait` seconds, or the server
    stops."""
    handle = await parts.engine.ajob(id)
    if wait:
        rest = asyncio.ensure_future(handle.await_rest(wait))
        stops = asyncio.ensure_future(parts.stopping.wait())
        try:
            await asyncio.wait((rest, stops), return_when=asyncio.FIRST_COMPLETED)
            if rest.done() and not isinstance(rest.exception(), ResultTimeout):
                rest.result()
        finally:
            stops.cancel()
            rest.cancel()
            await asyncio.gather(rest, stops, return_exceptions=True)
    return await handle.aget()


def check_secrets(caller: Caller, form: Given) -> None:
    """Secrets of the workers' environment are not for everybody who may submit. Raises Refusal."""
    if caller.scope.includes(Scope.OPERATE) and caller.tenant is None:
        return
    if names_secrets([form.context, form.config]):
        raise Refusal(
            "forbidden",
            "naming a secret (${env:…}) needs the scope operate, and a key without tenant",
        )
