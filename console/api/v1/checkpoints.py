"""Checkpoints of a job: its saved states, what differs between them, and what was forked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from ucop.engine.jobs.job import Checkpoint
from ucop.engine.reading.reader import Reader

from ...view.jobs.checkpoints import chosen, differences, pair
from ..access import Reads
from ..parts import Uses
from .forms import Items

router = APIRouter(prefix="/jobs", tags=["checkpoints"])


class Difference(BaseModel):
    """A value that is not the same in two states."""

    path: str
    before: Any
    after: Any


class Forked(BaseModel):
    """A job that was forked."""

    job: str
    checkpoint: str
    """The checkpoint that it began with."""


@router.get("/{id}/checkpoints")
async def list_checkpoints(
    parts: Uses, caller: Reads, id: str, values: bool = False
) -> Items[Checkpoint]:
    """The job's checkpoints, the newest first; with `values` also what the states hold."""
    whole = (await parts.job(id, caller)).id
    found = await parts.read(lambda reader: reader.checkpoints(whole))
    if not values:
        found = [each.model_copy(update={"values": {}}) for each in found]
    return Items[Checkpoint](items=found)


@router.get("/{id}/checkpoints/{checkpoint}")
async def show_checkpoint(parts: Uses, caller: Reads, id: str, checkpoint: str) -> Checkpoint:
    """One checkpoint with its values, by its id or the beginning of it; `last` is the newest."""
    whole = (await parts.job(id, caller)).id
    named = None if checkpoint == "last" else checkpoint
    return await parts.read(lambda reader: chosen(reader.checkpoints(whole), whole, named))


@router.get("/{id}/diff")
async def diff(
    parts: Uses,
    caller: Reads,
    id: str,
    first: Annotated[str, Query(alias="from")],
    second: Annotated[str | None, Query(alias="to")] = None,
) -> Items[Difference]:
    """What differs between two checkpoints; without `to`, between the one before and `from`."""
    whole = (await parts.job(id, caller)).id

    def ask(reader: Reader) -> list[Difference]:
        before, after = pair(reader.checkpoints(whole), whole, first, second)
        return [
            Difference(path=path, before=old, after=new)
            for path, old, new in differences(before, after)
        ]

    return Items[Difference](items=await parts.read(ask))


@router.get("/{id}/forks")
async def forks(parts: Uses, caller: Reads, id: str) -> Items[Forked]:
    """The jobs that were forked from this one."""
    whole = (await parts.job(id, caller)).id
    found = await parts.read(lambda reader: reader.forks(whole))
    return Items[Forked](items=[Forked(job=job, checkpoint=at) for job, at in found])
