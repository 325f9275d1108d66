"""Prices of model calls, from what genai-prices ships."""

from __future__ import annotations

import pytest
from genai_prices import Usage, calc_price

from ucop.agents.models.prices import price_of

COUNTED = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}


def test_a_call_costs_what_its_provider_asks_for() -> None:
    listed = calc_price(Usage(input_tokens=1000, output_tokens=100), "gpt-4o", provider_id="openai")
    assert price_of("openai:gpt-4o", COUNTED) == pytest.approx(float(listed.total_price))
    assert listed.total_price > 0


def test_what_was_read_from_a_cache_is_cheaper() -> None:
    cached = {**COUNTED, "input_token_details": {"cache_read": 900}}
    less, more = price_of("openai:gpt-4o", cached), price_of("openai:gpt-4o", COUNTED)
    assert less is not None
    assert more is not None
    assert 0 < less < more


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("google_genai:gemini-2.5-flash", ("gemini-2.5-flash", "google")),
        ("mistralai:mistral-large-latest", ("mistral-large-latest", "mistral")),
        ("anthropic:claude-sonnet-4-20250514", ("claude-sonnet-4-20250514", "anthropic")),
    ],
)
def test_langchains_names_of_providers_are_understood(ours: str, theirs: tuple[str, str]) -> None:
    usage = Usage(input_tokens=1000, output_tokens=100)
    listed = calc_price(usage, theirs[0], provider_id=theirs[1])
    assert price_of(ours, COUNTED) == pytest.approx(float(listed.total_price))


@pytest.mark.parametrize(
    "model",
    ["", "gpt-4o", "ollama:llama3.2", "embedded:smollm2:135m", "openai:no-such", "nobody:x"],
)
def test_an_unknown_price_is_none_and_not_zero(model: str) -> None:
    assert price_of(model, COUNTED) is None


def test_counts_that_contradict_each_other_have_no_price() -> None:
    odd = {**COUNTED, "input_token_details": {"cache_read": 5000}}
    assert price_of("openai:gpt-4o", odd) is None
