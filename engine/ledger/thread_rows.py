"""Threads in the ledger: whose each one is, and what people note about it.

A thread that was named has a row in `threads`. A job's own thread has the job's name, and needs
none until somebody notes something about it: it belongs to the tenant of that job. (What LangGraph's
savers keep of a thread is in threads.py.)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ThreadExists, ThreadNotFound
from ..jobs.filter import ON_THREAD
from ..jobs.status import ACTIVE
from ..values.json_text import to_json
from .operation import One, Operation, Row
from .records import NewJob

_TAKE = """
insert into threads (id, tenant, metadata, workflow, fingerprint, lasting, temporary, created_at,
    updated_at)
select cast(:thread as text), cast(:tenant as text), '{}', cast(:workflow as text),
    cast(:fingerprint as text), 0, :temporary, {now}, {now}
where not exists (select 1 from jobs where id = :thread and thread_id = id
    and coalesce(tenant, '') <> coalesce(cast(:tenant as text), ''))
on conflict (id) do update set updated_at = excluded.updated_at, workflow = excluded.workflow,
    fingerprint = excluded.fingerprint
where coalesce(threads.tenant, '') = coalesce(excluded.tenant, '') returning id"""


def take(job: NewJob) -> Operation[None]:
    """A job is to run on a named thread, which is made if there is none. Raises ThreadNotFound for
    the thread of another tenant.

    Where two come at the same moment, the second waits for the first one's transaction.
    """
    params = {"thread": job.thread_id, "tenant": job.tenant, "workflow": job.workflow}
    more = {"fingerprint": job.fingerprint, "temporary": int(job.is_temporary)}
    if not (yield One(_TAKE, {**params, **more})):
        raise ThreadNotFound(job.thread_id, job.tenant)


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who asks for threads."""

    tenant: str | None = None
    """None, with `any`: whoever's they are."""
    any: bool = False

    def owns(self, row: Row) -> bool:
        return self.any or row["tenant"] == self.tenant


ANYBODY = Owner(any=True)

_HOLD = (
    "update threads set updated_at = updated_at where id = :thread returning id, tenant, temporary"
)

_OWN = "select id, tenant, 0 as temporary from jobs where id = :thread and thread_id = id"


def hold(thread: str) -> Operation[Row | None]:
    """The thread's row, or that of the job whose own it is. No job is submitted on a thread that
    has one until this transaction ends."""
    rows = (yield One(_HOLD, {"thread": thread})) or (yield One(_OWN, {"thread": thread}))
    return rows[0] if rows else None


def existing(thread: str, owner: Owner) -> Operation[Row]:
    """`hold` a thread that is there, and whose owner asks. Raises ThreadNotFound."""
    row = yield from hold(thread)
    if row is None or row["temporary"] or not owner.owns(row):
        raise ThreadNotFound(thread, owner.tenant)
    return row


_KNOWN = f"""
select id, tenant, temporary from threads where id = :thread
union all {_OWN} limit 1"""  # noqa: S608 - ours


def known(thread: str, owner: Owner) -> Operation[None]:
    """`existing`, for who only looks."""
    rows = yield One(_KNOWN, {"thread": thread})
    if not rows or rows[0]["temporary"] or not owner.owns(rows[0]):
        raise ThreadNotFound(thread, owner.tenant)


def check(thread: str, tenant: str | None) -> Operation[None]:
    """Raises ThreadNotFound for the thread of another tenant."""
    rows = yield One(_KNOWN, {"thread": thread})
    if rows and rows[0]["tenant"] != tenant:
        raise ThreadNotFound(thread, tenant)


def drop(thread: str) -> Operation[None]:
    """The thread is nobody's any more."""
    yield One("delete from threads where id = :thread", {"thread": thread})


_CREATE = """
insert into threads (id, tenant, metadata, workflow, fingerprint, lasting, temporary, created_at,
    updated_at, expires_at)
select cast(:thread as text), cast(:tenant as text), :metadata, :workflow, :fingerprint, 1, 0, {now},
    {now}, {now} + cast(:expires as double precision)
where not exists (select 1 from jobs where id = :thread and thread_id = id)
on conflict (id) do nothing returning id"""


@dataclass(frozen=True, kw_only=True)
class NewThread:
    """A thread that somebody creates."""

    id: str
    tenant: str | None = None
    metadata: Mapping[str, Any]
    workflow: str | None = None
    fingerprint: str | None = None
    expires: float | None = None
    """Seconds after which it is deleted."""


