"""Events of all jobs, in one order: for subscribers, webhooks and plug-ins.

Each event has a position. On SQLite, where one transaction writes at a time, positions count.
On PostgreSQL a counter would not do: of two transactions the one that took the higher number may
commit first, and a reader that has gone past would never see the other. There a position is the
number of its transaction (`xid8`), and after that a number that spreads those of one transaction;
a reader goes no further than to the oldest transaction that is still open. An event is never given
a lower position than the one before it of the same job. So what a reader has passed is complete,
and within a job the order is that of `seq`.

A subscriber reads the ledger at its own pace. Nothing waits for it: to be slow, or to fail, is
its own affair.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import DatabaseError, InvalidInput
from ..jobs.job import Event, event_of
from ..ledger.operation import One, Operation

if TYPE_CHECKING:
    from ..reading.reader import Reader

log = logging.getLogger("ucop.events")

PAGE = 500
"""Events that are read at once: all that a subscription holds."""

LOOK_AGAIN = 1.0
"""Longest wait in seconds for news, where an open transaction may hold events back."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which events: those that fit all that is given."""

    types: tuple[str, ...] = ()
    """Types as they are, or `job.*` for all that begin with `job.`."""
    job: str | None = None
    workflows: tuple[str, ...] = ()
    tenant: str | None = None
    """Only those of this tenant's jobs."""

    def takes(self, event: Event, workflow: str, tenant: str | None) -> bool:
        """Whether an event of a job of this workflow and tenant is among them."""
        return (
            self.job in (None, event.job_id)
            and self.tenant in (None, tenant)
            and (not self.workflows or workflow in self.workflows)
            and (not self.types or any(_fits(type, event.type) for type in self.types))
        )

    def conditions(self) -> tuple[str, dict[str, Any]]:
        """SQL behind `where …`, and its parameters."""
        found, params = [], dict[str, Any]()
        if self.job is not None:
            found.append("events.job_id = :job")
            params["job"] = self.job
        if self.tenant is not None:
            found.append("jobs.tenant = :tenant")
            params["tenant"] = self.tenant
        for kind, column, values in (
            ("type", "events.type", self.types),
            ("workflow", "jobs.workflow", self.workflows),
        ):
            either = []
            for place, value in zip("abcdefghijklmnopqrstuvwxyz", values, strict=False):
                name = f"{kind}_{place}"
                params[name] = value.removesuffix("*")
                beginning = kind == "type" and value.endswith("*")
                either.append(
                    f"substr({column}, 1, {len(value) - 1}) = :{name}"
                    if beginning
                    else f"{column} = :{name}"
                )
            if either:
                found.append(f"({' or '.join(either)})")
        return "".join(f" and {condition}" for condition in found), params


def _fits(asked: str, type: str) -> bool:
    return type.startswith(asked[:-1]) if asked.endswith("*") else type == asked


def wanted(
    types: Collection[str] | str | None = None,
    job: str | None = None,
    workflows: Collection[str] | str | None = None,
    tenant: str | None = None,
) -> Wanted:
    """What a caller asked for. Raises InvalidInput for more names than anyone needs."""
    listed = [
        (given,) if isinstance(given, str) else tuple(given or ()) for given in (types, workflows)
    ]
    if any(len(given) > 26 for given in listed):
        raise InvalidInput("at most 26 types and 26 workflows can be named; `job.*` names many")
    return Wanted(types=listed[0], job=job, workflows=listed[1], tenant=tenant)


@dataclass(frozen=True, slots=True)
class Page:
    """Some events of those that were asked for, and how far that reaches."""

    events: list[Event]
    position: int
    """Everything up to here was looked at."""
    workflows: Mapping[str, str] = field(default_factory=dict)
    """The workflow of each job of which there is an event."""
    tenants: Mapping[str, str | None] = field(default_factory=dict)
    """The tenant of each."""


