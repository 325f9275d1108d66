"""Chat models of LangChain's providers: opening one, asking it, and what goes wrong.

Only imported where such a model is named: a provider's library takes seconds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, cast

import httpx
from langchain_core import exceptions as langchain
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, message_chunk_to_message
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig, RunnableSequence
from pydantic import SecretStr

from ..errors import ModelError, ModelResponseError, ModelUnavailable
from .http_errors import (
    CONNECT_TIMEOUT,
    RESUME,
    broken_off,
    causes_of,
    error_text,
    is_broken,
    is_timeout,
    is_unconnected,
    not_connected,
    rejection,
    too_silent,
)
from .request import ModelRequest
from .retry import parse_retry_after
from .settings import ProviderSettings

log = logging.getLogger(__name__)

EXTRAS = {"anthropic": "anthropic", "google_genai": "google", "openai": "openai"}
"""The extra of ucop that brings a provider's package."""

KEYS = {
    "anthropic": "ANTHROPIC_API_KEY",
    "google_genai": "GOOGLE_API_KEY",
    "openai": "OPENAI_API_KEY",
}

NO_RETRIES = {"google_genai": 1}
"""`max_retries` of a provider that counts the first try; with the others it is 0. Tries are
made above LangChain, where each is announced and counted."""

SHARED_CLIENTS = frozenset({"anthropic", "azure_openai", "openai"})
"""Providers whose packages share one HTTP client in a process between models that have the same
timeout. Its connections belong to one event loop and fail in the next, so each model gets a client of
its own: a timeout that has no hash is never shared."""

OPTIONS = {
    "num_predict": ("max_output_tokens", "max_tokens"),
    "think": ("reasoning_effort",),
}
"""Ollama's names of options, and the fields of LangChain's models that mean the same. Others
are fields of the same name."""

OLLAMAS_OWN = frozenset({"num_ctx", "repeat_penalty"})
"""Options that say how Ollama runs a model, and mean nothing elsewhere."""

ENDINGS = {
    "anthropic": "stop_reason",
    "azure_openai": "finish_reason",
    "google_genai": "finish_reason",
    "openai": "finish_reason",
}
"""Under what a provider says why an answer ended; without it the answer broke off."""

ANSWER = "answer"

_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError)


def open_chat(name: str, settings: ProviderSettings) -> BaseChatModel:
    """The chat model `provider:model`, without retries of its own. Takes seconds at first.

    Raises ModelUnavailable, with what to install or to set, if it cannot be had.
    """
    from langchain.chat_models import init_chat_model

    provider, _, model = name.partition(":")
    given: dict[str, Any] = {"max_retries": NO_RETRIES.get(provider, 0)}
    if provider in SHARED_CLIENTS:
        given["timeout"] = httpx.Timeout(None, connect=CONNECT_TIMEOUT)
    if settings.base_url:
        given["base_url"] = settings.base_url
    try:
        chat = init_chat_model(model, model_provider=provider, **given)
    except ImportError as error:
        extra = EXTRAS.get(provider)
        how = f"`pip install 'ucop[{extra}]'`" if extra else str(error)
        raise _unavailable(f"{name} needs a package that is not installed: {how}") from error
    except Exception as error:
        if "Unsupported" in str(error):
            known = str(error).rpartition(":")[2].strip()
            text = f"there is no provider {provider!r}; there is embedded, {known}"
        else:
            key = KEYS.get(provider)
            text = f"{name} has no key: set {key}" if key else f"{name}: {error_text(error)}"
        raise _unavailable(text) from error
    if missing := _missing_key(chat):
        raise _unavailable(f"{name} has no key: set {missing}")
    fields = {"stream_usage": True, "stream_chunk_timeout": None}  # counted, and timed, by us
    return _with_fields(chat, fields)


def endpoint_of(chat: BaseChatModel, provider: str) -> str:
    """The address that a provider is asked at; its name where the usual one is."""
    for name in ("base_url", "openai_api_base", "anthropic_api_url"):
        url = getattr(chat, name, None)
        if isinstance(url, str) and url:
            return url
    return provider


