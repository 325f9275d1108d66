"""Queues and workers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import StrictBool, StrictInt

from ucop.engine.queue.limits import Backlog, QueueState
from ucop.engine.reading.workers import WorkerState

from ..access import Caller, Operates, Reads
from ..parts import Parts, Uses
from ..problems import Refusal
from .forms import Form, Items

router = APIRouter(tags=["queues"])


class QueueChanges(Form):
    """What is to hold in place of the declared values; null lifts a limit."""

    concurrency: StrictInt | None = None
    worker_concurrency: StrictInt | None = None
    rate: str | None = None
    paused: StrictBool | None = None


@router.get("/queues")
async def list_queues(parts: Uses, caller: Reads) -> Items[QueueState]:
    """Queues with their limits, and their queued, running and delayed jobs by tenant."""
    found = await parts.engine.aqueues()
    return Items[QueueState](items=[_seen_by(caller, state) for state in found])


@router.get("/queues/{name}")
async def show_queue(parts: Uses, caller: Reads, name: str) -> QueueState:
    """One queue."""
    return _seen_by(caller, await _queue(parts, name))


@router.patch("/queues/{name}")
async def change_queue(parts: Uses, caller: Operates, name: str, form: QueueChanges) -> QueueState:
    """Change a queue's limits at once, for all workers, or pause it. It holds until it is changed
    again."""
    _refuse_tenants(caller)
    changes: dict[str, Any] = form.model_dump(exclude_unset=True)
    if changes.get("paused", True) is None:
        del changes["paused"]
    if not changes:
        raise Refusal("invalid-input", "say what is to hold, such as concurrency")
    await _queue(parts, name)
    await parts.engine.aset_queue(name, **changes)
    return await _queue(parts, name)


@router.delete("/queues/{name}/changes")
async def reset_queue(parts: Uses, caller: Operates, name: str) -> QueueState:
    """Let the declared values hold again."""
    _refuse_tenants(caller)
    await _queue(parts, name)
    await parts.engine.areset_queue(name)
    return await _queue(parts, name)


@router.get("/workers")
async def list_workers(parts: Uses, caller: Reads) -> Items[WorkerState]:
    """Workers: where they run, what they know and serve, and how many jobs they run."""
    return Items[WorkerState](items=await parts.read(lambda reader: reader.worker_states()))


async def _queue(parts: Parts, name: str) -> QueueState:
    for state in await parts.engine.aqueues():
        if state.name == name:
            return state
    raise Refusal("not-found", f"no queue {name!r}")


def _seen_by(caller: Caller, state: QueueState) -> QueueState:
    """Of the jobs in it only the caller's own tenant's, where it has one."""
    if caller.tenant is None:
        return state
    own = tuple(each for each in state.tenants if each.tenant == caller.tenant)
    counts = {name: getattr(own[0] if own else Backlog(), name) for name in Backlog.model_fields}
    return state.model_copy(update={**counts, "tenants": own})


def _refuse_tenants(caller: Caller) -> None:
    if caller.tenant is not None:
        raise Refusal("forbidden", "queues are shared by all tenants; this key belongs to one")
