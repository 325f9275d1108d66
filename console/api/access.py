"""Who may do what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeAlias

from fastapi import Depends
from fastapi.requests import HTTPConnection

from .problems import Refusal


class Scope(StrEnum):
    """What a key may do. Each includes those before it."""

    READ = "read"
    """Everything that only looks."""
    RUN = "run"
    """Submit, answer, pause, cancel and go on; memory."""
    OPERATE = "operate"
    """Queues, schedules, webhooks, many jobs at once, retry, delete."""
    ADMIN = "admin"
    """Keys, and jobs from files."""

    def includes(self, other: Scope) -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(other)


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


def allow(scope: Scope) -> Callable[[HTTPConnection], Awaitable[Caller]]:
    """A dependency that lets pass who may do what needs `scope`."""

    async def check(connection: HTTPConnection) -> Caller:
        caller: Caller = await connection.app.state.gate(connection)
        if not caller.scope.includes(scope):
            raise Refusal("forbidden", f"this needs the scope {scope}; the key has {caller.scope}")
        return caller

    check.scope = scope  # type: ignore[attr-defined]
    return check


async def open_gate(connection: HTTPConnection) -> Caller:
    """The gate of a server without keys."""
    return ANYBODY


Reads: TypeAlias = Annotated[Caller, Depends(allow(Scope.READ))]
Runs: TypeAlias = Annotated[Caller, Depends(allow(Scope.RUN))]
Operates: TypeAlias = Annotated[Caller, Depends(allow(Scope.OPERATE))]
Administers: TypeAlias = Annotated[Caller, Depends(allow(Scope.ADMIN))]