async def ask(
    chat: BaseChatModel,
    request: ModelRequest,
    config: RunnableConfig,
    *,
    name: str,
    idle_timeout: float,
) -> AIMessage:
    """One try. Raises ModelError, and what a callback raises to stop the call."""
    try:
        bound = _bind(chat, request, name)
        whole = await _whole_answer(
            bound, request, config, idle_timeout if _streams(chat) else None
        )
        _check_ended(whole, name)
    except ModelError:
        raise
    except Exception as error:
        translated = _model_error(error, name, idle_timeout)
        if translated is None:
            raise
        raise translated from error
    return _read(whole, request.schema)


async def look_up(chat: BaseChatModel, name: str, timeout: float) -> None:
    """Ask the provider whether it has the model, where its library can. Raises ModelError."""
    provider, _, model = name.partition(":")
    try:
        async with asyncio.timeout(timeout):
            match provider:
                case "openai" if client := getattr(chat, "root_async_client", None):
                    await client.models.retrieve(model)
                case "google_genai" if client := getattr(chat, "client", None):
                    await client.aio.models.get(model=model)
                case "anthropic" if client := getattr(chat, "_async_client", None):
                    await client.models.retrieve(model)
    except Exception as error:
        translated = _model_error(error, name, timeout)
        if translated is None:
            raise
        raise translated from error


async def close(chat: BaseChatModel) -> None:
    """Close the connections of this event loop, as far as the library lets us."""
    for name in ("root_async_client", "_async_client"):
        if (client := getattr(chat, name, None)) is not None:
            await client.close()
    inner = getattr(getattr(chat, "client", None), "aio", None)
    if inner is not None:
        await inner.aclose()


async def _whole_answer(
    bound: Runnable[LanguageModelInput, AIMessage],
    request: ModelRequest,
    config: RunnableConfig,
    idle_timeout: float | None,
) -> AIMessage:
    whole: AIMessageChunk | None = None
    stop = request.options.get("stop")
    more = {"stop": stop} if stop else {}
    async with aclosing(
        cast("Any", bound.astream(list(request.messages), config, **more))
    ) as parts:
        while True:
            try:
                async with asyncio.timeout(idle_timeout):
                    part = await anext(parts)
            except StopAsyncIteration:
                break
            whole = part if whole is None else whole + part
    if whole is None:
        raise ValueError("the answer is empty")
    return cast("AIMessage", message_chunk_to_message(whole))


def _streams(chat: BaseChatModel) -> bool:
    """Whether the answer comes in pieces, so that silence between them can be told."""
    kind = type(chat)
    return kind._astream is not BaseChatModel._astream or kind._stream is not BaseChatModel._stream


def _check_ended(answer: AIMessage, name: str) -> None:
    reason = ENDINGS.get(name.partition(":")[0])
    if reason and not answer.response_metadata.get(reason):
        raise broken_off(name, f"it ended without `{reason}`")


# ---- what is sent ----


def _bind(
    chat: BaseChatModel, request: ModelRequest, name: str
) -> Runnable[LanguageModelInput, AIMessage]:
    chat = _with_fields(chat, _options(chat, request.options, name))
    if request.tools:
        return chat.bind_tools(request.tools, **request.binding)
    if request.schema is not None:
        sequence = chat.with_structured_output(_object_schema(request.schema))
        # The model with its form of an answer, without the parser behind it: what an answer is
        # worth is judged in one place for all providers.
        assert isinstance(sequence, RunnableSequence)
        assert isinstance(sequence.first, RunnableBinding)
        return cast("Runnable[LanguageModelInput, AIMessage]", sequence.first)
    if request.binding:
        return cast("Runnable[LanguageModelInput, AIMessage]", chat.bind(**request.binding))
    return chat


def _options(chat: BaseChatModel, options: Mapping[str, Any], name: str) -> dict[str, Any]:
    fields = {}
    for option, value in options.items():
        if option == "stop" or value is None:  # the one is given with the call
            continue
        if option == "think" and isinstance(value, bool):
            if value:
                log.warning("%s: say how hard it thinks, such as `think: medium`", name)
            continue
        known = type(chat).model_fields
        field = next((f for f in OPTIONS.get(option, (option,)) if f in known), None)
        if field is not None:
            fields[field] = value
        elif option not in OLLAMAS_OWN:
            log.warning("%s does not know the option %r: left out", name, option)
    return fields


def _with_fields(chat: BaseChatModel, fields: Mapping[str, Any]) -> BaseChatModel:
    known = {key: value for key, value in fields.items() if key in type(chat).model_fields}
    return chat.model_copy(update=known) if known else chat