def page(asked: Wanted, after: int, limit: int = PAGE) -> Operation[Page]:
    """Up to `limit` events behind a position, in order. `{settled}` is the position up to which
    nothing can come any more."""
    until = yield from end()
    if until <= after:
        return Page([], after)
    conditions, params = asked.conditions()
    sql = f"""
select events.job_id, events.seq, events.type, events.at, events.data, events.position,
    jobs.workflow, jobs.tenant
from events join jobs on jobs.id = events.job_id
where events.position > :after and events.position <= :until{conditions}
order by events.position limit :limit"""  # noqa: S608 - ours
    rows = yield One(sql, {**params, "after": after, "until": until, "limit": limit})
    events = [event_of(row) for row in rows]
    workflows = {row["job_id"]: row["workflow"] for row in rows}
    tenants = {row["job_id"]: row["tenant"] for row in rows}
    reach = events[-1].position if len(events) == limit else until
    return Page(events, reach, workflows, tenants)


def end() -> Operation[int]:
    """The position behind which all is still to come."""
    rows = yield One("select {settled} as position", {})
    return int(rows[0]["position"])


class Subscription:
    """Events of jobs, as they come: to iterate over (also with `async for`), or handed to a
    callback.

    Close it, or use it in a `with`. `position` tells how far it has come: a subscription that
    begins there (`after=`) goes on without a gap, also in another process.
    """

    def __init__(
        self,
        reader: Callable[[], Reader],
        listen: Callable[[Callable[[], None]], Callable[[], None]],
        asked: Wanted,
        after: int | None,
        callback: Callable[[Event], object] | None = None,
    ) -> None:
        """`reader` opens a reader of the subscription's own. `listen` has something called
        whenever there are news, until what it returns is called. Raises InvalidInput for a
        callback that would have to be awaited."""
        if callback is not None and is_awaited(callback):
            raise InvalidInput(
                "a subscriber is called on a thread of its own, and must be a plain function; "
                "leave it out, and take the events with `async for`"
            )
        self._reader = reader()
        self._reading = threading.Lock()
        self._news = threading.Event()
        self._deaf = listen(self._news.set)
        self._closed = False
        self._asked = asked
        self._page: deque[Event] = deque()
        self._reach = self._reader.ask(end()) if after is None else after
        self.position = self._reach
        """That of the event that was handed over last, or of what was passed after it."""
        if callback is not None:
            threading.Thread(
                target=self._call, args=(callback,), name="ucop-subscriber", daemon=True
            ).start()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """Waits for the next event. Raises DatabaseError where the ledger cannot be read; then
        to ask again goes on where it was."""
        while not self._closed:
            if (event := self._take()) is not None:
                return event
            self._look()
        raise StopIteration

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        # Whoever awaits may give up: then the thread that looks goes on, and must take nothing.
        while not self._closed:
            if (event := self._take()) is not None:
                return event
            await asyncio.to_thread(self._look)
        raise StopAsyncIteration

    def close(self) -> None:
        """Hand over no more. A callback that is at an event is not waited for."""
        self._closed = True
        self._deaf()
        self._news.set()
        with self._reading:
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _take(self) -> Event | None:
        """The next event of those that were read."""
        if not self._page:
            return None
        event = self._page.popleft()
        self.position = event.position
        return event

    def _look(self) -> None:
        """Read the next page, or wait until there may be one."""
        self._news.clear()
        if not self._read():
            self._news.wait(LOOK_AGAIN)

    def _read(self) -> bool:
        """Read the next page; whether there is something to take."""
        with self._reading:
            if self._closed or self._page:  # another thread, which nobody waits for, has read it
                return True
            found = self._reader.ask(page(self._asked, self._reach))
            self._reach = found.position
            self._page.extend(found.events)
            if not found.events:
                self.position = self._reach
            return bool(found.events)

    def _call(self, callback: Callable[[Event], object]) -> None:
        while not self._closed:
            try:
                for event in self:
                    hand_over(callback, event)
            except DatabaseError as error:
                log.error("a subscription cannot read, and tries again: %s", error)
                self._news.wait(LOOK_AGAIN)


def is_awaited(callback: Callable[[Event], object]) -> bool:
    """Whether calling it does nothing until what it returns is awaited, which nobody does."""
    whole = inspect.iscoroutinefunction(callback)
    return whole or inspect.iscoroutinefunction(type(callback).__call__)


def hand_over(callback: Callable[[Event], object], event: Event) -> None:
    """Call a subscriber. What it raises is its own affair: it is logged, and that is all."""
    try:
        callback(event)
    except BaseException:  # also what would end its thread, or the engine's loop
        log.exception(
            "a subscriber failed at event %d of job %s (%s); the next ones go on",
            *(event.seq, event.job_id, event.type),
        )
