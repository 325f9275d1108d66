"""Chat models by name: who serves one, and asking it.

A name is `provider:model` or an alias; an alias may be a chain of names, of which the
first that can be had is used. This module is read by commands that only list things, so
LangChain and httpx are imported where a model is really asked.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ucop.agents.embedded import EMBEDDED_MODEL, EmbeddedModel
from ucop.agents.endpoint import Endpoint, ollama_endpoint
from ucop.agents.errors import ModelError, ModelResponseError, ModelTimeout, ModelUnavailable
from ucop.agents.retry import Retry

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig

    from ucop.agents.ollama import OllamaChat

DEFAULT_ALIAS = "default"
DEFAULT_MODEL = "ollama:llama3.2"
EMBEDDED = "embedded"
RECHECK_AFTER = 5.0
"""Seconds until an Ollama that did not answer, or lacked a model, is asked again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelUse:
    """Which model really answers where one was asked for."""

    asked: str
    """The name as the agent or caller wrote it."""
    name: str
    """`provider:model` of what answers."""
    endpoint: str
    """Its address without credentials; the provider's name where it has no address."""
    embedded: bool
    note: str
    """One plain sentence for progress displays."""


@dataclass(frozen=True, kw_only=True)
class _Absence:
    """Why a candidate cannot be had; `may_stand_in` lets the embedded model replace it."""

    reason: str
    may_stand_in: bool = False


@dataclass
class _LoopState:
    """What belongs to one event loop: open chats, and the embedded model's queue."""

    chats: dict[tuple[str, str], OllamaChat] = field(default_factory=dict)
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)
    # One slot: calls wait here for their turn, so that waiting is not taken for silence.
    embedded_turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


