"""`ucop models`: which models answer, and the small embedded one."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ucop.engine.errors import ModelError

from ...view.exits import Exit, UsageProblem
from ...view.output import note, put, put_json
from ...view.place import place_of
from ...view.tables import Table, duration
from .. import options

if TYPE_CHECKING:
    from ucop.agents.models.health import Health
    from ucop.agents.models.models import Models
    from ucop.agents.models.provider import ModelUse
    from ucop.agents.providers.retry import RetryRules
    from ucop.engine.settings import Settings


def list_(
    ctx: typer.Context,
    json: options.Json = False,
) -> None:
    """List the project's model names and the model behind each."""
    settings = place_of(ctx).settings
    import asyncio

    found = asyncio.run(_resolve_all(settings))
    if json:
        put_json(found)
        return
    table = Table("name", "stands for", "answered by", "", long=[""])
    for one in found:
        cells = (one["name"], ", ".join(one["stands_for"]), one["answered_by"] or "nobody")
        table.add(*cells, one["note"])
    table.show()


def _models(settings: Settings, *, retry: RetryRules | None = None) -> Models:
    from ucop.agents.models.models import Models

    return Models(
        aliases=settings.models,
        ollama_host=settings.ollama_host,
        embedded=settings.embedded,
        timeout=settings.model_timeout,
        idle_timeout=settings.model_idle_timeout,
        providers=settings.providers,
        retry=retry,
    )


async def _resolve_all(settings: Settings) -> list[dict[str, Any]]:
    models = _models(settings)
    try:
        return [await _answer(models, name) for name in models.names]
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
        found = asyncio.run(_check_all(settings, name, call=call))
    except ModelError as error:
        raise UsageProblem(str(error)) from None
    if json:
        put_json([asdict(one) for one in found])
    else:
        _show_health(found)
    if not all(one.ok for one in found):
        raise typer.Exit(Exit.FAILED)


async def _check_all(settings: Settings, name: str | None, *, call: bool) -> list[Health]:
    from ucop.agents.models.health import check
    from ucop.agents.providers.retry import RetryRules

    models = _models(settings, retry=RetryRules(tries=1))
    try:
        asked = models.names if name is None else (name,)
        links = dict.fromkeys(link for one in asked for link in models.candidates(one))
        return [await check(models, link, call=call) for link in links]
    finally:
        await models.aclose()


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
