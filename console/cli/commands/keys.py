"""`ucop keys`: the keys of the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import ValidationError

from ucop.agents.text.duration import seconds_of
from ucop.engine.stores.api_keys import NewKey, Scope

from ...view.exits import UsageProblem
from ...view.output import note, put, put_json, put_records
from ...view.place import place_of
from ...view.tables import Table, moment
from .. import options

Name = Annotated[str, typer.Argument(metavar="NAME", help="The key's name.")]


def add(
    ctx: typer.Context,
    name: Name,
    scope: Annotated[
        Scope,
        typer.Option(
            help="What it may do; each includes those before it: look; submit and control jobs; "
            "queues, schedules and many jobs at once; keys and imports."
        ),
    ] = Scope.RUN,
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The only tenant whose jobs it sees.", show_default=False
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="It opens nothing after this time, such as 90d.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a key and print it. It is never shown again."""
    from ucop.engine.stores import api_keys

    expires_in = None if expires is None else seconds_of(expires)
    if expires is not None and expires_in is None:
        raise UsageProblem(f"--expires takes a time such as 90d, not {expires!r}")
    try:
        new = NewKey(name=name, scope=scope, tenant=tenant, expires_in=expires_in)
    except ValidationError as error:
        raise UsageProblem(f"the key's {error.errors()[0]['loc'][0]} cannot be used") from None
    key = place_of(ctx).write(lambda: api_keys.add(new))
    put_json({"name": name, "scope": scope.value, "tenant": tenant, "key": key}) if json else put(
        key
    )
    note("keep it: it is not shown again. A server that runs asks for it within 5 s")


def list_(ctx: typer.Context, json: options.Json = False) -> None:
    """List keys, without their secrets."""
    from ucop.engine.reading.reader import NoDatabase
    from ucop.engine.stores import api_keys

    try:
        with place_of(ctx).reader() as reader:
            found = reader.ask(api_keys.listed())
    except NoDatabase:
        found = []
    if json:
        put_records(found)
        return
    titles = ("name", "scope", "tenant", "created", "expires", "used")
    table = Table(*titles)
    for key in found:
        times = (key.created_at, key.expires_at, key.last_used_at)
        shown = (moment(at) if at else "" for at in times)
        table.add(key.name, key.scope.value, key.tenant or "", *shown)
    table.show()


def remove(ctx: typer.Context, name: Name, json: options.Json = False) -> None:
    """Remove a key: within 5 seconds it opens nothing."""
    from ucop.engine.stores import api_keys

    place_of(ctx).write(lambda: api_keys.remove(name))
    put_json({"removed": name}) if json else note(f"key {name} is removed")
