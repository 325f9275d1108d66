"""What a model call costs, from the prices that genai-prices ships: nothing is fetched.

Unknown is unknown, and not zero: a model without a price costs None, a local one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

PROVIDERS = {
    "google_genai": "google",
    "google_vertexai": "google",
    "mistralai": "mistral",
    "amazon_bedrock": "aws",
    "azure_openai": "azure",
    "xai": "x-ai",
}
"""LangChain's names of providers (`ls_provider`) that genai-prices calls otherwise."""


def price_of(model: str, usage: Mapping[str, Any]) -> float | None:
    """US dollars of one call of `provider:model`, or None if no price is known.

    `usage` is LangChain's `UsageMetadata`, whose totals hold what was read from a cache.
    """
    provider, _, name = model.partition(":")
    if not name or not _is_known(provider, name):
        return None
    from genai_prices import Usage, calc_price

    details = usage.get("input_token_details") or {}
    counted = Usage(
        input_tokens=usage.get("input_tokens", 0),
        output_tokens=usage.get("output_tokens", 0),
        cache_read_tokens=details.get("cache_read") or None,
        cache_write_tokens=details.get("cache_creation") or None,
    )
    try:
        price = calc_price(counted, model_ref=name, provider_id=_provider(provider))
    except (LookupError, ValueError):  # counts that contradict each other, for one
        return None
    return float(price.total_price)


def _provider(name: str) -> str:
    return PROVIDERS.get(name, name)


@lru_cache(maxsize=256)
def _is_known(provider: str, name: str) -> bool:
    if provider in ("ollama", "embedded"):
        return False
    from genai_prices import Usage, calc_price

    try:
        calc_price(Usage(input_tokens=1), model_ref=name, provider_id=_provider(provider))
    except LookupError:
        return False
    return True
