"""What an Ollama says about its models: whether one is still being loaded (then its silence is not
the model's), its window, what it can do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx

from .endpoint import with_tag

if TYPE_CHECKING:
    from ollama import AsyncClient

TIMEOUT = 5.0
MOMENT = 0.05

UNKNOWN = (TimeoutError, httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError)
"""It did not answer, or not as an Ollama does."""


async def wait_for_start(
    answer: asyncio.Future[Any], client: AsyncClient, model: str, idle_timeout: float
) -> None:
    """Wait until an answer begins; as long as it takes where the model is loaded meanwhile. The
    time of the whole call bounds it. Raises httpx.ReadTimeout."""
    while not (await asyncio.wait([answer], timeout=idle_timeout))[0]:
        if not await is_loading(client, model):
            raise httpx.ReadTimeout("nothing came")


async def is_loading(client: AsyncClient, model: str) -> bool:
    """Whether the Ollama behind `client` has not finished loading `model`. False if it does
    not say: then the idle timeout holds."""
    try:
        async with asyncio.timeout(TIMEOUT):
            before = await _expiry(client, model)
            if before is None:
                return True
            # Until a model is loaded, Ollama has no time for its end, and makes one up each time.
            await asyncio.sleep(MOMENT)
            return before != await _expiry(client, model)
    except UNKNOWN:
        return False


async def loaded_window(client: AsyncClient, model: str) -> int | None:
    """The size of a loaded model's window, in tokens; None if that is not told."""
    try:
        async with asyncio.timeout(TIMEOUT):
            window = (await _loaded(client, model) or {}).get("context_length")
            return window if isinstance(window, int) and window > 0 else None
    except UNKNOWN:
        return None


async def _expiry(client: AsyncClient, model: str) -> str | None:
    """When a model is to be unloaded, None if it is not among those that are loaded."""
    loaded = await _loaded(client, model)
    return None if loaded is None else str(loaded.get("expires_at"))


async def _loaded(client: AsyncClient, model: str) -> dict[str, Any] | None:
    response = await client._client.get("/api/ps")
    response.raise_for_status()
    for loaded in response.json()["models"]:
        if with_tag(model) in (loaded.get("name"), loaded.get("model")):
            return dict(loaded)
    return None


async def facts_of(client: AsyncClient, model: str) -> dict[str, Any]:
    """What the Ollama says about a model; nothing if it does not answer."""
    try:
        async with asyncio.timeout(TIMEOUT):
            response = await client._client.post("/api/show", json={"model": model})
            response.raise_for_status()
            facts = response.json()
            return facts if isinstance(facts, dict) else {}
    except (TimeoutError, httpx.HTTPError, ValueError):
        return {}