def create(new: NewThread, *, take_existing: bool) -> Operation[bool]:
    """Make a thread; False where it is there already, and `take_existing`. Raises ThreadExists, and
    ThreadNotFound where it is another tenant's."""
    fields = {
        "thread": new.id,
        "tenant": new.tenant,
        "metadata": to_json(new.metadata),
        "workflow": new.workflow,
        "fingerprint": new.fingerprint,
        "expires": new.expires,
    }
    if (yield One(_CREATE, fields)):
        return True
    yield from existing(new.id, Owner(tenant=new.tenant))
    if not take_existing:
        raise ThreadExists(new.id)
    return False


_NAME = """
insert into threads (id, tenant, metadata, lasting, temporary, created_at, updated_at)
select id, tenant, '{}', 0, 0, created_at, {now} from jobs where id = :thread and thread_id = id
on conflict (id) do nothing"""

_METADATA = "select metadata from threads where id = :thread"

_NOTE = "update threads set metadata = :metadata, updated_at = {now} where id = :thread"

_EXPIRE = "update threads set expires_at = {now} + :expires where id = :thread"


_TOUCH = "update threads set updated_at = {now} where id = :thread"


def name(thread: str) -> Operation[None]:
    """Give a job's own thread a row of its own."""
    yield One(_NAME, {"thread": thread})


def touch(thread: str) -> Operation[None]:
    """The thread was changed now."""
    yield One(_TOUCH, {"thread": thread})


_EXPIRED = """
select id from threads where expires_at is not null and expires_at <= {now}
order by expires_at limit :limit"""

_IS_EXPIRED = "select 1 from threads where id = :thread and expires_at <= {now}"


def expired(limit: int) -> Operation[list[str]]:
    """Threads whose time has passed."""
    return [row["id"] for row in (yield One(_EXPIRED, {"limit": limit}))]


def is_expired(thread: str) -> Operation[bool]:
    """Whether its time has passed still."""
    yield from hold(thread)
    return bool((yield One(_IS_EXPIRED, {"thread": thread})))


def note(
    thread: str, owner: Owner, metadata: Mapping[str, Any], expires: float | None = None
) -> Operation[None]:
    """Put `metadata` over what was noted; a value of None removes its name. Raises
    ThreadNotFound."""
    yield from name(thread)
    yield from existing(thread, owner)
    (row,) = yield One(_METADATA, {"thread": thread})
    merged = {**json.loads(row["metadata"]), **metadata}
    kept = {name: value for name, value in merged.items() if value is not None}
    yield One(_NOTE, {"thread": thread, "metadata": to_json(kept)})
    if expires is not None:
        yield One(_EXPIRE, {"thread": thread, "expires": expires})


# ---------------------------------------------------------------- its jobs

_JOBS = f"select id, status from jobs where {ON_THREAD} order by created_at, id"  # noqa: S608 - ours

_NEWEST = f"""
select id, status, attempt, fingerprint, checkpoint_id from jobs where {ON_THREAD}
order by created_at desc, id desc limit 1"""  # noqa: S608 - ours


def jobs(thread: str) -> Operation[list[tuple[str, str]]]:
    """(id, status) of the jobs on a thread, the oldest first."""
    return [(row["id"], row["status"]) for row in (yield One(_JOBS, {"thread": thread}))]


def active(thread: str) -> Operation[list[str]]:
    """The jobs on a thread that are queued or run."""
    return [id for id, status in (yield from jobs(thread)) if status in ACTIVE]


def newest(thread: str) -> Operation[Row | None]:
    """The newest job on a thread."""
    rows = yield One(_NEWEST, {"thread": thread})
    return rows[0] if rows else None


_GRAPH = "select fingerprint from threads where id = :thread and fingerprint is not null"


def graph(thread: str) -> Operation[tuple[str, str] | None]:
    """(fingerprint, job) of what a thread's states belong to: its newest job, or "" where it has
    none now; None where nobody said."""
    if (job := (yield from newest(thread))) is not None:
        return job["fingerprint"], job["id"]
    rows = yield One(_GRAPH, {"thread": thread})
    return (rows[0]["fingerprint"], "") if rows else None


_COPY = """
insert into threads (id, tenant, metadata, workflow, fingerprint, lasting, temporary, created_at,
    updated_at)
select cast(:target as text), cast(:tenant as text), coalesce((select metadata from threads where id = :source), '{}'),
    (select workflow from definitions where fingerprint = :fingerprint), :fingerprint, 1, 0, {now},
    {now}
where not exists (select 1 from jobs where id = :target) on conflict (id) do nothing returning id"""


def copy(source: str, target: str, owner: Owner) -> Operation[None]:
    """Make `target`, with what is noted about `source`. Raises ThreadNotFound, ThreadExists."""
    row = yield from existing(source, owner)
    of = yield from graph(source)
    params = {"source": source, "target": target, "tenant": row["tenant"]}
    if not (yield One(_COPY, {**params, "fingerprint": of and of[0]})):
        raise ThreadExists(target)
