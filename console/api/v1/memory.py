"""What agents remember."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from ucop.agents.memory.memory import Remembered, namespace_of
from ucop.engine.ledger.operation import Operation
from ucop.engine.reading.reader import NoDatabase
from ucop.engine.stores import memory_rows

from ...view.records import memory_record
from ..access import Reads, Runs
from ..parts import Parts, Uses, tenant_for
from ..problems import invalid
from .forms import Form, Items

router = APIRouter(prefix="/memory", tags=["memory"])

Space = Annotated[str, Query(description="`agents/NAME`, `shared` or `documents/COLLECTION`.")]


class SpaceRecord(BaseModel):
    """A space of memory."""

    space: str
    items: int


class MemoryItem(BaseModel):
    """One thing that is remembered."""

    space: str
    key: str
    value: dict[str, Any]
    score: float | None
    """How near it is to what was searched for, 1 for the same."""
    updated_at: datetime


class Memorandum(Form):
    space: str
    key: str = Field(min_length=1, max_length=1000)
    value: dict[str, Any] | str
    """What has a text under `text`, or is one, can be found by its meaning."""
    tenant: str | None = None


class Search(Form):
    query: str
    space: str = "documents"
    limit: int = Field(default=5, ge=1, le=1000)
    tenant: str | None = None


class Forgotten(BaseModel):
    forgotten: int


@router.get("")
async def list_spaces(parts: Uses, caller: Reads, tenant: str | None = None) -> Items[SpaceRecord]:
    """The spaces of memory that hold anything."""
    namespace = _namespace(parts, tenant_for(caller, tenant), "")
    found = await _ask(parts, memory_rows.spaces(namespace))
    return Items[SpaceRecord](
        items=[SpaceRecord(space="/".join(name), items=number) for name, number in found]
    )


@router.get("/items")
async def list_items(
    parts: Uses, caller: Reads, space: Space, key: str | None = None, tenant: str | None = None
) -> Items[MemoryItem]:
    """What is in a space and below it, the newest first; with `key` what has that key."""
    namespace = _namespace(parts, tenant_for(caller, tenant), space)
    found = await _ask(parts, memory_rows.remembered(namespace))
    return Items[MemoryItem](items=[_item(one) for one in found if key in (None, one.key)])


@router.put("/items", status_code=204)
async def put_item(parts: Uses, caller: Runs, form: Memorandum) -> None:
    """Remember a value under a key, instead of what was there."""
    memory = parts.engine.memory(tenant=tenant_for(caller, form.tenant))
    await memory.of(*_space(form.space)).aput(form.key, form.value)


@router.delete("/items")
async def forget(
    parts: Uses, caller: Runs, space: Space, key: str | None = None, tenant: str | None = None
) -> Forgotten:
    """Forget a space and what is below it, or one key there."""
    _space(space)
    namespace = _namespace(parts, tenant_for(caller, tenant), space)
    if not await _ask(parts, memory_rows.spaces(namespace)):
        return Forgotten(forgotten=0)
    number = await parts.commands.forget(namespace, key)
    return Forgotten(forgotten=number)


@router.post("/search")
async def search(parts: Uses, caller: Reads, form: Search) -> Items[MemoryItem]:
    """Search a space by meaning; the nearest comes first."""
    memory = parts.engine.memory(tenant=tenant_for(caller, form.tenant))
    found = await memory.of(*_space(form.space)).asearch(form.query, limit=form.limit)
    return Items[MemoryItem](items=[_item(one) for one in found])


def _item(one: Remembered) -> MemoryItem:
    return MemoryItem.model_validate(memory_record(one))


def _space(name: str) -> Sequence[str]:
    """Raises Refusal for a name that names nothing."""
    parts = [part for part in name.split("/") if part]
    if not parts:
        raise invalid("name a space, such as agents/NAME or shared", parameter="space")
    return parts


def _namespace(parts: Parts, tenant: str | None, space: str) -> Sequence[str]:
    names = [part for part in space.split("/") if part]
    return namespace_of(parts.settings.memory.project, tenant, names)


async def _ask(parts: Parts, operation: Operation[list[Any]]) -> list[Any]:
    """Where nothing was ever remembered there is no table."""
    try:
        return await parts.read(lambda reader: reader.ask(operation))
    except NoDatabase:
        return []
