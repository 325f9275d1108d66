"""Who may do what: keys, their scopes and tenants."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias

from fastapi import Depends
from fastapi.requests import HTTPConnection

from ucop.engine.ledger.events import acting
from ucop.engine.stores import api_keys
from ucop.engine.stores.api_keys import ApiKey, Scope

from .news import Read
from .problems import Refusal

KNOWN_FOR = 5.0
"""Seconds for which what the ledger says of a key holds: a key that is removed opens nothing after
that."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes a request."""

    name: str | None
    """The name of the key; None where the server is open."""
    scope: Scope
    tenant: str | None = None
    """The only tenant whose jobs it sees; None: all."""


ANYBODY = Caller(name=None, scope=Scope.ADMIN)
"""Who calls a server that is open."""


class Used(Protocol):
    """Notes that a key was used."""

    def __call__(self, id: str, /) -> Awaitable[None]: ...


class Gate:
    """Lets in who sent a key; and, where that is allowed, everybody as long as there is none."""

    def __init__(self, read: Read, used: Used, *, may_be_open: bool) -> None:
        self._read, self._used, self._may_be_open = read, used, may_be_open
        self._keys: dict[str, tuple[float, ApiKey | None]] = {}
        self._open: tuple[float, bool] = (0.0, False)

    async def __call__(self, connection: HTTPConnection) -> Caller:
        """Who calls. Raises Refusal for a key that is missing, unknown, expired or removed."""
        text = _sent(connection)
        if text is None:
            if await self._is_open():
                return ANYBODY
            raise Refusal("unauthorized", "send a key, as X-Api-Key or Authorization: Bearer")
        key = await self._key(text)
        if key is None:
            raise Refusal("unauthorized", "this key is unknown, or no longer holds")
        connection.scope.setdefault("state", {})["caller"] = key.name
        return Caller(name=key.name, scope=key.scope, tenant=key.tenant)

    async def _is_open(self) -> bool:
        if not self._may_be_open:
            return False
        until, is_open = self._open
        if time.monotonic() > until:
            is_open = not await self._read(lambda reader: reader.ask(api_keys.is_any()))
            self._open = (time.monotonic() + KNOWN_FOR, is_open)
        return is_open

    async def _key(self, text: str) -> ApiKey | None:
        until, key = self._keys.get(text, (0.0, None))
        if time.monotonic() > until:
            key = await self._read(lambda reader: reader.ask(api_keys.find(text)))
            if len(self._keys) > 1000:  # somebody tries many
                self._keys.clear()
            self._keys[text] = (time.monotonic() + KNOWN_FOR, key)
            if key is not None:
                await self._used(key.id)
        return key


def _sent(connection: HTTPConnection) -> str | None:
    """The key that a client sent; of `Authorization` only what is a bearer's."""
    if (key := connection.headers.get("x-api-key")) is not None:
        return key
    kind, _, rest = connection.headers.get("authorization", "").partition(" ")
    return rest.strip() if kind.lower() == "bearer" else None


def allow(scope: Scope) -> Callable[[HTTPConnection], Awaitable[Caller]]:
    """A dependency that lets pass who may do what needs `scope`."""

    async def check(connection: HTTPConnection) -> Caller:
        caller: Caller = await connection.app.state.gate(connection)
        if not caller.scope.includes(scope):
            raise Refusal("forbidden", f"this needs the scope {scope}; the key has {caller.scope}")
        connection.scope.setdefault("state", {})["changes"] = scope is not Scope.READ
        acting.set(caller.name)  # the events of what it changes tell it
        return caller

    check.scope = scope  # type: ignore[attr-defined]
    return check


Reads: TypeAlias = Annotated[Caller, Depends(allow(Scope.READ))]
Runs: TypeAlias = Annotated[Caller, Depends(allow(Scope.RUN))]
Operates: TypeAlias = Annotated[Caller, Depends(allow(Scope.OPERATE))]
Administers: TypeAlias = Annotated[Caller, Depends(allow(Scope.ADMIN))]
