"""Webhooks: who is told of events, what was delivered, and what is sent again."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, StrictBool

from ucop.engine.events import webhooks
from ucop.engine.events.webhook_sender import send_test
from ucop.engine.events.webhooks import Delivery, DeliveryStatus

from ...view.records import webhook_record
from ..access import Caller, Operates, Reads
from ..parts import Uses
from ..problems import Refusal, invalid
from .forms import Form, Items, Limit

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


class WebhookRecord(BaseModel):
    """A webhook of the project, and how many deliveries of each status it has."""

    name: str
    address: str
    types: list[str]
    workflows: list[str]
    secret_env: str
    secret_is_here: bool
    pending: int
    delivered: int
    dead: int


class Again(Form):
    """Which deliveries are sent again."""

    ids: list[str] | None = None
    dead: StrictBool = False
    """All that were given up."""
    webhook: str | None = None
    """Only those of this webhook."""


class Queued(BaseModel):
    queued: int


class Tested(BaseModel):
    webhook: str
    id: str
    status: int | None
    error: str | None
    seconds: float


@router.get("")
async def list_webhooks(parts: Uses, caller: Reads) -> Items[WebhookRecord]:
    """The project's webhooks."""
    _refuse_tenants(caller)
    counts = await parts.read(lambda reader: reader.ask(webhooks.counted()))
    known = parts.settings.webhooks
    found = [WebhookRecord(**webhook_record(name, one, counts)) for name, one in known.items()]
    return Items[WebhookRecord](items=found)


@router.get("/deliveries")
async def list_deliveries(
    parts: Uses,
    caller: Reads,
    webhook: str | None = None,
    status: Annotated[DeliveryStatus | None, Query()] = None,
    limit: Limit = 50,
) -> Items[Delivery]:
    """Deliveries, the newest first."""
    _refuse_tenants(caller)
    found = await parts.read(lambda reader: reader.ask(webhooks.listed(webhook, status, limit)))
    return Items[Delivery](items=found)


@router.post("/deliveries/retry")
async def retry_deliveries(parts: Uses, caller: Operates, form: Again) -> Queued:
    """Send deliveries again, with their old ids. Workers send them."""
    _refuse_tenants(caller)
    ids = form.ids
    if (ids is None) != form.dead:
        raise invalid("name deliveries by ids, or all that were given up by dead", pointer="/ids")
    make = (
        (lambda: webhooks.again_dead(form.webhook))
        if ids is None
        else (lambda: webhooks.again(ids, form.webhook))
    )
    return Queued(queued=await parts.write(make))


@router.post("/{name}/test")
async def send_test_message(parts: Uses, caller: Operates, name: str) -> Tested:
    """Send a signed test message now, and tell what was answered. Nothing is stored."""
    _refuse_tenants(caller)
    if (webhook := parts.settings.webhooks.get(name)) is None:
        raise Refusal("not-found", f"no webhook {name!r}")
    began = time.monotonic()
    id, answer = await send_test(webhook)
    seconds = round(time.monotonic() - began, 3)
    return Tested(webhook=name, id=id, status=answer.status, error=answer.error, seconds=seconds)


def _refuse_tenants(caller: Caller) -> None:
    if caller.tenant is not None:
        raise Refusal("forbidden", "webhooks tell of all tenants' jobs; this key belongs to one")
