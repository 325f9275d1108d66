"""Commands to jobs: one job by its route, many by `change`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from ucop.engine.errors import UnknownWorkflow
from ucop.engine.jobs.command import Changed, Command
from ucop.engine.jobs.filter import Filter
from ucop.engine.jobs.job import Job

from ..access import Operates, Runs
from ..parts import Parts, Uses, tenant_for
from ..problems import Refusal, invalid
from .forms import Answer, Change, Fork, Items, Pause, Prune, Restore, Resume, Retry, Wait
from .jobs import check_secrets, rested

router = APIRouter(prefix="/jobs", tags=["jobs"])

# What a command is told without a body.
PAUSE, RESUME, RETRY, FORK, PRUNE = Pause(), Resume(), Retry(), Fork(), Prune()


@router.post("/{id}/pause")
async def pause(parts: Uses, caller: Runs, id: str, form: Pause = PAUSE, wait: Wait = 0) -> Job:
    """Pause a queued or running job: a running one when its running nodes have ended, or, with
    `now`, in the middle of them."""
    handle = await parts.job(id, caller)
    await handle.apause(now=form.now)
    return await rested(parts, handle.id, wait)


@router.post("/{id}/resume")
async def resume(parts: Uses, caller: Runs, id: str, form: Resume = RESUME, wait: Wait = 0) -> Job:
    """Let a paused, failed or waiting job go on from its last checkpoint; with `now` also one that
    is delayed."""
    check_secrets(caller, form)
    handle = await parts.job(id, caller)
    await handle.aresume(**dict(form))
    return await rested(parts, handle.id, wait)


@router.post("/{id}/cancel")
async def cancel(parts: Uses, caller: Runs, id: str, wait: Wait = 0) -> Job:
    """Cancel a job permanently. What it finished stays to be read."""
    handle = await parts.job(id, caller)
    await handle.acancel()
    return await rested(parts, handle.id, wait)


@router.post("/{id}/retry")
async def retry(parts: Uses, caller: Operates, id: str, form: Retry = RETRY, wait: Wait = 0) -> Job:
    """Let a failed job go on; from an earlier checkpoint if one is named."""
    check_secrets(caller, form)
    handle = await parts.job(id, caller)
    await handle.aretry(**dict(form))
    return await rested(parts, handle.id, wait)


@router.post("/{id}/fork", status_code=201)
async def fork(
    parts: Uses, caller: Runs, id: str, response: Response, form: Fork = FORK, wait: Wait = 0
) -> Job:
    """A new job that goes on from a checkpoint of this one, which stays as it is."""
    check_secrets(caller, form)
    handle = await parts.job(id, caller)
    try:
        workflow = await parts.workflow(form.workflow) if form.workflow else None
    except UnknownWorkflow as error:
        raise invalid(str(error), pointer="/workflow") from error
    given = {name: value for name, value in form if name != "workflow"}
    new = await handle.afork(**given, workflow=workflow)
    response.headers["location"] = f"/api/v1/jobs/{new.id}"
    return await rested(parts, new.id, wait)


@router.post("/{id}/restore")
async def restore(parts: Uses, caller: Runs, id: str, form: Restore) -> Job:
    """Set a paused or failed job back to an earlier checkpoint; it goes on from there when it is
    resumed."""
    handle = await parts.job(id, caller)
    await handle.arestore(form.checkpoint)
    return await handle.aget()


class Pruned(BaseModel):
    id: str
    checkpoints: int
    """How many were deleted, or would be."""


@router.post("/{id}/prune")
async def prune(parts: Uses, caller: Operates, id: str, form: Prune = PRUNE) -> Pruned:
    """Delete old checkpoints of a job. The newest, and those that jobs need, are kept."""
    handle = await parts.job(id, caller)
    return Pruned(id=handle.id, checkpoints=await handle.aprune(**dict(form)))


@router.post("/{id}/archive")
async def archive(parts: Uses, caller: Operates, id: str) -> Job:
    """Take a job that has ended out of the lists; all of it stays to be read."""
    handle = await parts.job(id, caller)
    await handle.aarchive()
    return await handle.aget()


@router.post("/{id}/unarchive")
async def unarchive(parts: Uses, caller: Operates, id: str) -> Job:
    """Put it back into the lists."""
    handle = await parts.job(id, caller)
    await handle.aunarchive()
    return await handle.aget()


@router.delete("/{id}", status_code=204)
async def delete(parts: Uses, caller: Operates, id: str) -> None:
    """Delete a job that has ended, with its steps, events and checkpoints."""
    handle = await parts.job(id, caller)
    await handle.adelete()


@router.post("/{id}/questions/{question}/answer")
async def answer(
    parts: Uses, caller: Runs, id: str, question: str, form: Answer, wait: Wait = 0
) -> Job:
    """Answer an open question, by its id or the beginning of it; the job goes on."""
    handle = await parts.job(id, caller)
    await handle.aanswer(form.answer, question=question)
    return await rested(parts, handle.id, wait)


@router.post("/change")
async def change(parts: Uses, caller: Operates, form: Change) -> Items[Changed]:
    """Do the same with many jobs. Each change is a transaction of its own: one that is refused, or
    not found, keeps no other back."""
    jobs = await _named(
        parts, form, tenant_for(caller, form.filter.tenant if form.filter else None)
    )
    if form.dry_run:
        declared = parts.settings.declared
        ids = await parts.read(
            lambda reader: reader.taken(Command(form.action), jobs, declared, now=form.now)
        )
        return Items[Changed](items=[Changed(id=id, status=None) for id in ids])
    changed = await parts.engine.achange(
        form.action, jobs, now=form.now, budget=form.budget, priority=form.priority
    )
    return Items[Changed](items=changed)


async def _named(parts: Parts, form: Change, tenant: str | None) -> Filter | list[str]:
    """The jobs that are meant. Raises Refusal, JobNotFound."""
    if (form.ids is None) == (form.filter is None):
        raise invalid("name jobs by ids or by a filter", pointer="/ids")
    if form.ids is not None:
        ids = form.ids
        return await parts.read(lambda reader: [reader.find(id, tenant=tenant) for id in ids])
    filter = form.filter.read(tenant) if form.filter else Filter()
    if filter == Filter(tenant=tenant):
        raise Refusal("invalid-input", "an empty filter names every job; name some")
    return filter


@router.post("/tidy")
async def tidy(
    parts: Uses, caller: Operates, dry_run: Annotated[bool, Query()] = False
) -> dict[str, int]:
    """Apply the rules of `[retention]` now; how many jobs each rule meant."""
    if caller.tenant is not None:
        raise Refusal("forbidden", "the rules of retention are for the jobs of all tenants")
    return {
        str(rule): number for rule, number in (await parts.engine.atidy(dry_run=dry_run)).items()
    }