class Models:
    """Finds and asks chat models for one process.

    `timeout` bounds a whole call, tries and pauses included; `idle_timeout` the silence
    before the first token and between two; both in seconds. `embedded` is False for no
    stand-in, or an EmbeddedModel that the caller owns and closes. `on_use` hears, before
    each call, which model it goes to.
    """

    def __init__(
        self,
        *,
        aliases: Mapping[str, str | Sequence[str]] | None = None,
        ollama_host: str | None = None,
        embedded: bool | EmbeddedModel = True,
        timeout: float = 300.0,
        idle_timeout: float = 60.0,
        retry: Retry | None = None,
        on_use: Callable[[ModelUse], None] | None = None,
    ) -> None:
        self._aliases = {DEFAULT_ALIAS: DEFAULT_MODEL, **(aliases or {})}
        self._ollama = ollama_endpoint(ollama_host)
        self._embedded = embedded if isinstance(embedded, EmbeddedModel) else EmbeddedModel()
        self._owns_embedded = self._embedded is not embedded
        self._may_stand_in = embedded is not False
        self._timeout = timeout
        self._idle_timeout = idle_timeout
        self._retry = retry or Retry()
        self._listeners = [on_use] if on_use else []
        self._held: set[str] = set()
        self._missed: dict[str, tuple[float, _Absence]] = {}
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState] = WeakKeyDictionary()

    def candidates(self, name: str | None) -> tuple[str, ...]:
        """The `provider:model` names that `name` stands for, in order of preference.

        Raises ModelUnavailable for an unknown alias and for aliases that lead in a circle.
        """
        return tuple(dict.fromkeys(self._expand(name or DEFAULT_ALIAS, ())))

    async def resolve(self, name: str | None) -> ModelUse:
        """Which model a call of `name` goes to now.

        Raises ModelUnavailable with the next step when nobody serves it.
        """
        return (await self._uses(name))[0]

    async def chat(
        self,
        name: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> BaseChatModel:
        """The chat model itself, for agents that drive it on their own.

        `options` are Ollama's (`temperature`, `seed`, `num_predict`, `stop`, …); `schema`
        constrains the answer. It has the timeouts and errors of `ask`, not its retries.
        """
        use = await self.resolve(name)
        self._tell(use)
        return await self._open(use, options or {}, schema)

    async def ask(
        self,
        name: str | None,
        messages: Sequence[BaseMessage],
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        config: RunnableConfig | None = None,
    ) -> AIMessage:
        """One answer of `name` to `messages`, with retries and the rest of its chain.

        `tools` are those that the answer may call instead, in the form of OpenAI's functions.
        Streams inside, so a cancelled task closes the endpoint's connection at once, and
        the callbacks of the LangGraph run around it (or of `config`) see every try.
        Raises ModelError.
        """
        failures: list[ModelError] = []
        for use in await self._uses(name):
            self._tell(use)
            try:
                return await self._ask(use, messages, options or {}, schema, tools, config)
            except ModelError as error:
                failures.append(error)
                if error.status == 400 or (not error.reached and not error.transient):
                    break
        raise _all_of(failures)

    async def embed(self, name: str, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, all of one length, by the model of a name, with retries.

        Raises ModelError. Embeddings are no model calls: no budget is asked.
        """
        from ucop.agents.embedding import embed

        use = await self.resolve(name)
        async with self._turn(use):
            deadline = asyncio.get_running_loop().time() + self._timeout
            for tries in count(1):
                try:
                    async with asyncio.timeout_at(deadline):
                        endpoint = self._ollama
                        if use.embedded:  # asked anew: a child that died has a new address
                            endpoint = Endpoint(url=await self._embedded.endpoint())
                        return await embed(use.name, endpoint, texts, self._idle_timeout)
                except TimeoutError as error:
                    raise _too_slow(use, self._timeout, None) from error
                except ModelError as error:
                    await self._pause_or_give_up(error, tries, use, deadline)
        raise AssertionError("counting has no end")

    def listen(self, on_use: Callable[[ModelUse], None]) -> None:
        """Let one more hear, before each call, which model it goes to."""
        if on_use not in self._listeners:
            self._listeners.append(on_use)

    async def aclose(self, *, connections_only: bool = False) -> None:
        """Close this loop's connections, and the embedded model where it is ours.

        Connections belong to the loop that opened them; another loop closes its own.
        """
        state = self._loops.pop(asyncio.get_running_loop(), None)
        for chat in state.chats.values() if state else ():
            await chat.aclose()
        if self._owns_embedded and not connections_only:
            await asyncio.to_thread(self._embedded.close)

    # Who serves a name

    def _expand(self, name: str, seen: tuple[str, ...]) -> list[str]:
        if name in seen:
            circle = " → ".join((*seen, name))
            raise ModelUnavailable(
                f"model alias {name!r} leads back to itself: {circle}. "
                "Change [models] in the project's settings.",
                reached=False,
            )
        meaning = self._aliases.get(name)
        if meaning is None:
            return [self._qualified(name)]
        links = [meaning] if isinstance(meaning, str) else list(meaning)
        return [found for link in links for found in self._expand(link, (*seen, name))]

    def _qualified(self, name: str) -> str:
        if name == EMBEDDED:
            return f"{EMBEDDED}:{EMBEDDED_MODEL}"
        if ":" not in name:
            known = ", ".join(sorted(self._aliases))
            raise ModelUnavailable(
                f"no model alias {name!r}; known: {known}. Write `provider:model` "
                f"(such as ollama:{name}), or add {name} to [models] in the project's settings.",
                reached=False,
            )
        return name

    async def _uses(self, name: str | None) -> list[ModelUse]:
        asked = name or DEFAULT_ALIAS
        found = {name: await self._serve(name, asked) for name in self.candidates(name)}
        uses = [use for use in found.values() if isinstance(use, ModelUse)]
        if uses:
            return uses
        absences = {name: use for name, use in found.items() if isinstance(use, _Absence)}
        stand_in = any(absence.may_stand_in for absence in absences.values())
        if stand_in and self._may_stand_in and self._embedded.available():
            reasons = "; ".join(absence.reason for absence in absences.values())
            return [await self._embedded_use(asked, reasons)]
        self._missed.clear()  # whoever asks next may have mended it
        raise _nobody_serves(asked, absences, stand_in and self._may_stand_in)

    async def _serve(self, candidate: str, asked: str) -> ModelUse | _Absence:
        provider, _, model = candidate.partition(":")
        if provider == EMBEDDED:
            return await self._serve_embedded(candidate, asked)
        if provider == "ollama":
            return await self._serve_ollama(candidate, model, asked)
        return _serve_by_langchain(candidate, provider, asked)

    async def _serve_embedded(self, candidate: str, asked: str) -> ModelUse | _Absence:
        if candidate != f"{EMBEDDED}:{EMBEDDED_MODEL}":
            return _Absence(reason=f"the embedded model is {EMBEDDED_MODEL}, no other")
        if not self._embedded.available():
            return _Absence(reason="the embedded model is not installed: `ucop models install`")
        return await self._embedded_use(asked, "")

    async def _serve_ollama(self, candidate: str, model: str, asked: str) -> ModelUse | _Absence:
        tagged = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
        absence = await self._find(tagged)
        if absence is not None:
            return absence
        return ModelUse(
            asked=asked,
            name=candidate,
            endpoint=self._ollama.url,
            embedded=False,
            note=f"{model} on the Ollama at {self._ollama.url}",
        )

    async def _find(self, tagged: str) -> _Absence | None:
        """None where the Ollama has the model; asked once per process when it does."""
        async with self._loop.probing:
            if tagged in self._held:
                return None
            missed = self._missed.get(tagged)
            if missed and time.monotonic() < missed[0] + RECHECK_AFTER:
                return missed[1]
            absence = await self._probe(tagged)
            if absence is None:
                self._held.add(tagged)
            else:
                self._missed[tagged] = (time.monotonic(), absence)
            return absence

    async def _probe(self, tagged: str) -> _Absence | None:
        try:
            held = await self._list()
        except ModelUnavailable as error:
            return _Absence(reason=str(error))
        if held is None:
            return _Absence(reason=f"no Ollama answers at {self._ollama.url}", may_stand_in=True)
        if tagged not in held:
            plain = tagged.removesuffix(":latest")
            return _Absence(
                reason=f"the Ollama at {self._ollama.url} has no {plain} (`ollama pull {plain}`)",
                may_stand_in=True,
            )
        return None

    async def _list(self) -> frozenset[str] | None:
        """What the Ollama has; tried again, as a call is, where it is in trouble."""
        from ucop.agents.ollama import list_models

        for tries in count(1):
            try:
                return await list_models(self._ollama)
            except ModelUnavailable as error:
                pause = self._retry.pause(error, tries)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("counting has no end")

    async def _embedded_use(self, asked: str, because: str) -> ModelUse:
        note = f"the embedded {EMBEDDED_MODEL}, a small model: expect simple answers"
        return ModelUse(
            asked=asked,
            name=f"{EMBEDDED}:{EMBEDDED_MODEL}",
            endpoint=await self._embedded.endpoint(),
            embedded=True,
            note=f"{note} ({because})" if because else note,
        )

    # Asking

    async def _ask(
        self,
        use: ModelUse,
        messages: Sequence[BaseMessage],
        options: Mapping[str, Any],
        schema: Mapping[str, Any] | None,
        tools: Sequence[Mapping[str, Any]],
        config: RunnableConfig | None,
    ) -> AIMessage:
        async with self._turn(use):
            last: ModelError | None = None
            deadline = asyncio.get_running_loop().time() + self._timeout
            try:
                async with asyncio.timeout_at(deadline):
                    for tries in range(1, self._retry.tries + 1):
                        try:
                            chat = await self._open(use, options, schema)
                            return await _one_try(chat, use, messages, tools, config)
                        except ModelError as error:
                            last = error
                            await self._pause_or_give_up(error, tries, use, deadline)
            except TimeoutError as error:
                raise _too_slow(use, self._timeout, last) from error
            raise AssertionError("the last failed try always raises")

    async def _pause_or_give_up(
        self, error: ModelError, tries: int, use: ModelUse, deadline: float
    ) -> None:
        if error.status == 404:
            self._held.clear()  # the model was there and is not: look again next time
        pause = self._retry.pause(error, tries)
        if pause is None or asyncio.get_running_loop().time() + pause >= deadline:
            raise error
        log.info("%s failed (try %d), again in %.1f s: %s", use.name, tries, pause, error)
        await asyncio.sleep(pause)

    def _turn(self, use: ModelUse) -> AbstractAsyncContextManager[object]:
        return self._loop.embedded_turn if use.embedded else nullcontext()

    async def _open(
        self, use: ModelUse, options: Mapping[str, Any], schema: Mapping[str, Any] | None
    ) -> BaseChatModel:
        provider, _, model = use.name.partition(":")
        if provider not in {EMBEDDED, "ollama"}:
            return _open_by_langchain(use.name, options)
        # Asked anew at each try: a child that died has a new address.
        endpoint = Endpoint(url=await self._embedded.endpoint()) if use.embedded else self._ollama
        base = self._connected(endpoint, model, use.name)
        return base.model_copy(update={"request_options": dict(options), "format": schema})

    def _connected(self, endpoint: Endpoint, model: str, shown_as: str) -> OllamaChat:
        from ucop.agents.ollama import open_chat

        chats = self._loop.chats
        key = (endpoint.url, model)
        if key not in chats:
            chats[key] = open_chat(
                endpoint, model, shown_as=shown_as, idle_timeout=self._idle_timeout
            )
        return chats[key]

    @property
    def _loop(self) -> _LoopState:
        running = asyncio.get_running_loop()
        if running not in self._loops:
            self._loops[running] = _LoopState()
        return self._loops[running]

    def _tell(self, use: ModelUse) -> None:
        for listener in self._listeners:
            listener(use)


async def _one_try(
    chat: BaseChatModel,
    use: ModelUse,
    messages: Sequence[BaseMessage],
    tools: Sequence[Mapping[str, Any]],
    config: RunnableConfig | None,
) -> AIMessage:
    asked = chat.bind_tools([dict(tool) for tool in tools]) if tools else chat
    try:
        return await asked.ainvoke(list(messages), config)
    except (ModelError, asyncio.CancelledError):
        raise
    except Exception as error:
        status = _status_of(error)
        if status is None:
            raise
        raise ModelResponseError(
            f"{use.name}: HTTP {status}: {error}",
            status=status,
            transient=status in {408, 429} or status >= 500,
        ) from error


def _status_of(error: Exception) -> int | None:
    """The HTTP status that the providers' own exceptions carry under one of two names."""
    for name in ("status_code", "code"):
        status = getattr(error, name, None)
        if isinstance(status, int):
            return status
    return None


def _serve_by_langchain(candidate: str, provider: str, asked: str) -> ModelUse | _Absence:
    package = f"langchain-{provider.replace('_', '-')}"
    missing = [
        name
        for name in ("langchain", package)
        if importlib.util.find_spec(name.replace("-", "_")) is None
    ]
    if missing:
        install = " ".join(["pip install", *missing])
        return _Absence(reason=f"{candidate} needs {' and '.join(missing)} (`{install}`)")
    return ModelUse(asked=asked, name=candidate, endpoint=provider, embedded=False, note=candidate)


def _open_by_langchain(name: str, options: Mapping[str, Any]) -> BaseChatModel:
    chats = import_module("langchain.chat_models")  # optional: not there for the type checker
    chat: BaseChatModel = chats.init_chat_model(name, **options)
    return chat


def _nobody_serves(
    asked: str, absences: Mapping[str, _Absence], could_embed: bool
) -> ModelUnavailable:
    reasons = "\n".join(f"  {name}: {absence.reason}" for name, absence in absences.items())
    steps = ["Start Ollama or set OLLAMA_HOST"]
    if could_embed:
        steps.append("or run `ucop models install` for the small embedded model")
    return ModelUnavailable(
        f"no model for {asked!r}:\n{reasons}\n{', '.join(steps)}. A job keeps what it finished.",
        reached=False,
        transient=True,
    )


def _too_slow(use: ModelUse, timeout: float, last: ModelError | None) -> ModelTimeout:
    before = f" The last try before: {last}" if last else ""
    return ModelTimeout(
        f"{use.name} at {use.endpoint}: no answer within {timeout:g} s. Ask for less "
        "(`num_predict`), give `timeout` more seconds, or use a faster model. "
        f"A job keeps what it finished: `ucop jobs resume` goes on from there.{before}"
    )


def _all_of(failures: Sequence[ModelError]) -> ModelError:
    """The one failure; or, of a chain, one that names them all."""
    if len(failures) == 1:
        return failures[0]
    listed = "\n".join(f"  {failure}" for failure in failures)
    last = failures[-1]
    return type(last)(
        f"no model of the chain answered:\n{listed}",
        reached=any(failure.reached for failure in failures),
        transient=last.transient,
        status=last.status,
    )
