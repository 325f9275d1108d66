"""`ucop models`: which models answer, and the small embedded one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ucop.engine.errors import ModelError

from ...view.exits import Exit, UsageProblem
from ...view.models import check_all, resolve_all
from ...view.output import note, put, put_json
from ...view.place import place_of
from ...view.tables import Table, duration
from .. import options

if TYPE_CHECKING:
    from ucop.agents.models.health import Health


def list_(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List the project's model names and the model behind each."""
    settings = place_of(ctx).settings
    import asyncio

    found = asyncio.run(resolve_all(settings))
    if json:
        put_json(found)
        return
    table = Table("name", "stands for", "answered by", "", long=[""])
    for one in found:
        cells = (one["name"], ", ".join(one["stands_for"]), one["answered_by"] or "nobody")
        table.add(*cells, one["note"])
    table.show()


def check(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="An alias or `provider:model`; default: all."),
    ] = None,
    call: Annotated[bool, typer.Option("--call", help="Also request one short answer.")] = False,
    json: options.Json = False,
) -> None:
    """Check that every endpoint has its model. Exit code 1 if one is not available."""
    settings = place_of(ctx).settings
    import asyncio

    try:
        found = asyncio.run(check_all(settings, name, call=call))
    except ModelError as error:
        raise UsageProblem(str(error)) from None
    if json:
        put_json([asdict(one) for one in found])
    else:
        _show_health(found)
    if not all(one.ok for one in found):
        raise typer.Exit(Exit.FAILED)


def _show_health(found: list[Health]) -> None:
    table = Table("model", "state", "time", "", numbers=["time"], long=[""])
    for one in found:
        state = "ok" if one.ok else "down"
        table.add(one.name, state, duration(one.seconds), one.note)
    table.show()


def install(json: options.Json = False) -> None:
    """Install the small embedded model into this Python environment (about 130 MB)."""
    from ucop.agents.embedded import EMBEDDED_MODEL
    from ucop.agents.embedded.install import install

    install()
    if json:
        put_json({"model": EMBEDDED_MODEL})
    note(f"{EMBEDDED_MODEL} is installed; it answers where no Ollama does")


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 0,
    json: options.Json = False,
) -> None:
    """Serve the embedded model on loopback, for anything that speaks Ollama's protocol."""
    from ucop.agents.embedded.server import serve

    try:
        serve(port, ready=lambda url: _ready(url, as_json=json))
    except OSError as error:
        raise UsageProblem(f"port {port}: {error.strerror}; --port 0 takes a free one") from error


def _ready(url: str, *, as_json: bool) -> None:
    put_json({"url": url}) if as_json else put(url)
    note("serves until Ctrl-C; other programs reach it with OLLAMA_HOST set to this address")
