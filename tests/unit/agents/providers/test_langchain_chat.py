"""Models of LangChain's providers, by their real client libraries: what is sent, what is read, and
what is said where one cannot be had."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from tests.support import ollama as scripted
from tests.support.ollama import ScriptedOllama
from tests.support.wire import Wire, refusal, stream, whole
from ucop.agents.errors import ModelError, ModelUnavailable
from ucop.agents.models.fallback import ModelFallback
from ucop.agents.models.meter import Meter
from ucop.agents.models.models import Models
from ucop.agents.providers.retry import Retry
from ucop.agents.providers.settings import ProviderSettings

QUESTION = [SystemMessage("Be brief."), HumanMessage("Say ${this} {as} {{it}} is.")]
KEYS = ("OPENAI_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "ANTHROPIC_API_KEY")
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
QUICK = Retry(tries=2, backoff=0.01)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, "scripted")


def event(body: object) -> bytes:
    return f"data: {body if isinstance(body, str) else json.dumps(body)}\r\n\r\n".encode()


def openai(*deltas: dict[str, Any], usage: dict[str, Any] | None = None) -> list[Any]:
    shape = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    pieces = [
        event({**shape, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        for delta in ({"role": "assistant", "content": ""}, *deltas)
    ]
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    last = event({**shape, "choices": [end]})
    counts = event({**shape, "choices": [], "usage": usage}) if usage else b""
    return stream(*pieces, last, *([counts] if counts else []), event("[DONE]"))


def google(*parts: dict[str, Any], usage: dict[str, int] | None = None) -> list[Any]:
    content = {"role": "model", "parts": list(parts)}
    candidate = {"content": content, "index": 0, "finishReason": "STOP"}
    counts = {"usageMetadata": usage} if usage else {}
    return stream(event({"candidates": [candidate], "modelVersion": "m", **counts}))


def at(provider: str, wire: Wire, **more: Any) -> Models:
    path = "/v1" if provider == "openai" else ""
    limits = ProviderSettings(base_url=wire.url + path)
    return Models(**{"embedded": False, "retry": QUICK, "providers": {provider: limits}, **more})


# What is sent, and what is read


async def test_prompts_and_options_reach_openai_unchanged() -> None:
    options = {"temperature": 0.5, "seed": 7, "num_predict": 9, "stop": ["x"], "num_ctx": 99}
    with Wire([openai({"content": "fine"})]) as wire:
        models = at("openai", wire)
        answer = await models.ask("openai:m", QUESTION, options=options)
    assert answer.text == "fine"
    (body,) = wire.bodies
    assert [message["content"] for message in body["messages"]] == [
        "Be brief.",
        "Say ${this} {as} {{it}} is.",
    ]
    assert (body["temperature"], body["seed"], body["stop"]) == (0.5, 7, ["x"])
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 9
    assert "num_ctx" not in body


async def test_prompts_and_options_reach_google_unchanged() -> None:
    options = {"temperature": 0.5, "seed": 7, "num_predict": 9, "top_k": 3, "stop": ["x"]}
    with Wire([google({"text": "fine"})]) as wire:
        models = at("google_genai", wire)
        answer = await models.ask("google_genai:m", QUESTION, options=options)
    assert answer.text == "fine"
    (body,) = wire.bodies
    assert body["systemInstruction"]["parts"][0]["text"] == "Be brief."
    assert body["contents"][0]["parts"][0]["text"] == "Say ${this} {as} {{it}} is."
    asked = body["generationConfig"]
    assert (asked["temperature"], asked["seed"], asked["topK"]) == (0.5, 7, 3)
    assert (asked["maxOutputTokens"], asked["stopSequences"]) == (9, ["x"])


async def test_a_schema_reaches_openai_and_its_answer_is_json() -> None:
    with Wire([openai({"content": '{"n": '}, {"content": "5}"})]) as wire:
        answer = await at("openai", wire).ask("openai:m", QUESTION, schema=SCHEMA)
    assert json.loads(answer.text) == {"n": 5}
    form = wire.bodies[0]["response_format"]
    assert form["json_schema"]["schema"]["properties"] == SCHEMA["properties"]


async def test_a_schema_reaches_google_and_its_answer_is_json() -> None:
    with Wire([google({"text": '{"n": 5}'})]) as wire:
        answer = await at("google_genai", wire).ask("google_genai:m", QUESTION, schema=SCHEMA)
    assert json.loads(answer.text) == {"n": 5}
    asked = wire.bodies[0]["generationConfig"]
    assert asked["responseMimeType"] == "application/json"
    assert "n" in json.dumps(asked)


async def test_a_schema_that_is_no_object_is_put_into_one_and_taken_out() -> None:
    with Wire([openai({"content": '{"answer": ["a", "b"]}'})]) as wire:
        models = at("openai", wire)
        listed = {"type": "array", "items": {"type": "string"}}
        answer = await models.ask("openai:m", QUESTION, schema=listed)
    assert json.loads(answer.text) == ["a", "b"]


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sun in {city}"


async def test_tools_reach_openai_and_their_calls_come_back() -> None:
    call = {
        "index": 0,
        "id": "1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
    }
    with Wire([openai({"tool_calls": [call]})]) as wire:
        chat = await at("openai", wire).chat("openai:m")
        answer = await chat.bind_tools([weather], tool_choice="any").ainvoke("Well?")
    assert isinstance(answer, AIMessage)
    assert [(one["name"], one["args"]) for one in answer.tool_calls] == [
        ("weather", {"city": "Rome"})
    ]
    assert wire.bodies[0]["tools"][0]["function"]["name"] == "weather"
    assert wire.bodies[0]["tool_choice"] == "required"


async def test_cached_and_reasoning_tokens_are_counted() -> None:
    meter = Meter()
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 80},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    with Wire([openai({"content": "fine"}, usage=usage)]) as wire:
        await at("openai", wire).ask("openai:m", QUESTION, config={"callbacks": [meter]})
    used = meter.total()
    assert (used.tokens_in, used.tokens_out) == (100, 50)
    assert (used.tokens_cached, used.tokens_reasoning) == (80, 30)
    assert used.models == ("openai:m",)
    assert used.cost is None, "nobody knows what m costs"


async def test_the_thoughts_of_google_are_counted() -> None:
    meter = Meter()
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "cachedContentTokenCount": 60,
        "totalTokenCount": 150,
    }
    with Wire([google({"text": "fine"}, usage=usage)]) as wire:
        models = at("google_genai", wire)
        await models.ask("google_genai:m", QUESTION, config={"callbacks": [meter]})
    used = meter.total()
    assert (used.tokens_in, used.tokens_out) == (100, 50)
    assert (used.tokens_cached, used.tokens_reasoning) == (60, 30)


# What cannot be had


async def resolve(name: str) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        await Models(embedded=False).resolve(name)
    return str(caught.value)


async def test_a_package_that_is_missing_is_named() -> None:
    assert "pip install langchain-groq" in await resolve("groq:m")


@pytest.mark.parametrize(
    ("provider", "key"),
    [
        ("openai", "OPENAI_API_KEY"),
        ("google_genai", "GOOGLE_API_KEY"),
        ("anthropic", "ANTHROPIC_API_KEY"),
    ],
)
async def test_a_key_that_is_missing_is_named(
    provider: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    assert f"{provider}:m has no key: set {key}" in await resolve(f"{provider}:m")


def test_the_extra_that_brings_a_missing_package_is_named() -> None:
    code = (
        "import asyncio, sys; sys.modules['langchain_openai'] = None\n"
        "from ucop.agents.models.models import Models\n"
        "asyncio.run(Models(embedded=False).resolve('openai:m'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'ucop[openai]'" in done.stderr


async def test_what_a_provider_says_of_a_refused_key_is_not_repeated() -> None:
    body = json.dumps({"error": {"message": "Incorrect API key provided: sk-secret"}})
    with Wire([whole(401, body)]) as wire:
        with pytest.raises(ModelError, match="HTTP 401: the key was refused") as caught:
            await at("openai", wire).ask("openai:m", QUESTION)
    assert "sk-secret" not in str(caught.value)


# Event loops


@pytest.mark.parametrize("provider", ["openai", "google_genai"])
def test_a_second_event_loop_gets_connections_of_its_own(provider: str) -> None:
    reply = openai({"content": "fine"}) if provider == "openai" else google({"text": "fine"})

    async def ask() -> str:
        models = at(provider, wire)
        try:
            return (await models.ask(f"{provider}:m", QUESTION)).text
        finally:
            await models.aclose()

    with Wire([reply], keeps=True) as wire:
        assert [asyncio.run(ask()) for _ in range(2)] == ["fine", "fine"]


# Chains


async def chained(ollama: ScriptedOllama, wire: Wire, told: list[ModelFallback]) -> AIMessage:
    models = at(
        "openai",
        wire,
        ollama_host=ollama.url,
        aliases={"smart": ["ollama:llama3.2", "openai:m"]},
        on_fallback=told.append,
    )
    try:
        return await models.ask("smart", QUESTION)
    finally:
        await models.aclose()


@pytest.mark.parametrize("code", [401, 403, 404, 429, 500, 503])
async def test_a_chain_goes_on_to_another_provider(code: int) -> None:
    told: list[ModelFallback] = []
    with ScriptedOllama([scripted.status(code)]) as ollama:
        with Wire([openai({"content": "from openai"})]) as wire:
            assert (await chained(ollama, wire, told)).text == "from openai"
    (fallback,) = told
    assert (fallback.asked, fallback.failed, fallback.name) == (
        "smart",
        "ollama:llama3.2",
        "openai:m",
    )
    assert f"HTTP {code}" in fallback.reason


@pytest.mark.parametrize("code", [400, 413, 422])
async def test_a_request_at_fault_goes_to_no_other_model(code: int) -> None:
    told: list[ModelFallback] = []
    with ScriptedOllama([scripted.status(code)]) as ollama:
        with Wire([openai({"content": "from openai"})]) as wire:
            with pytest.raises(ModelError, match=f"HTTP {code}"):
                await chained(ollama, wire, told)
    assert (wire.calls, told) == (0, [])


async def test_a_model_that_is_not_there_is_passed_over_and_told() -> None:
    told: list[ModelFallback] = []
    with ScriptedOllama(models=[]) as ollama:
        with Wire([openai({"content": "from openai"})]) as wire:
            assert (await chained(ollama, wire, told)).text == "from openai"
    assert [(one.failed, "has no llama3.2" in one.reason) for one in told] == [
        ("ollama:llama3.2", True)
    ]


async def test_a_chain_whose_first_model_answers_needs_nothing_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    with ScriptedOllama() as ollama:
        models = Models(ollama_host=ollama.url, aliases={"smart": ["ollama:llama3.2", "openai:m"]})
        assert (await models.ask("smart", QUESTION)).text
        await models.aclose()


async def test_a_chain_of_which_nothing_is_left_names_every_reason() -> None:
    with ScriptedOllama(models=[]) as ollama:
        with Wire([refusal(500)]) as wire:
            with pytest.raises(ModelError) as caught:
                await chained(ollama, wire, [])
    assert "has no llama3.2" in str(caught.value)
    assert "openai:m: HTTP 500" in str(caught.value)


async def test_other_tries_than_ours_are_not_made() -> None:
    with Wire([whole(500, "{}")]) as wire:
        with pytest.raises(ModelError):
            await at("openai", wire).ask("openai:m", QUESTION)
        assert wire.calls == QUICK.tries
    with Wire([whole(500, "{}")]) as wire:
        with pytest.raises(ModelError):
            await at("google_genai", wire).ask("google_genai:m", QUESTION)
        assert wire.calls == QUICK.tries
