"""Threads in the ledger: whose each one is.

A thread that was named has a row in `threads`. A job's own thread has the job's name, and needs
none: it belongs to the tenant of that job. (What LangGraph's savers keep of a thread is in
threads.py.)
"""

from __future__ import annotations

from ..errors import ThreadNotFound
from .operation import One, Operation

_TAKE = """
insert into threads (id, tenant, metadata, lasting, temporary, created_at, updated_at)
select cast(:thread as text), cast(:tenant as text), '{}', 0, 0, {now}, {now}
where not exists (select 1 from jobs where id = :thread and thread_id = id
    and coalesce(tenant, '') <> coalesce(cast(:tenant as text), ''))
on conflict (id) do update set updated_at = excluded.updated_at
where coalesce(threads.tenant, '') = coalesce(excluded.tenant, '') returning id"""


def take(thread: str, tenant: str | None) -> Operation[None]:
    """A job of `tenant` is to run on a named thread, which is made if there is none. Raises
    ThreadNotFound for the thread of another tenant.

    Where two come at the same moment, the second waits for the first one's transaction.
    """
    if not (yield One(_TAKE, {"thread": thread, "tenant": tenant})):
        raise ThreadNotFound(thread, tenant)


def hold(thread: str) -> Operation[None]:
    """No job is submitted on a named thread until this transaction ends."""
    yield One("update threads set updated_at = updated_at where id = :thread", {"thread": thread})


def drop(thread: str) -> Operation[None]:
    """The thread is nobody's any more."""
    yield One("delete from threads where id = :thread", {"thread": thread})
