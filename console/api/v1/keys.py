"""Keys of this API, and what was changed with them."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from ucop.agents.text.duration import seconds_of
from ucop.engine.stores import api_keys
from ucop.engine.stores.api_keys import ApiChange, ApiKey, NewKey, Scope

from ..access import Administers, Caller
from ..parts import Uses
from ..problems import Refusal, invalid
from .forms import Form, Items, Limit

router = APIRouter(tags=["keys"])


class KeyForm(Form):
    name: str = Field(min_length=1, max_length=100, pattern=r"^[^\s/\x00]+$")
    scope: Scope = Scope.RUN
    tenant: str | None = Field(default=None, min_length=1, max_length=1000)
    expires: str | None = None
    """After this time, such as `90d`, it opens nothing."""


class ShownKey(ApiKey):
    key: str
    """The key itself, which is shown only now."""


@router.get("/keys")
async def list_keys(parts: Uses, caller: Administers) -> Items[ApiKey]:
    """All keys, without their secrets."""
    _refuse_tenants(caller)
    return Items[ApiKey](items=await parts.read(lambda reader: reader.ask(api_keys.listed())))


@router.post("/keys", status_code=201)
async def add_key(parts: Uses, caller: Administers, form: KeyForm) -> ShownKey:
    """Make a key. It is shown in this answer, and never again."""
    _refuse_tenants(caller)
    expires_in = None if form.expires is None else seconds_of(form.expires)
    if form.expires is not None and expires_in is None:
        raise invalid("must be a time, such as 90d", pointer="/expires")
    new = NewKey(name=form.name, scope=form.scope, tenant=form.tenant, expires_in=expires_in)
    key = await parts.write(lambda: api_keys.add(new))
    found = await parts.read(lambda reader: reader.ask(api_keys.listed()))
    (made,) = (each for each in found if each.name == form.name)
    return ShownKey(**dict(made), key=key)


@router.delete("/keys/{name}", status_code=204)
async def remove_key(parts: Uses, caller: Administers, name: str) -> None:
    """Remove a key: within 5 seconds it opens nothing, at any server."""
    _refuse_tenants(caller)
    await parts.write(lambda: api_keys.remove(name))


@router.get("/changes")
async def list_changes(parts: Uses, caller: Administers, limit: Limit = 200) -> Items[ApiChange]:
    """Requests that changed something or were refused it, the newest first: when, with which key,
    and what came of it."""
    _refuse_tenants(caller)
    found = await parts.read(lambda reader: reader.ask(api_keys.changes(limit)))
    return Items[ApiChange](items=found)


def _refuse_tenants(caller: Caller) -> None:
    if caller.tenant is not None:
        raise Refusal("forbidden", "keys are for all tenants; this key belongs to one")
