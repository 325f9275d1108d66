"""What happens, as it happens: events of one job or of all, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query

from ucop.agents.text.plain import plain
from ucop.engine.errors import JobNotFound
from ucop.engine.events.subscriptions import Page, Wanted, page, wanted
from ucop.engine.jobs.job import Event
from ucop.engine.jobs.status import ACTIVE, JobStatus
from ucop.engine.reading.reader import Reader

from ..access import Reads
from ..news import told_event
from ..parts import Parts, Uses, tenant_for
from ..problems import invalid
from ..sse import EventStream, Told, lively, told
from .forms import Items, Limit

router = APIRouter(tags=["events"])

PAGE = 500
"""Events that are read at once."""

LATEST = 2**63

After = Annotated[
    int | None,
    Query(ge=0, lt=LATEST, description="Go on behind this. The header Last-Event-ID overrides it."),
]
LastId = Annotated[str | None, Header(alias="last-event-id")]
Types = Annotated[
    list[str], Query(description="Only these types, such as `job.failed`, or `job.*`.")
]
Workflows = Annotated[list[str], Query(description="Only events of jobs of these workflows.")]


@router.get("/jobs/{id}/stream", response_class=EventStream, status_code=200)
async def stream_job(
    parts: Uses,
    caller: Reads,
    id: str,
    after: After = None,
    tokens: bool = False,
    last_event_id: LastId = None,
) -> EventStream:
    """The job's events behind `after`, each once and in order, until the job rests; their ids are
    their numbers. With `tokens` also what models say meanwhile (`event: token`, without an id).
    Ends with `event: end`."""
    handle = await parts.job(id, caller)
    begin = _begin(last_event_id, after) or 0
    events = job_events(parts, handle.id, begin, tokens=tokens)
    return EventStream(lively(_greeted(events), parts.stopping), parts.open_stream(caller))


@router.get("/events/stream", response_class=EventStream, status_code=200)
async def stream_events(
    parts: Uses,
    caller: Reads,
    types: Types = [],  # noqa: B006 - FastAPI copies it
    job: str | None = None,
    workflow: Workflows = [],  # noqa: B006
    tenant: str | None = None,
    after: After = None,
    last_event_id: LastId = None,
) -> EventStream:
    """Events of all jobs, each once and in one order; their ids are their positions. Without
    `after`: only what comes. Endless."""
    of = tenant_for(caller, tenant)
    whole = None if job is None else (await parts.job(job, caller)).id
    asked, begin = wanted(types, whole, workflow, of), _begin(last_event_id, after)
    events = lively(_greeted(all_events(parts, asked, begin)), parts.stopping)
    return EventStream(events, parts.open_stream(caller))


@router.get("/events")
async def list_events(
    parts: Uses,
    caller: Reads,
    types: Types = [],  # noqa: B006 - FastAPI copies it
    job: str | None = None,
    workflow: Workflows = [],  # noqa: B006
    tenant: str | None = None,
    after: Annotated[int, Query(ge=0, lt=LATEST)] = 0,
    limit: Limit = 200,
) -> Items[Event]:
    """Events of all jobs behind a position, in order. `next` is the position to ask after then."""
    of = tenant_for(caller, tenant)
    whole = None if job is None else (await parts.job(job, caller)).id
    asked = wanted(types, whole, workflow, of)
    found = await parts.read(lambda reader: reader.ask(page(asked, after, limit)))
    more = str(found.position) if len(found.events) == limit else None
    return Items[Event](items=found.events, next=more)


def _begin(last_event_id: str | None, after: int | None) -> int | None:
    """Raises Refusal for an id that no stream gave."""
    if not last_event_id:
        return after
    if not last_event_id.isascii() or not last_event_id.isdigit() or int(last_event_id) >= LATEST:
        raise invalid(f"no id of this stream: {last_event_id!r:.60}", parameter="last-event-id")
    return int(last_event_id)


async def _greeted(events: AsyncGenerator[Told]) -> AsyncGenerator[Told]:
    yield told("hello", {"version": version("ucop"), "now": datetime.now(UTC).isoformat()})
    async with aclosing(events):
        async for event in events:
            yield event


def job_events(parts: Parts, id: str, after: int, *, tokens: bool) -> AsyncGenerator[Told]:
    """The events of a job behind a number, until it rests; with `tokens` also what models say."""
    return _with_tokens(parts, id, after) if tokens else _job_events(parts, id, after)


async def _job_events(parts: Parts, id: str, after: int) -> AsyncGenerator[Told]:
    def read(reader: Reader) -> tuple[JobStatus, list[Event]]:
        # First the status: what it rests with is then among the events.
        status, _ = reader.status(id)
        return status, reader.events(id, after=after, limit=PAGE)

    with parts.standings.follow(id) as news:
        while True:
            news.clear()
            try:
                status, events = await parts.read(read)
            except JobNotFound:
                yield told("end", {"status": None, "after": after})  # it was deleted
                return
            for event in events:
                yield told(event.type, event.model_dump(mode="json"), event.seq)
                after = event.seq
            if len(events) == PAGE:
                continue
            if status not in ACTIVE:
                yield told("end", {"status": status, "after": after})
                return
            await news.wait()


async def _with_tokens(parts: Parts, id: str, after: int) -> AsyncGenerator[Told]:
    """Events and tokens as they come; the end comes last."""
    queue: asyncio.Queue[Told | None] = asyncio.Queue(maxsize=100)
    handle = await parts.engine.ajob(id)

    async def put_events() -> None:
        async for event in _job_events(parts, id, after):
            await queue.put(event)

    async def put_tokens() -> None:
        async with handle.astream("messages") as live:
            async for part in live:
                await queue.put(told("token", _token(part)))

    async def put_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(put_tokens())
                group.create_task(put_events())
        finally:
            await queue.put(None)

    task = asyncio.create_task(put_all())
    last: Told | None = None
    try:
        while (event := await queue.get()) is not None:
            if event.type == "end":
                last = event
            else:
                yield event
        await task
        if last is not None:
            yield last
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _token(part: Mapping[str, Any]) -> Any:
    message, metadata = part["data"]
    return {
        "node": metadata.get("langgraph_node"),
        "ns": plain(part["ns"]),
        "attempt": part["attempt"],
        "message": plain(message),
    }


def _page(asked: Wanted, after: int, reader: Reader) -> Page:
    return reader.ask(page(asked, after))


async def all_events(parts: Parts, asked: Wanted, after: int | None) -> AsyncGenerator[Told]:
    """Events of all jobs behind a position; None: only what comes. Ends where its reader is too
    slow."""
    reader = await parts.feed.join(asked)
    try:
        at = reader.start if after is None else after
        while at < reader.start:
            found = await parts.read(partial(_page, asked, at))
            for each in found.events:
                if each.position > reader.start:  # the feed has it, too
                    break
                yield told_event(each)
            at = found.position
        while (taken := await reader.take()) is not None:
            position, event = taken
            if after is None or position > after:
                yield event
    finally:
        parts.feed.leave(reader)
