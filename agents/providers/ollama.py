"""Ollama over HTTP: a ChatOllama that tells the truth about failures.

Only imported when a model is really asked: httpx and langchain-ollama take most of a
second.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import ollama
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_ollama import ChatOllama
from pydantic import Field, ValidationError

from ..errors import ModelError, ModelResponseError
from ..text.secret_url import shown_url
from .endpoint import Endpoint
from .http_errors import (
    CONNECT_TIMEOUT,
    LONGEST_READ,
    LONGEST_SHOWN,
    RESUME,
    broken_off,
    error_text,
    not_connected,
    rejection,
    too_silent,
)
from .ollama_list import client_options
from .ollama_loading import facts_of, loaded_window, wait_for_start
from .request import ModelRequest
from .retry import parse_retry_after
from .thinking import ROOM, Thinking, with_reasoning
from .window import TRUNCATED, may_be_cut


class OllamaChat(ChatOllama):
    """ChatOllama with timeouts, `ModelError`s, and no half answers.

    langchain-ollama takes a stream that ends without `done` for a whole answer, and its client
    drops the Retry-After header; both are put right here, for `ainvoke` and `astream`.
    """

    request_options: dict[str, Any] = Field(default_factory=dict)
    """Ollama's `options` of each request, passed on unchanged."""
    think: bool | str | None = None
    """Whether, or how hard, the model thinks before it answers; None leaves it to the model."""
    idle_timeout: float = 60.0
    """Seconds of silence before the first token, unless the model is still loaded."""
    thinkers: dict[str, bool] = Field(default_factory=dict)
    """Models of which is known whether they think. Shared by the copies of a chat."""

    async def thinks(self) -> bool:
        """Whether the model thinks before it answers, unless told not to."""
        if self.think is not None:
            return bool(self.think)
        if self.model not in self.thinkers:
            facts = await facts_of(self._async_client, self.model)
            self.thinkers[self.model] = "thinking" in (facts.get("capabilities") or ())
        return self.thinkers[self.model]

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._async_client.close()  # type: ignore[no-untyped-call]
        self._client.close()  # type: ignore[no-untyped-call]

    async def _acreate_chat_stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> AsyncIterator[Mapping[str, Any] | str]:
        parts = super()._acreate_chat_stream(messages, stop, **kwargs)
        first = asyncio.ensure_future(anext(parts, None))
        try:
            await wait_for_start(first, self._async_client, self.model, self.idle_timeout)
            if (part := first.result()) is not None:
                yield part
                async for part in parts:
                    yield part
        finally:
            if not first.done():
                first.cancel()
                await asyncio.wait([first])

    async def _aiterate_over_stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        """See ChatOllama. All ways to ask, streamed or not, lead through here."""
        thinking = Thinking()
        last: ChatGenerationChunk | None = None
        with model_errors(self.model, str(self.base_url), self.idle_timeout):
            # Unless asked for reasoning, LangChain drops the thinking that the server sent apart.
            chunks = super()._aiterate_over_stream(messages, stop, **{**kwargs, "reasoning": True})
            async for chunk in chunks:
                last = chunk
                yield _without_thinking(chunk, thinking)
            if last is None or not _is_done(last):
                reason = "the stream ended without `done`" if last else "the answer is empty"
                raise broken_off(f"{self.model} at {self.base_url}", reason)

    def _chat_params(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        options = {**self.request_options, **(kwargs.pop("options", None) or {})}
        if stop:
            options["stop"] = stop
        params = super()._chat_params(messages, **{**kwargs, "options": options})
        return {**params, "think": self.think}


def _is_done(chunk: ChatGenerationChunk) -> bool:
    return (chunk.generation_info or {}).get("done") is True


def _without_thinking(chunk: ChatGenerationChunk, thinking: Thinking) -> ChatGenerationChunk:
    """A piece whose reasoning stands beside its text."""
    message = chunk.message
    if not isinstance(message.content, str):
        return chunk
    reasoning, answer = thinking.feed(message.content)
    if _is_done(chunk):
        more, rest = thinking.end()
        reasoning, answer = reasoning + more, answer + rest
    message = with_reasoning(message, reasoning, answer)
    return ChatGenerationChunk(message=message, generation_info=chunk.generation_info)


async def ask(chat: OllamaChat, request: ModelRequest, config: RunnableConfig) -> AIMessage:
    """One try. Raises ModelError."""
    options = dict(request.options)
    chat = chat.model_copy(update={"think": options.pop("think", None)})
    if options.get("num_predict", 0) > 0 and await chat.thinks():
        options["num_predict"] += ROOM
    asked = chat.model_copy(update={"request_options": options, "format": request.schema})
    if request.tools:
        bound = asked.bind_tools(request.tools, **request.binding)
        answer = await bound.ainvoke(list(request.messages), config)
    else:
        answer = await asked.ainvoke(list(request.messages), config, **request.binding)
    read = answer.response_metadata.get("prompt_eval_count")
    window = options.get("num_ctx")
    if window is None and may_be_cut(read):
        window = await loaded_window(chat._async_client, chat.model)
    if window is not None and isinstance(read, int) and read >= window:
        answer.response_metadata[TRUNCATED] = window
    return answer


def open_chat(endpoint: Endpoint, model: str, *, idle_timeout: float) -> OllamaChat:
    """A chat on `model` at `endpoint`; `idle_timeout` seconds may pass between two tokens.

    Credentials stay in headers and out of the address, so that no error can show them.
    """

    async def unhurried(request: httpx.Request) -> None:
        # Until the answer begins, `wait_for_start` keeps the time: it knows of models that are loaded.
        request.extensions["timeout"]["read"] = None

    async def refuse(response: httpx.Response) -> None:
        response.request.extensions["timeout"]["read"] = idle_timeout
        if not response.is_success:
            raise _rejection(model, endpoint.url, response, await _beginning(response))

    # A redirect is an answer to be told: followed, one call would be several requests, and go
    # to an address that nobody gave. `pool=None`: waiting for a free connection is our own queue, not the model's silence.
    timeout = httpx.Timeout(idle_timeout, connect=CONNECT_TIMEOUT, pool=None)
    return OllamaChat(
        model=model,
        base_url=endpoint.url,
        client_kwargs={
            **client_options(endpoint),
            "timeout": timeout,
            "follow_redirects": False,
        },
        async_client_kwargs={"event_hooks": {"request": [unhurried], "response": [refuse]}},
        idle_timeout=idle_timeout,
    )


@contextmanager
def model_errors(model: str, url: str, idle_timeout: float) -> Iterator[None]:
    """Turn what can go wrong between here and an Ollama into a ModelError."""
    where = f"{model} at {url}"
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise not_connected(where, error) from error
    except httpx.TimeoutException as error:
        raise too_silent(where, idle_timeout) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise broken_off(where, error_text(error)) from error
    except ollama.ResponseError as error:
        raise ModelResponseError(
            f"{where}: the endpoint reported an error inside its answer: "
            f"{shown_url(error.error[:LONGEST_SHOWN])}. {RESUME}",
            transient=True,
        ) from error
    except ValidationError as error:
        if error.title != "ChatResponse":
            raise ModelResponseError(
                f"{where}: the request is not one that Ollama takes ({error_text(error)}). "
                "Change the agent's options.",
                reached=False,
            ) from error
        raise _garbage(where, error) from error
    except (json.JSONDecodeError, AttributeError) as error:
        raise _garbage(where, error) from error


async def _beginning(response: httpx.Response) -> bytes:
    """The part of an error's body that is looked at: nothing says how long it is."""
    body = b""
    async for piece in response.aiter_bytes():
        body += piece[: LONGEST_READ - len(body)]
        if len(body) >= LONGEST_READ:
            break
    return body


def _rejection(model: str, url: str, response: httpx.Response, body: bytes) -> ModelError:
    status, wait = response.status_code, parse_retry_after(response.headers.get("Retry-After"))
    where = f"{model} at {url}"
    return rejection(where, status, _reason(response, body), wait, _advice(model, status))


def _reason(response: httpx.Response, body: bytes) -> str:
    """What the endpoint said, without its own final full stop."""
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace").strip() or response.reason_phrase
    return shown_url(text[:LONGEST_SHOWN]).rstrip(".")


def _advice(model: str, status: int) -> str:
    if status < 400:
        return "It sends its callers elsewhere: set OLLAMA_HOST to the address that answers."
    if status in {401, 403}:
        return "Check OLLAMA_API_KEY, or the credentials in OLLAMA_HOST."
    if status == 404:
        return f"`ollama pull {model}` fetches the model."
    return "The request itself was refused: shorten the prompt or change the agent's options."


def _garbage(where: str, error: Exception) -> ModelError:
    return ModelResponseError(
        f"{where}: the answer is not Ollama's NDJSON ({error_text(error)}). "
        f"Check that an Ollama answers there. {RESUME}",
        transient=True,
    )
