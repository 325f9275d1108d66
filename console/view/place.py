"""Where a command works: the project and its database, as the options name them."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ucop.agents.text.secret_url import shown_url

from . import streams

if TYPE_CHECKING:
    import typer

    from ucop.agents.spec.registry import Registry
    from ucop.engine.commands.commands import Commands
    from ucop.engine.ledger.operation import Operation
    from ucop.engine.project import ProjectDatabase
    from ucop.engine.reading.reader import Reader
    from ucop.engine.settings import Settings
    from ucop.graphs.workflows.catalog import Catalog, Listing

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Place:
    """`--project` and `--database` as they were given; the rest is found when it is needed."""

    project: Path | None = None
    database: str | None = None

    @cached_property
    def settings(self) -> Settings:
        """Raises InvalidSettings."""
        from ucop.engine.settings import Settings

        return Settings.load(self.project, database=self.database)

    @cached_property
    def registry(self) -> Registry:
        """The project's agents. Raises InvalidDefinition."""
        from ucop.agents.spec.registry import load_registry

        settings = self.settings
        return load_registry(settings.root, settings.agents, servers=settings.mcp)

    @cached_property
    def catalog(self) -> Catalog:
        """The project's workflows. Raises InvalidDefinition."""
        from ucop.graphs.workflows.catalog import Catalog

        return Catalog(self.settings.root, self.settings.workflows, self.registry)

    def listings(self) -> list[Listing]:
        """The names of workflows; imports nothing of the project. Raises InvalidSettings."""
        from ucop.graphs.workflows.catalog import Catalog

        return Catalog(self.settings.root, self.settings.workflows).names()

    def reader(self) -> Reader:
        """Reads jobs; creates nothing. Raises DatabaseError, NoDatabase among them."""
        from ucop.engine.reading.reader import open_reader

        return open_reader(self._database.url)

    def ask(self, question: Callable[[Reader], T], otherwise: T) -> T:
        """What a reader answers; `otherwise` if there is no database yet."""
        from ucop.engine.reading.reader import NoDatabase

        try:
            with self.reader() as reader:
                return question(reader)
        except NoDatabase:
            return otherwise

    def read(self, operation: Operation[list[T]]) -> list[T]:
        """Run an operation of the ledger that reads; it finds nothing if there is no database."""
        return self.ask(lambda reader: reader.ask(operation), list[T]())

    def carry_out(self, give: Callable[[Commands], Awaitable[T]]) -> T:
        """Give a command without an engine: it loads nothing of the project. Raises UcopError."""
        import asyncio

        from ucop.engine.commands.commands import open_commands

        async def give_alone() -> T:
            async with open_commands(self._database) as commands:
                return await give(commands)

        return asyncio.run(give_alone())

    def write(self, make: Callable[[], Operation[T]]) -> T:
        """Run one operation of the ledger in a transaction, without an engine."""
        return self.carry_out(lambda commands: commands.database.write(make))

    @property
    def _database(self) -> ProjectDatabase:
        from ucop.engine.project import project_database

        return project_database(self.project, self.database)

    def command(self, rest: str) -> str:
        """A `ucop` command line that works in this same place, but for a password."""
        words = ["ucop"]
        if self.project is not None:
            words += ["--project", shlex.quote(str(self.project))]
        if self.database is not None:
            words += ["--database", shlex.quote(shown_url(self.database))]
        return " ".join([*words, rest])


def place_of(ctx: typer.Context) -> Place:
    """The place of a command: its own options, else those before it."""
    streams.part()  # whoever asks for its place may load the project's code
    place = place_with(ctx)
    ctx.find_root().obj = place
    return place


def place_with(
    ctx: typer.Context, project: Path | str | None = None, database: str | None = None
) -> Place:
    """The place so far, and what is given instead."""
    given = ctx.obj if isinstance(ctx.obj, Place) else Place()
    return Place(
        project=Path(project) if project else given.project,
        database=database or given.database,
    )


def reader_for(place: Place, id: str) -> Reader:
    """Where there is no database yet there is no such job either."""
    from ucop.engine.errors import JobNotFound
    from ucop.engine.reading.reader import NoDatabase

    try:
        return place.reader()
    except NoDatabase as error:
        raise JobNotFound(f"no job {id!r}: {error}") from error
