"""Which models answer to which names, and whether they do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ucop.engine.errors import ModelError

if TYPE_CHECKING:
    from ucop.agents.models.health import Health
    from ucop.agents.models.models import Models
    from ucop.agents.models.provider import ModelUse
    from ucop.agents.providers.retry import RetryRules
    from ucop.engine.settings import Settings


def models_of(settings: Settings, *, retry: RetryRules | None = None) -> Models:
    """The models of a project, without a job's database; to be closed."""
    from ucop.agents.models.models import Models

    return Models(**settings.model_options(), retry=retry)


async def resolve_all(settings: Settings) -> list[dict[str, Any]]:
    models = models_of(settings)
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


async def check_all(settings: Settings, name: str | None, *, call: bool) -> list[Health]:
    from ucop.agents.models.health import check
    from ucop.agents.providers.retry import RetryRules

    models = models_of(settings, retry=RetryRules(tries=1))
    try:
        asked = models.names if name is None else (name,)
        links = dict.fromkeys(link for one in asked for link in models.candidates(one))
        return [await check(models, link, call=call) for link in links]
    finally:
        await models.aclose()
