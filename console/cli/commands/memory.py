"""`ucop memory`: what agents remember, and the documents they can search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put, put_json
from ...view.place import Place, place_of
from ...view.records import memory_record
from ...view.tables import Table, first_line, moment, plural
from .. import options

if TYPE_CHECKING:
    from ucop.agents.memory.memory import Memory, Remembered
    from ucop.engine import Engine

T = TypeVar("T")


Collection = Annotated[
    str, typer.Option("--collection", metavar="NAME", help="The name of an ingested folder.")
]
OfTenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="The tenant."),
]
Space = Annotated[
    str | None,
    typer.Argument(metavar="[SPACE]", help="agents/NAME, shared, or documents/COLLECTION."),
]


def ingest(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder with .md and .txt files.")
    ],
    collection: Collection = "documents",
    passage: Annotated[
        int, typer.Option(min=100, max=20_000, help="Maximum length of a passage, in characters.")
    ] = 1000,
    tenant: OfTenant = None,
    json: options.Json = False,
) -> None:
    """Let agents search a folder of Markdown and text by meaning.

    Again, it costs what changed: what is new gets a vector, what is gone is forgotten.
    """
    if not folder.is_dir():
        raise UsageProblem(f"{folder}: no such folder")
    from ucop.agents.memory.ingest import ingest

    with _engine(place_of(ctx)) as engine:
        memory = engine.memory(tenant=tenant).documents(collection)
        import asyncio

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


def search(
    ctx: typer.Context,
    query: Annotated[str, typer.Argument(metavar="TEXT", help="The text to search for.")],
    space: Annotated[
        str, typer.Option("--in", metavar="SPACE", help="agents/NAME, shared, or documents/…")
    ] = "documents",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show at most N.")] = 5,
    tenant: OfTenant = None,
    json: options.Json = False,
) -> None:
    """Search by meaning; the nearest results come first."""
    with _engine(place_of(ctx)) as engine:
        found = _space(engine, tenant, space).search(query, limit=limit)
    if json:
        put_json([memory_record(one) for one in found])
        return
    table = Table("score", "space", "key", "text", long=["text"])
    for one in found:
        table.add(f"{one.score:.3f}", "/".join(one.space), one.key, _text(one))
    table.show()


def list_(
    ctx: typer.Context,
    space: Space = None,
    tenant: OfTenant = None,
    json: options.Json = False,
) -> None:
    """List the spaces of memory, or the content of one."""
    from ucop.engine.stores.memory_rows import remembered, spaces

    place = place_of(ctx)
    namespace = _namespace(place, tenant, space or "")
    if space is not None:
        items = place.read(remembered(namespace))
        _list_space(items, as_json=json)
        return
    found = place.read(spaces(namespace))
    counts = [("/".join(name), items) for name, items in found]
    if json:
        put_json([{"space": name, "items": items} for name, items in counts])
        return
    table = Table("space", "items")
    table.rows.extend((name, str(items)) for name, items in counts)
    table.show()


def forget(
    ctx: typer.Context,
    space: Annotated[
        str, typer.Argument(metavar="SPACE", help="agents/NAME, shared, or documents/COLLECTION.")
    ],
    key: Annotated[str | None, typer.Option(metavar="TEXT", help="Only this key.")] = None,
    tenant: OfTenant = None,
    json: options.Json = False,
) -> None:
    """Delete a space of memory, or one key of it."""
    from ucop.engine.stores.memory_rows import spaces

    place = place_of(ctx)
    namespace = _namespace(place, tenant, space)
    number = 0
    if place.read(spaces(namespace)):  # else there may be no table yet
        number = place.carry_out(lambda commands: commands.forget(namespace, key))
    put_json({"forgotten": number}) if json else put(f"{plural(number, 'item')} forgotten")


def _engine(place: Place) -> Engine:
    from ucop.engine import Engine

    return Engine(settings=place.settings, worker=False)


def _space(engine: Engine, tenant: str | None, name: str) -> Memory:
    return engine.memory(tenant=tenant).of(*_parts(name))


def _parts(space: str) -> Sequence[str]:
    return [part for part in space.split("/") if part]


def _namespace(place: Place, tenant: str | None, space: str) -> Sequence[str]:
    from ucop.agents.memory.memory import namespace_of

    return namespace_of(place.settings.memory.project, tenant, _parts(space))


def _list_space(items: list[Remembered], *, as_json: bool) -> None:
    if as_json:
        put_json([memory_record(one) for one in items])
        return
    table = Table("space", "key", "when", "value", long=["value"])
    for one in sorted(items, key=lambda each: (each.space, each.key)):
        table.add("/".join(one.space), one.key, moment(one.updated_at), _text(one))
    table.show()


def _text(one: Remembered) -> str:
    from json import dumps

    return first_line(one.text or dumps(one.value, ensure_ascii=False))
