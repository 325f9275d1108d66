"""What the routes work with: the engine, its project, and what streams wait for."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from fastapi import Depends
from fastapi.requests import HTTPConnection

from ucop.engine.errors import DatabaseError
from ucop.engine.stores import api_keys

from ..view.place import Place
from .access import Caller
from .news import Feed, News, Standings
from .problems import Refusal

if TYPE_CHECKING:
    from ucop.engine import Engine, JobHandle
    from ucop.engine.commands.commands import Commands
    from ucop.engine.ledger.operation import Operation
    from ucop.engine.reading.reader import Reader
    from ucop.engine.settings import Settings
    from ucop.graphs.workflow import Workflow

T = TypeVar("T")

log = logging.getLogger("ucop.api")


@dataclass(kw_only=True)
class Parts:
    """Lives on the server's loop, as long as the server."""

    engine: Engine
    place: Place
    """The project and database, as commands name them."""
    news: News
    commands: Commands
    """What is written beside the engine, on the server's loop."""
    standings: Standings = field(init=False)
    feed: Feed = field(init=False)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to stop."""
    streams: Counter[str | None] = field(default_factory=Counter)
    """Streams that are open, by the name of the key."""

    noting: set[asyncio.Future[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.standings = Standings(self.news, self.read)
        self.feed = Feed(self.news, self.read)

    @property
    def settings(self) -> Settings:
        return self.engine.settings

    async def read(self, ask: Callable[[Reader], T], /) -> T:
        """Read the ledger on a thread. Raises what `ask` raises, and DatabaseError."""
        return await asyncio.to_thread(lambda: ask(self.engine.reader))

    async def write(self, make: Callable[[], Operation[T]], /) -> T:
        """Run an operation of the ledger in a transaction."""
        return await self.commands.database.write(make)

    def note_change(self, *told: Any) -> None:
        """Note a request that was to change something; see api_keys.note."""

        async def note() -> None:
            try:
                await self.write(lambda: api_keys.note(*told))
            except DatabaseError as error:
                log.error("a change was not noted: %s", error)

        task = asyncio.ensure_future(note())
        self.noting.add(task)
        task.add_done_callback(self.noting.discard)

    async def job(self, id: str, caller: Caller) -> JobHandle:
        """A job that the caller may see, by its id or the beginning of it. Raises JobNotFound."""
        whole = await self.read(lambda reader: reader.find(id, tenant=caller.tenant))
        return await self.engine.ajob(whole)

    async def workflow(self, name: str) -> Workflow:
        """A workflow by its name; no file, for what a request names is not opened or imported.
        Raises UnknownWorkflow, InvalidDefinition."""
        return await asyncio.to_thread(self.engine.catalog.find, name)

    def open_stream(self, caller: Caller) -> Callable[[], None]:
        """Count a stream, until what this returns is called. Raises Refusal where there are as
        many as there may be."""
        settings, own = self.settings.serve, self.streams[caller.name]
        most_of_key = settings.streams if caller.name is None else settings.streams_per_key
        if self.streams.total() >= settings.streams or own >= most_of_key:
            raise Refusal("rate-limited", "as many streams are open as there may be")
        self.streams[caller.name] += 1

        def end() -> None:
            self.streams[caller.name] -= 1

        return end

    async def close(self) -> None:
        await asyncio.gather(*self.noting)
        await self.feed.close()
        await self.standings.close()
        await self.news.close()


def tenant_for(caller: Caller, named: str | None) -> str | None:
    """The tenant that a request is about: the caller's own, where it has one. Raises Refusal for
    another."""
    if caller.tenant is None:
        return named
    if named not in (None, caller.tenant):
        raise Refusal("forbidden", "this key belongs to another tenant")
    return caller.tenant


def parts_of(connection: HTTPConnection) -> Parts:
    parts: Parts = connection.app.state.parts
    return parts


Uses: TypeAlias = Annotated[Parts, Depends(parts_of)]
