"""`ucop memory`: what agents remember, and the documents they can search."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put, put_json
from ...view.place import Place, place_of
from ...view.tables import Column, Table, first_line, moment, plural
from .. import options

if TYPE_CHECKING:
    from ucop.agents.memory.memory import Memory, Remembered
    from ucop.engine import Engine

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="What agents remember; documents to search.",
)

Collection = Annotated[
    str, typer.Option("--collection", metavar="NAME", help="The name of an ingested folder.")
]
OfTenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose memory it is.", show_default=False),
]
Space = Annotated[
    str | None,
    typer.Argument(
        metavar="[SPACE]",
        help="agents/NAME, shared, or documents/COLLECTION.",
        show_default=False,
    ),
]


@app.command()
def ingest(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="With .md and .txt files.")],
    collection: Collection = "documents",
    passage: Annotated[
        int, typer.Option(min=100, max=20_000, help="Longest passage, in characters.")
    ] = 1000,
    tenant: OfTenant = None,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Let agents search a folder of Markdown and text by meaning.

    Again, it costs what changed: what is new gets a vector, what is gone is forgotten.
    """
    if not folder.is_dir():
        raise UsageProblem(f"{folder}: no such folder")
    from ucop.agents.memory.ingest import ingest

    with _engine(place_of(ctx, project, database)) as engine:
        memory = engine.memory(tenant=tenant).documents(collection)
        done = asyncio.run(ingest(folder, memory, passage=passage, tell=note))
    if json:
        put_json(asdict(done))
    else:
        put(
            f"{plural(done.files, 'file')}: {done.added} passages added, "
            f"{done.unchanged} unchanged, {done.removed} removed"
        )
    for name, why in done.unread.items():
        note(f"warning: {name} was not read: {why}")
    raise typer.Exit(Exit.FAILED if done.unread else Exit.OK)


@app.command()
def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for.")],
    space: Annotated[
        str, typer.Option("--in", metavar="SPACE", help="agents/NAME, shared, or documents/…")
    ] = "documents",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 5,
    tenant: OfTenant = None,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Find what is nearest in meaning, the nearest first."""
    with _engine(place_of(ctx, project, database)) as engine:
        found = _space(engine, tenant, space).search(query, limit=limit)
    if json:
        put_json([_told(one) for one in found])
        return
    titles = [Column(title="score"), Column(title="space"), Column(title="key")]
    table = Table([*titles, Column(title="text", long=True)])
    for one in found:
        table.rows.append((f"{one.score:.3f}", "/".join(one.space), one.key, _shown(one)))
    table.show()


@app.command("list")
def list_(
    ctx: typer.Context,
    space: Space = None,
    tenant: OfTenant = None,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """List the spaces in which anything is remembered, or what is in one."""
    place = place_of(ctx, project, database)
    with _engine(place) as engine:
        if space is not None:
            _list_space(asyncio.run(_space(engine, tenant, space).aall()), as_json=json)
            return
        spaces = asyncio.run(_count(engine.memory(tenant=tenant)))
    if json:
        put_json([{"space": name, "items": count} for name, count in spaces])
        return
    table = Table([Column(title="space"), Column(title="items")])
    table.rows.extend((name, str(count)) for name, count in spaces)
    table.show()


@app.command()
def forget(
    ctx: typer.Context,
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="agents/NAME, shared, or documents/COLLECTION.")
    ],
    key: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only what is under it.", show_default=False)
    ] = None,
    tenant: OfTenant = None,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """Forget what is in a space, or under one key of it."""
    with _engine(place_of(ctx, project, database)) as engine:
        memory = _space(engine, tenant, space)
        found = [one for one in asyncio.run(memory.aall()) if key in (None, one.key)]
        for one in found:
            memory.of(*one.space).delete(one.key)
    put_json({"forgotten": len(found)}) if json else put(f"{plural(len(found), 'item')} forgotten")


def _engine(place: Place) -> Engine:
    from ucop.engine import Engine

    return Engine(settings=place.settings, worker=False)


def _space(engine: Engine, tenant: str | None, name: str) -> Memory:
    return engine.memory(tenant=tenant).of(*(part for part in name.split("/") if part))


async def _count(memory: Memory) -> list[tuple[str, int]]:
    found = []
    for space in await memory.aspaces():
        own = [one for one in await memory.of(*space).aall() if one.space == space]
        found.append(("/".join(space), len(own)))
    return found


def _list_space(items: list[Remembered], *, as_json: bool) -> None:
    if as_json:
        put_json([_told(one) for one in items])
        return
    titles = [Column(title="space"), Column(title="key"), Column(title="when")]
    table = Table([*titles, Column(title="value", long=True)])
    for one in sorted(items, key=lambda each: (each.space, each.key)):
        row = ("/".join(one.space), one.key, moment(one.updated_at), _shown(one))
        table.rows.append(row)
    table.show()


def _shown(one: Remembered) -> str:
    from json import dumps

    return first_line(one.text or dumps(one.value, ensure_ascii=False))


def _told(one: Remembered) -> dict[str, Any]:
    return {
        "space": "/".join(one.space),
        "key": one.key,
        "value": one.value,
        "score": one.score,
        "updated_at": one.updated_at.isoformat(),
    }
