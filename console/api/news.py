"""What streams wait for. One thread hears that somebody wrote, in whatever process; then one look
at the database tells which of all followed jobs have news, and one more reads the events of all
jobs once for all who follow them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from ucop.engine.database.changes import open_ear
from ucop.engine.errors import DatabaseError
from ucop.engine.events.subscriptions import LOOK_AGAIN, Wanted, end, page
from ucop.engine.jobs.job import Event
from ucop.engine.jobs.status import JobStatus
from ucop.engine.reading.reader import Reader

from .sse import Told, told

T = TypeVar("T")

log = logging.getLogger("ucop.api")

LOOK = 0.02
"""Seconds between two looks whether somebody wrote."""

BACKLOG = 1000
"""Events that may wait for one reader; one that lets more come is too slow."""


class Read(Protocol):
    """Reads the ledger on a thread."""

    def __call__(self, ask: Callable[[Reader], T], /) -> Awaitable[T]: ...


EVERYTHING = Wanted()


class News:
    """Calls its listeners, on the server's loop, when anybody wrote."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._listeners: list[asyncio.Event] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="ucop-news", daemon=True)
        self._thread.start()

    def listener(self) -> asyncio.Event:
        """Set when anybody wrote; its holder clears it before it looks."""
        event = asyncio.Event()
        self._listeners.append(event)
        return event

    async def close(self) -> None:
        self._closed.set()
        await asyncio.to_thread(self._thread.join)

    def _hear(self) -> None:
        while not self._closed.is_set():
            try:
                ear = open_ear(self._url)
                try:
                    self._tell()  # what was written before it was open
                    while not self._closed.is_set():
                        if ear.hear(LOOK):
                            self._tell()
                finally:
                    ear.close()
            except DatabaseError as error:
                log.warning("cannot hear what is written, and tries again: %s", error)
                self._closed.wait(LOOK_AGAIN)

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for event in self._listeners:
            event.set()


class Standings:
    """Wakes those who follow single jobs, by the number of each job's newest event."""

    def __init__(self, news: News, read: Read) -> None:
        self._news, self._read = news.listener(), read
        self._followers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._known: dict[str, tuple[JobStatus, int] | None] = {}
        self._task = asyncio.create_task(self._watch(), name="ucop-standings")

    @contextmanager
    def follow(self, job: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job has news. Whoever reads first and waits then, misses
        nothing."""
        event = asyncio.Event()
        self._followers[job].add(event)
        try:
            yield event
        finally:
            followers = self._followers[job]
            followers.discard(event)
            if not followers:
                del self._followers[job]
                self._known.pop(job, None)

    async def close(self) -> None:
        await _end(self._task)

    async def _watch(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if jobs := list(self._followers):
                try:
                    found = await self._read(lambda reader: reader.standings(jobs))
                except DatabaseError as error:
                    log.warning("cannot look at followed jobs, and tries again: %s", error)
                    self._news.set()
                    await asyncio.sleep(LOOK_AGAIN)
                    continue
                self._tell(jobs, found)
            await asyncio.sleep(LOOK)

    def _tell(self, jobs: list[str], found: dict[str, tuple[JobStatus, int]]) -> None:
        for job in jobs:
            now = found.get(job)
            if job in self._followers and (job not in self._known or self._known[job] != now):
                self._known[job] = now
                for event in self._followers[job]:
                    event.set()


class FeedReader:
    """One who follows the events of all jobs from `start` on: those behind that position."""

    def __init__(self, asked: Wanted, start: int) -> None:
        self.asked, self.start = asked, start
        self.is_late = False
        """Whether more events came than may wait for it: some are missing then."""
        self._waiting: deque[tuple[int, Told]] = deque()
        self._news = asyncio.Event()

    def put(self, position: int, event: Told) -> None:
        if len(self._waiting) >= BACKLOG:
            self.is_late = True
        else:
            self._waiting.append((position, event))
        self._news.set()

    async def take(self) -> tuple[int, Told] | None:
        """The next event and its position; None where it is late."""
        while not self._waiting:
            if self.is_late:
                return None
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()


class Feed:
    """Reads the events of all jobs once, and hands each to those who want it."""

    def __init__(self, news: News, read: Read) -> None:
        self._news, self._read = news.listener(), read
        self._readers: set[FeedReader] = set()
        self._position = 0
        self._reading = asyncio.Lock()
        self._task = asyncio.create_task(self._tail(), name="ucop-feed")

    async def join(self, asked: Wanted) -> FeedReader:
        """Follow from now on, until `leave`. Raises DatabaseError."""
        async with self._reading:
            if not self._readers:
                self._position = await self._read(lambda reader: reader.ask(end()))
            reader = FeedReader(asked, self._position)
            self._readers.add(reader)
        self._news.set()
        return reader

    def leave(self, reader: FeedReader) -> None:
        self._readers.discard(reader)

    async def close(self) -> None:
        await _end(self._task)

    async def _tail(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_AGAIN):  # an open transaction may hold events back
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                async with self._reading:
                    while self._readers and await self._hand_out():
                        pass
            except DatabaseError as error:
                log.warning("cannot read events, and tries again: %s", error)
                await asyncio.sleep(LOOK_AGAIN)
            await asyncio.sleep(LOOK)

    async def _hand_out(self) -> bool:
        """Read a page; whether there were events."""
        position = self._position
        found = await self._read(lambda reader: reader.ask(page(EVERYTHING, position)))
        for event in found.events:
            job = event.job_id
            of = (found.workflows[job], found.tenants[job])
            takers = [one for one in self._readers if one.asked.takes(event, *of)]
            if takers:
                shared = told_event(event)
                for reader in takers:
                    reader.put(event.position, shared)
        self._position = found.position
        return bool(found.events)


def told_event(event: Event) -> Told:
    """An event of the stream of all jobs."""
    return told(event.type, event.model_dump(mode="json"), event.position)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
