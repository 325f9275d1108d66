"""`ucop models`: which models answer, and the small embedded one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.console.cli import options
from ucop.console.cli.exits import UsageProblem
from ucop.console.cli.output import note, put, put_json
from ucop.console.cli.place import place_of
from ucop.console.cli.tables import Column, Table
from ucop.engine.errors import ModelError

if TYPE_CHECKING:
    from ucop.agents.models import Models
    from ucop.agents.serving import ModelUse
    from ucop.engine.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    help="Look at models; the embedded model.",
)


@app.command("list")
def list_(
    ctx: typer.Context,
    json: options.Json = False,
    project: options.Project = None,
    database: options.Database = None,
) -> None:
    """List the model names of the project, and what answers to each now."""
    settings = place_of(ctx, project, database).settings
    import asyncio

    found = asyncio.run(_resolve_all(settings))
    if json:
        put_json(found)
        return
    titles = [Column(title="name"), Column(title="stands for"), Column(title="answered by")]
    table = Table([*titles, Column(title="", long=True)])
    for one in found:
        cells = (one["name"], ", ".join(one["stands_for"]), one["answered_by"] or "nobody")
        table.rows.append((*cells, one["note"]))
    table.show()


async def _resolve_all(settings: Settings) -> list[dict[str, Any]]:
    from ucop.agents.aliases import DEFAULT_ALIAS
    from ucop.agents.models import Models

    models = Models(
        aliases=settings.models, ollama_host=settings.ollama_host, embedded=settings.embedded
    )
    try:
        return [await _answer(models, n) for n in dict.fromkeys([DEFAULT_ALIAS, *settings.models])]
    finally:
        await models.aclose()


async def _answer(models: Models, name: str) -> dict[str, Any]:
    use: ModelUse | None = None
    try:
        stands_for = list(models.candidates(name))
        use = await models.resolve(name)
        told = use.note
    except ModelError as error:
        stands_for, told = [], str(error)
    return {
        "name": name,
        "stands_for": stands_for,
        "answered_by": use.name if use else None,
        "endpoint": use.endpoint if use else None,
        "embedded": use.embedded if use else False,
        "note": told,
    }


@app.command()
def install(json: options.Json = False) -> None:
    """Install the small embedded model into this Python environment (about 130 MB)."""
    from ucop.agents.embedded import EMBEDDED_MODEL
    from ucop.agents.embedded.install import install

    install()
    if json:
        put_json({"model": EMBEDDED_MODEL})
    note(f"{EMBEDDED_MODEL} is installed; it answers where no Ollama does")


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
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
