"""Ollama over HTTP: a ChatOllama that tells the truth about failures.

Only imported where a model is really asked: httpx and langchain-ollama take most of a
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
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_ollama import ChatOllama
from pydantic import Field, ValidationError

from ..errors import ModelError, ModelResponseError, ModelTimeout, ModelUnavailable
from ..text.secret_url import shown_url
from .endpoint import Endpoint
from .ollama_list import READ, RESUME, SHOWN, client_options, shown_error
from .ollama_loading import begun, loaded_window, shown
from .request import ModelRequest
from .retry import parse_retry_after
from .thinking import REASONING, ROOM, Thinking
from .window import TRUNCATED, may_be_cut

CONNECT_TIMEOUT = 10.0
_TRANSIENT = frozenset({408, 425, 429})


class OllamaChat(ChatOllama):
    """ChatOllama with timeouts, `ModelError`s, and no half answers.

    langchain-ollama takes a stream that ends without `done` for a whole answer, and its
    client drops the Retry-After header; both are put right here, for `ainvoke`, `astream`
    and their sync twins alike.
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
            told = await shown(self._async_client, self.model)
            self.thinkers[self.model] = "thinking" in (told.get("capabilities") or ())
        return self.thinkers[self.model]

    async def aclose(self) -> None:
        """Close the connections of this event loop."""
        await self._async_client.close()  # type: ignore[no-untyped-call]
        self._client.close()  # type: ignore[no-untyped-call]

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with translated(self.model, str(self.base_url)):
            result = await super()._agenerate(
                messages, None, run_manager, **self._with_options(stop, kwargs)
            )
            self._check_ended(result.generations[0].generation_info)
            return result

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with translated(self.model, str(self.base_url)):
            result = super()._generate(
                messages, None, run_manager, **self._with_options(stop, kwargs)
            )
            self._check_ended(result.generations[0].generation_info)
            return result

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        last: dict[str, Any] | None = None
        with translated(self.model, str(self.base_url)):
            async for chunk in super()._astream(
                messages, None, run_manager, **self._with_options(stop, kwargs)
            ):
                last = chunk.generation_info
                yield chunk
            self._check_ended(last)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        last: dict[str, Any] | None = None
        with translated(self.model, str(self.base_url)):
            for chunk in super()._stream(
                messages, None, run_manager, **self._with_options(stop, kwargs)
            ):
                last = chunk.generation_info
                yield chunk
            self._check_ended(last)

    async def _acreate_chat_stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> AsyncIterator[Mapping[str, Any] | str]:
        parts = super()._acreate_chat_stream(messages, stop, **kwargs)
        first = asyncio.ensure_future(anext(parts, None))
        try:
            await begun(first, self._async_client, self.model, self.idle_timeout)
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
        thinking = Thinking()
        given = {**kwargs, "reasoning": True}  # else LangChain drops what the server parted
        async for chunk in super()._aiterate_over_stream(messages, stop, **given):
            yield _parted(chunk, thinking)

    def _iterate_over_stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        thinking = Thinking()
        given = {**kwargs, "reasoning": True}
        for chunk in super()._iterate_over_stream(messages, stop, **given):
            yield _parted(chunk, thinking)

    def _chat_params(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        params: dict[str, Any] = super()._chat_params(messages, stop, **kwargs)
        return {**params, "think": self.think}

    def _with_options(self, stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        options = {**self.request_options, **(kwargs.pop("options", None) or {})}
        if stop:
            options["stop"] = stop
        return {**kwargs, "options": options}

    def _check_ended(self, last: Mapping[str, Any] | None) -> None:
        if not last or last.get("done") is not True:
            raise _broken_off(self.model, str(self.base_url), "the stream ended without `done`")


def _parted(chunk: ChatGenerationChunk, thinking: Thinking) -> ChatGenerationChunk:
    """A piece without the reasoning in its text, which stands beside it."""
    message = chunk.message
    if not isinstance(message.content, str):
        return chunk
    reasoning, answer = thinking.feed(message.content)
    if (chunk.generation_info or {}).get("done") is True:
        more, rest = thinking.end()
        reasoning, answer = reasoning + more, answer + rest
    if answer == message.content:
        return chunk
    known = message.additional_kwargs
    if reasoning:
        known = {**known, REASONING: str(known.get(REASONING) or "") + reasoning}
    update = {"content": answer, "additional_kwargs": known}
    return ChatGenerationChunk(
        message=message.model_copy(update=update), generation_info=chunk.generation_info
    )


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
        # Until the answer begins, `begun` keeps the time: it knows of models that are loaded.
        request.extensions["timeout"]["read"] = None

    def refuse(response: httpx.Response) -> None:
        if not response.is_success:
            body = _beginning(response.iter_bytes())
            raise _refusal(model, endpoint.url, response, body)

    async def arefuse(response: httpx.Response) -> None:
        response.request.extensions["timeout"]["read"] = idle_timeout
        if not response.is_success:
            body = await _abeginning(response.aiter_bytes())
            raise _refusal(model, endpoint.url, response, body)

    # A redirect is an answer to be told: followed, one call would be several requests, and go
    # where nobody said. `pool=None`: waiting for a free connection is our own queue, not the model's silence.
    timeout = httpx.Timeout(idle_timeout, connect=CONNECT_TIMEOUT, pool=None)
    return OllamaChat(
        model=model,
        base_url=endpoint.url,
        client_kwargs={
            **client_options(endpoint),
            "timeout": timeout,
            "follow_redirects": False,
        },
        sync_client_kwargs={"event_hooks": {"response": [refuse]}},
        async_client_kwargs={"event_hooks": {"request": [unhurried], "response": [arefuse]}},
        idle_timeout=idle_timeout,
    )


@contextmanager
def translated(model: str, url: str) -> Iterator[None]:
    """Turn what can go wrong between here and an Ollama into a ModelError."""
    where = f"{model} at {url}"
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ModelUnavailable(
            f"{where}: cannot connect ({shown_error(error)}). {RESUME}",
            reached=False,
            transient=True,
        ) from error
    except httpx.TimeoutException as error:
        raise ModelTimeout(
            f"{where}: nothing came for longer than the idle timeout allows. "
            f"Give `idle_timeout` more seconds if the model is only slow. {RESUME}"
        ) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise _broken_off(model, url, shown_error(error)) from error
    except ollama.ResponseError as error:
        raise ModelResponseError(
            f"{where}: the endpoint reported an error inside its answer: "
            f"{shown_url(error.error[:SHOWN])}. {RESUME}",
            transient=True,
        ) from error
    except ValidationError as error:
        if error.title != "ChatResponse":
            raise ModelResponseError(
                f"{where}: the request is not one that Ollama takes ({shown_error(error)}). "
                "Change the agent's options.",
                reached=False,
            ) from error
        raise _garbage(where, error) from error
    except (json.JSONDecodeError, AttributeError) as error:
        raise _garbage(where, error) from error
    except ValueError as error:
        # langchain-ollama raises a bare ValueError for an empty stream.
        if "No data received" not in str(error):
            raise
        raise _broken_off(model, url, "the answer is empty") from error


def _beginning(pieces: Iterator[bytes]) -> bytes:
    """As much of an error's body as is looked at: nothing says how long it is."""
    body = b""
    for piece in pieces:
        body += piece[: READ - len(body)]
        if len(body) >= READ:
            break
    return body


async def _abeginning(pieces: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for piece in pieces:
        body += piece[: READ - len(body)]
        if len(body) >= READ:
            break
    return body


def _refusal(model: str, url: str, response: httpx.Response, body: bytes) -> ModelError:
    status = response.status_code
    wait = parse_retry_after(response.headers.get("Retry-After"))
    return ModelResponseError(
        f"{model} at {url}: HTTP {status}: {_reason(response, body)}. "
        + (f"It asks to wait {wait:g} s. " if wait else "")
        + _advice(model, status),
        status=status,
        transient=status in _TRANSIENT or status >= 500,
        retry_after=wait,
    )


def _reason(response: httpx.Response, body: bytes) -> str:
    """What the endpoint said, without its own final full stop."""
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = body.decode(errors="replace").strip() or response.reason_phrase
    return shown_url(text[:SHOWN]).rstrip(".")


def _advice(model: str, status: int) -> str:
    if status < 400:
        return "It sends its callers elsewhere: set OLLAMA_HOST to the address that answers."
    if status in {401, 403}:
        return "Check OLLAMA_API_KEY, or the credentials in OLLAMA_HOST."
    if status == 404:
        return f"`ollama pull {model}` fetches the model."
    if status in _TRANSIENT or status >= 500:
        return RESUME
    return "The request itself was refused: shorten the prompt or change the agent's options."


def _broken_off(model: str, url: str, what: str) -> ModelError:
    return ModelResponseError(
        f"{model} at {url}: the answer broke off ({what}). {RESUME}", transient=True
    )


def _garbage(where: str, error: Exception) -> ModelError:
    return ModelResponseError(
        f"{where}: the answer is not Ollama's NDJSON ({shown_error(error)}). "
        f"Check that an Ollama answers there. {RESUME}",
        transient=True,
    )