def _object_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Providers want an object with a title; anything else is put into one."""
    if not _is_object(schema):
        definitions = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
        inner = {key: value for key, value in schema.items() if key not in definitions}
        schema = {
            **definitions,
            "type": "object",
            "properties": {ANSWER: inner},
            "required": [ANSWER],
            "additionalProperties": False,
        }
    return {"title": ANSWER, "description": "The answer.", **schema}


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" or "properties" in schema


def _read(answer: AIMessage, schema: Mapping[str, Any] | None) -> AIMessage:
    """The answer with its JSON as its text, however the provider gave it."""
    if schema is None:
        return answer
    calls = [call for call in answer.tool_calls if call["name"] == ANSWER]
    if calls:
        value: Any = calls[0]["args"]
    elif _is_object(schema):
        return answer
    else:
        try:
            value = json.loads(answer.text)
        except ValueError:
            return answer
    if not _is_object(schema) and isinstance(value, dict) and ANSWER in value:
        value = value[ANSWER]
    text = json.dumps(value, ensure_ascii=False)
    return answer.model_copy(update={"content": text, "tool_calls": []})


# ---- what goes wrong ----


def _model_error(error: Exception, name: str, idle_timeout: float) -> ModelError | None:
    """What a provider's library raised; None if it comes from somebody else."""
    causes = list(causes_of(error))
    if any(map(is_unconnected, causes)):
        return not_connected(name, causes[-1])
    if isinstance(error, langchain.ModelTimeoutError) or any(map(is_timeout, causes)):
        return too_silent(name, idle_timeout)
    status = next((code for cause in causes if (code := _status_of(cause)) is not None), None)
    if status is not None:
        return _rejection(name, status, error, causes)
    if isinstance(error, langchain.ModelConnectionError) or any(map(is_broken, causes)):
        return broken_off(name, error_text(causes[-1]))
    if isinstance(error, _UNREADABLE):
        return ModelResponseError(
            f"{name}: the answer cannot be read ({error_text(error)}). {RESUME}", transient=True
        )
    if isinstance(error, langchain.ModelError) or _is_of_a_library(error):
        # OpenAI's APIError without a status is an error that was told inside the answer.
        inside = any(kind.__name__ == "APIError" for kind in type(error).__mro__)
        return ModelResponseError(
            f"{name}: {error_text(error)}. {RESUME}",
            transient=inside or getattr(error, "is_retryable", False),
        )
    return None


def _rejection(name: str, status: int, error: Exception, causes: list[BaseException]) -> ModelError:
    advice = "The request itself was refused: change the prompt or the agent's options."
    if status in {401, 403}:
        key = KEYS.get(name.partition(":")[0], "the provider's key")
        advice = f"Check {key}."
    elif status == 404:
        advice = "Check the model's name."
    # Providers repeat parts of a key that they refuse, and this goes into a job's events.
    reason = "the key was refused" if status == 401 else error_text(error)
    wait = next((w for cause in causes if (w := _wait_of(cause)) is not None), None)
    return rejection(name, status, reason, wait, advice)


def _unavailable(text: str) -> ModelUnavailable:
    return ModelUnavailable(text, reached=False)


def _status_of(error: BaseException) -> int | None:
    """The HTTP status that the providers' own exceptions carry under one of two names."""
    for name in ("status_code", "code"):
        status = getattr(error, name, None)
        if isinstance(status, int) and 400 <= status < 600:
            return status
    return None


def _wait_of(error: BaseException) -> float | None:
    """Seconds to wait: the header, or what Google says in the body instead."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    if (wait := parse_retry_after(headers.get("Retry-After"))) is not None:
        return wait
    details = getattr(error, "details", None)
    inner = details.get("error", details) if isinstance(details, dict) else {}
    listed = inner.get("details") if isinstance(inner, dict) else None
    for detail in listed if isinstance(listed, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return parse_retry_after(delay[:-1])
    return None


def _is_of_a_library(error: Exception) -> bool:
    return type(error).__module__.partition(".")[0] in {
        "openai", "anthropic", "google", "langchain_openai", "langchain_anthropic",
        "langchain_google_genai",
    }  # fmt: skip


def _missing_key(chat: BaseChatModel) -> str | None:
    """The variable of a key that is empty, where a library only notices when it is used."""
    for field, variable in chat.lc_secrets.items():
        value = getattr(chat, field, None)
        if isinstance(value, SecretStr) and not value.get_secret_value():
            return variable
    return None
