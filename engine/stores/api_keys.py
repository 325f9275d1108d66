"""Keys of the HTTP API, and the log of what was changed through it. Operations of the ledger.

A key is `ucop_<id>_<secret>`. It is shown when it is made, and never again: the ledger holds a hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field

from ..errors import ApiKeyExists, ApiKeyNotFound
from ..jobs.job import Text
from ..ledger.operation import One, Operation, Row
from ..record import Record


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


class NewKey(Record):
    """A key as it is asked for."""

    name: Text = Field(min_length=1, max_length=100, pattern=r"^[^\s/]+$")
    scope: Scope = Scope.RUN
    tenant: Text | None = Field(default=None, min_length=1, max_length=1000)
    """The only tenant whose jobs it sees; None: all."""
    expires_in: float | None = Field(default=None, gt=0)
    """Seconds."""


class ApiKey(Record):
    """A key, without its secret."""

    id: str
    name: str
    scope: Scope
    tenant: str | None = None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""


class ApiChange(Record):
    """One request that changed something, or was refused."""

    at: datetime
    key: str | None
    """The name of the key; None where the server was open."""
    method: str
    path: str
    status: int
    request: str


_FORM = re.compile(r"ucop_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

_ADD = """
insert into api_keys (id, name, hash, scope, tenant, created_at, expires_at)
values (:id, :name, :hash, :scope, :tenant, {now}, {now} + cast(:expires_in as double precision))
on conflict (name) do nothing returning id"""

_ALL = "select * from api_keys order by name"

_REMOVE = "delete from api_keys where name = :name returning id"

_BY_ID = """
select *, case when expires_at <= {now} then 1 else 0 end as expired from api_keys where id = :id"""

_USED = """
update api_keys set last_used_at = {now}
where id = :id and (last_used_at is null or last_used_at < {now} - 60)"""

_ANY = "select 1 from api_keys limit 1"


def add(new: NewKey) -> Operation[str]:
    """Make a key; returns it whole, which nobody can do again. Raises ApiKeyExists."""
    id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    given = new.model_dump(mode="json")
    if not (yield One(_ADD, {**given, "id": id, "hash": _hash(secret)})):
        raise ApiKeyExists(f"there is a key {new.name!r}; remove it first, or take another name")
    return f"ucop_{id}_{secret}"


def listed() -> Operation[list[ApiKey]]:
    """All keys, by name."""
    return [_key(row) for row in (yield One(_ALL, {}))]


def remove(name: str) -> Operation[None]:
    """The key opens nothing from then on. Raises ApiKeyNotFound."""
    if not (yield One(_REMOVE, {"name": name})):
        raise ApiKeyNotFound(f"no key {name!r}; `ucop keys list` shows those there are")


def find(text: str) -> Operation[ApiKey | None]:
    """The key that a client sent; None for one that is unknown, or has expired."""
    if not (form := _FORM.fullmatch(text)):
        return None
    id, secret = form.groups()
    rows = yield One(_BY_ID, {"id": id})
    if not rows or rows[0]["expired"] or not hmac.compare_digest(rows[0]["hash"], _hash(secret)):
        return None
    return _key(rows[0])


def is_any() -> Operation[bool]:
    """Whether there is a key, so that nobody is let in without one."""
    return bool((yield One(_ANY, {})))


def used(id: str) -> Operation[None]:
    """Note that a key was used, once a minute at most."""
    yield One(_USED, {"id": id})


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Row) -> ApiKey:
    return ApiKey(
        id=row["id"],
        name=row["name"],
        scope=Scope(row["scope"]),
        tenant=row["tenant"],
        created_at=_moment(row["created_at"]),
        expires_at=row["expires_at"] and _moment(row["expires_at"]),
        last_used_at=row["last_used_at"] and _moment(row["last_used_at"]),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


# ---------------------------------------------------------------- what was changed

KEPT = 90 * 86_400.0
"""Seconds for which changes are kept."""

_NOTE = """
insert into api_changes (at, key, method, path, status, request)
values ({now}, :key, :method, :path, :status, :request)"""

_CHANGES = "select * from api_changes order by id desc limit :limit"

_FORGET = "delete from api_changes where at < {now} - :kept"


def note(key: str | None, method: str, path: str, status: int, request: str) -> Operation[None]:
    """Note a request that was to change something."""
    params = {"key": key, "method": method, "path": path, "status": status, "request": request}
    yield One(_NOTE, params)


def changes(limit: int) -> Operation[list[ApiChange]]:
    """The newest changes."""
    return [
        ApiChange(
            at=_moment(row["at"]),
            key=row["key"],
            method=row["method"],
            path=row["path"],
            status=row["status"],
            request=row["request"],
        )
        for row in (yield One(_CHANGES, {"limit": limit}))
    ]


def forget_changes() -> Operation[None]:
    """Delete changes of long ago."""
    yield One(_FORGET, {"kept": KEPT})
