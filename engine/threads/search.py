"""Which threads there are: those that have a row of their own, and those of jobs."""

from __future__ import annotations

import json
from typing import Any

from ..errors import InvalidInput, ThreadNotFound
from ..ledger.operation import One, Operation, Row
from ..ledger.thread_rows import Owner
from ..reading.rows import error_of
from ..record import record_of
from ..values.json_text import to_json
from .thread import SORTS, Thread, ThreadFilter

_LISTED = """
with known as (
    select id, tenant, metadata, workflow, created_at, updated_at, expires_at
    from threads where temporary = 0{named}
    union all
    select id, tenant, '{{}}', null, created_at, created_at, null
    from jobs where thread_id = id and not exists (
        select 1 from threads where threads.id = jobs.id){own}),
placed as (
    select known.*, coalesce(
        (select id from jobs on_it where on_it.thread_id = known.id and on_it.thread_id <> on_it.id
            order by on_it.created_at desc, on_it.id desc limit 1),
        (select id from jobs own where own.id = known.id and own.thread_id = own.id)) as job
    from known),
listed as (
    select placed.id, placed.tenant, placed.metadata, placed.created_at, placed.expires_at, placed.job,
        coalesce(jobs.workflow, placed.workflow) as workflow,
        case when jobs.status = 'failed' then jobs.error end as error,
        case when coalesce(jobs.finished_at, jobs.started_at, jobs.created_at) > placed.updated_at
            then coalesce(jobs.finished_at, jobs.started_at, jobs.created_at)
            else placed.updated_at end as updated_at,
        case when exists (select 1 from jobs busy where busy.status = 'pending'
                and busy.thread_id = placed.id) then 'busy'
            when exists (select 1 from jobs busy where busy.status = 'running'
                and busy.thread_id = placed.id) then 'busy'
            when jobs.status in ('waiting', 'paused') then 'interrupted'
            when jobs.status = 'failed' then 'error' else 'idle' end as status
    from placed left join jobs on jobs.id = placed.job)
select * from listed"""


def get(thread: str, owner: Owner) -> Operation[Thread]:
    """One thread. Raises ThreadNotFound."""
    sql = _LISTED.format(named=" and id = :thread", own=" and jobs.id = :thread")
    rows = yield One(sql, {"thread": thread})
    if not rows or not owner.owns(rows[0]):
        raise ThreadNotFound(thread, owner.tenant)
    return _thread(rows[0])


def search(
    filter: ThreadFilter, *, sort: str, descending: bool, limit: int, offset: int
) -> Operation[list[Thread]]:
    """The threads that a filter names. Raises InvalidInput."""
    if sort not in SORTS:
        raise InvalidInput(f"sort_by: {sort!r} is none; there is {', '.join(SORTS)}")
    if filter.cursor is not None and sort != "updated_at":
        raise InvalidInput("cursor: it goes with sort_by='updated_at' alone")
    where, params = _conditions(filter, descending)
    order = f"{sort} desc, id desc" if descending else f"{sort}, id"
    sql = f"{_chosen(filter)}{where} order by {order} limit :limit offset :offset"
    rows = yield One(sql, {**params, "limit": limit, "offset": offset})
    return [_thread(row) for row in rows]


def count(filter: ThreadFilter) -> Operation[int]:
    """How many threads a filter names."""
    where, params = _conditions(filter, True)
    sql = f"select count(*) as threads from ({_chosen(filter)}{where}) found"  # noqa: S608 - ours
    return int((yield One(sql, params))[0]["threads"])


def _chosen(filter: ThreadFilter) -> str:
    mine = "" if filter.tenant is None else " and {}tenant = :tenant"
    return _LISTED.format(named=mine.format(""), own=mine.format("jobs."))


def _conditions(filter: ThreadFilter, descending: bool) -> tuple[str, dict[str, Any]]:
    given: list[str] = []
    params: dict[str, Any] = {}
    if filter.tenant is not None:
        params["tenant"] = filter.tenant
    if filter.ids is not None:
        names = {f"id_{_letters(n)}": id for n, id in enumerate(sorted(filter.ids))}
        given.append(f"id in ({', '.join(f':{name}' for name in names)})" if names else "1 = 0")
        params |= names
    if filter.metadata:
        given.append("{noted}")
        params["metadata"] = to_json(dict(filter.metadata))
    for name in ("status", "workflow"):
        if (value := getattr(filter, name)) is not None:
            given.append(f"{name} = :{name}")
            params[name] = str(value)
    if (place := filter.place) is not None:
        given.append(f"(updated_at, id) {'<' if descending else '>'} (:at, :behind)")
        params["at"], params["behind"] = place
    return (f" where {' and '.join(given)}" if given else ""), params


def _letters(number: int) -> str:
    """A number as names of parameters have it, which hold letters alone."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _thread(row: Row) -> Thread:
    return record_of(
        Thread,
        row,
        metadata=json.loads(row["metadata"]),
        error=error_of(row["error"]),
        cursor=f"{row['updated_at']!r} {row['id']}",
    )
