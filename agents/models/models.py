"""Chat models by name: asking one, and whoever stands in for it.

A name is `provider:model` or an alias; an alias may be a chain of names, which are asked in
their order until one answers. This module is read by commands that only list things, so
LangChain and httpx are imported where a model is really asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..embedded import EmbeddedModel
from ..errors import ModelError, ModelTimeout, ModelUnavailable
from ..providers.endpoint import Endpoint, ollama_endpoint
from ..providers.provider import UNLIMITED, ProviderSettings
from ..providers.rates import ProcessRates, Rates
from ..providers.request import ModelRequest
from ..providers.retry import Retry
from ..providers.thinking import without_thinking
from ..providers.window import truncation
from .aliases import DEFAULT_ALIAS, EMBEDDED, Aliases
from .answer_cache import AnswerCache, KeptAnswers, Question
from .fallback import ModelFallback, error_of_chain, may_fall_back
from .interceptor import ModelRun, current, through
from .model_call import ModelCall
from .serving import Absence, ModelUse, Serving

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig

    from ..providers.ollama import OllamaChat

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelWarning:
    """An answer that may not be what was wanted."""

    name: str
    """`provider:model` of what answered."""
    message: str


def _never() -> bool:
    return False


@dataclass
class _LoopState:
    """What belongs to one event loop: open chats, and the providers' places."""

    ollama: dict[tuple[str, str], OllamaChat] = field(default_factory=dict)
    others: dict[str, BaseChatModel] = field(default_factory=dict)
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    places: dict[str, asyncio.Semaphore] = field(default_factory=dict)


class Models:
    """Finds and asks chat models for one process.

    `timeout` bounds a whole call, tries and pauses included; `idle_timeout` the silence
    before the first token and between two; both in seconds. `providers` limits single providers,
    and `rates` tells them when they may be asked. `embedded` is False for no stand-in, or an
    EmbeddedModel that the caller owns and closes. `on_use` hears, before each call, which model
    it goes to. `answers` keeps answers: those of calls that say so, and for `cache` seconds
    those of all calls that can only have one.
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
        providers: Mapping[str, ProviderSettings] | None = None,
        rates: Rates | None = None,
        answers: KeptAnswers | None = None,
        cache: float | None = None,
        on_use: Callable[[ModelUse], None] | None = None,
        on_fallback: Callable[[ModelFallback], None] | None = None,
    ) -> None:
        self._aliases = Aliases(aliases)
        self._providers = dict(providers or {})
        self._ollama = ollama_endpoint(ollama_host or self._settings("ollama").base_url)
        self._embedded = embedded if isinstance(embedded, EmbeddedModel) else EmbeddedModel()
        self._owns_embedded = self._embedded is not embedded
        self._timeout = timeout
        self._idle_timeout = idle_timeout
        self._retry = retry or Retry()
        self._rates = rates or ProcessRates()
        self._kept = AnswerCache(answers, cache, self._key)
        self._on_use = [on_use] if on_use else []
        self._on_fallback = [on_fallback] if on_fallback else []
        self._on_warning: list[Callable[[ModelWarning], None]] = []
        self._serving = Serving(
            ollama=self._ollama,
            embedded=self._embedded,
            may_stand_in=embedded is not False,
            retry=self._retry,
            other=self._other_endpoint,
        )
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopState] = WeakKeyDictionary()

    @property
    def names(self) -> tuple[str, ...]:
        """The aliases, `default` first."""
        return tuple(self._aliases)

    def candidates(self, name: str | None) -> tuple[str, ...]:
        """The `provider:model` names that `name` stands for, in order of preference.

        Raises ModelUnavailable for an unknown alias and for aliases that lead in a circle.
        """
        return self._aliases.candidates(name)

    async def resolve(self, name: str | None) -> ModelUse:
        """Which model a call of `name` goes to now.

        Raises ModelUnavailable with the next step when nobody serves it.
        """
        asked = name or DEFAULT_ALIAS
        absences: dict[str, Absence] = {}
        for candidate in self.candidates(name):
            use = await self._serving.serve(candidate, asked)
            if isinstance(use, ModelUse):
                return use
            absences[candidate] = use
        return await self._serving.stand_in(asked, absences)

    async def look_up(self, candidate: str) -> ModelUse | Absence:
        """Ask the endpoint of one `provider:model` whether it has it; who would answer."""
        provider = candidate.partition(":")[0]
        use = await self._serving.serve(candidate, candidate)
        if isinstance(use, Absence):
            try:
                return await self._serving.stand_in(candidate, {candidate: use})
            except ModelUnavailable:
                return use
        if provider in {EMBEDDED, "ollama"}:
            return use
        from ..providers import langchain_chat

        idle = self._settings(provider).idle_timeout or self._idle_timeout
        try:
            await langchain_chat.look_up(await self._other(candidate), candidate, idle)
        except ModelError as error:
            return Absence(reason=str(error))
        return use

    async def chat(
        self,
        name: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        cache: float | None = None,
    ) -> BaseChatModel:
        """A chat model that asks as `ask` does, for agents that drive one on their own.

        `options` are Ollama's (`temperature`, `seed`, `num_predict`, `stop`, …); `schema`
        constrains the answer. Raises ModelUnavailable when nobody serves it.
        """
        from .chat import ModelChat

        await self.resolve(name)
        return ModelChat(
            self,
            name_asked=name,
            options=dict(options or {}),
            answer_schema=schema,
            cache_for=cache,
        )

    async def ask(
        self,
        name: str | None,
        messages: Sequence[BaseMessage],
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
        tools: Sequence[Any] = (),
        binding: Mapping[str, Any] | None = None,
        config: RunnableConfig | None = None,
        cache: float | None = None,
        passed_on: Callable[[], bool] = _never,
    ) -> AIMessage:
        """One answer of `name` to `messages`, with retries and the rest of its chain.

        `tools` are those that the answer may call instead, in the form of OpenAI's functions.
        Streams inside, so a cancelled task closes the endpoint's connection at once, and
        the callbacks of the LangGraph run around it (or of `config`) see every try. With
        `cache`, an answer to the same question that was given within so many seconds is
        taken instead. Where a failed try was `passed_on` to somebody, there is no next one.
        Raises ModelError.
        """
        from langchain_core.runnables.config import ensure_config

        request = ModelRequest(
            messages=messages,
            options=options or {},
            schema=schema,
            tools=tools,
            binding=binding or {},
        )
        question = Question(
            asked=name or DEFAULT_ALIAS,
            request=request,
            config=ensure_config(config),
            keep_for=self._kept.seconds_of(request, cache),
            passed_on=passed_on,
        )
        if (intercepted := current.get()) is not None and intercepted[0].model_call:
            interceptors, node = intercepted
            run = ModelRun(model=question.asked, messages=messages, node=node)
            return await through(
                interceptors.model_call, run, partial(self._from_chain, question, name)
            )
        return await self._from_chain(question, name)

    async def _from_chain(self, question: Question, name: str | None) -> AIMessage:
        candidates = self.candidates(name)
        if kept := await self._kept.find(question, candidates):
            return kept
        return await self._first_answer(question, candidates)

    async def forget(self, answers: Sequence[AIMessage]) -> None:
        """Keep these answers no longer: they were no good, and would be the same again."""
        await self._kept.forget(answers)

    def listen(
        self,
        on_use: Callable[[ModelUse], None],
        on_fallback: Callable[[ModelFallback], None] | None = None,
        on_warning: Callable[[ModelWarning], None] | None = None,
    ) -> None:
        """Let one more hear, before each call, which model it goes to, and why to another; and
        what is to be said of an answer."""
        if on_use not in self._on_use:
            self._on_use.append(on_use)
        if on_fallback is not None and on_fallback not in self._on_fallback:
            self._on_fallback.append(on_fallback)
        if on_warning is not None and on_warning not in self._on_warning:
            self._on_warning.append(on_warning)

    async def embed(self, name: str, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text, all of one length, by the model of a name, with retries.

        Raises ModelError. Embeddings are no model calls: no budget is asked.
        """
        use = await self.resolve(name)
        provider = use.name.partition(":")[0]
        settings = self._settings(provider)
        async with self._place(provider, settings) or nullcontext():
            seconds = settings.timeout or self._timeout
            try:
                async with asyncio.timeout(seconds):
                    return await self._vectors(use, texts, settings)
            except TimeoutError as error:
                raise ModelTimeout(
                    f"{use.name} at {use.endpoint}: no vectors within {seconds:g} s"
                ) from error

    async def _vectors(
        self, use: ModelUse, texts: Sequence[str], settings: ProviderSettings
    ) -> list[list[float]]:
        from ..memory.embedding import embed

        retry = self._retry.with_retries(settings.retries)
        idle = settings.idle_timeout or self._idle_timeout
        for tries in count(1):
            try:
                return await embed(use.name, await self._endpoint(use), texts, idle)
            except ModelError as error:
                pause = retry.pause(error, tries)
                if pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("counting has no end")

    async def aclose(self, *, connections_only: bool = False) -> None:
        """Close this loop's connections, and the embedded model where it is ours.

        Connections belong to the loop that opened them; another loop closes its own.
        """
        state = self._loops.pop(asyncio.get_running_loop(), None)
        for chat in state.ollama.values() if state else ():
            await chat.aclose()
        if state and state.others:
            from ..providers import langchain_chat

            for other in state.others.values():
                await langchain_chat.close(other)
        if self._owns_embedded and not connections_only:
            await asyncio.to_thread(self._embedded.close)

    # Asking

    async def _first_answer(self, question: Question, candidates: Sequence[str]) -> AIMessage:
        """Of the candidates that can be had, one after another; else of what stands in."""
        passed_over: dict[str, str] = {}
        absences: dict[str, Absence] = {}
        failures: list[ModelError] = []
        for candidate in candidates:
            use = await self._serving.serve(candidate, question.asked)
            if isinstance(use, Absence):
                absences[candidate] = use
                passed_over[candidate] = use.reason
                continue
            if passed_over:
                self._tell_fallback(question.asked, passed_over, use.name)
            try:
                return await self._answer(use, question)
            except ModelError as error:
                failures.append(error)
                if question.passed_on() or not may_fall_back(error):
                    break
                passed_over[candidate] = str(error)
        if not failures:
            use = await self._serving.stand_in(question.asked, absences)
            return await self._kept.find(question, [use.name]) or await self._answer(use, question)
        raise error_of_chain(failures, absences)

    async def _answer(self, use: ModelUse, question: Question) -> AIMessage:
        for listener in self._on_use:
            listener(use)
        try:
            answer = await self._call(use, question).answer()
        except ModelError as error:
            if error.status == 404:
                self._serving.forget()  # the model was there and is not: look again next time
            raise
        if told := truncation(answer):
            for warned in self._on_warning:
                warned(ModelWarning(name=use.name, message=told))
        await self._kept.keep(question, use.name, answer)
        return answer

    def _call(self, use: ModelUse, question: Question) -> ModelCall:
        from .meter import MODELS_NAME

        provider = use.name.partition(":")[0]
        settings = self._settings(provider)
        config = question.config
        named = {**config.get("metadata", {}), MODELS_NAME: use.name}
        return ModelCall(
            use=use,
            request=question.request,
            passed_on=question.passed_on,
            config={**config, "metadata": named},
            place=self._place(provider, settings),
            rate=settings.rate,
            rates=self._rates,
            retry=self._retry.with_retries(settings.retries),
            timeout=settings.timeout or self._timeout,
            once=self._once,
        )

    async def _once(
        self, use: ModelUse, request: ModelRequest, config: RunnableConfig
    ) -> AIMessage:
        provider, _, model = use.name.partition(":")
        request = self._thinking(request, provider)
        if provider not in {EMBEDDED, "ollama"}:
            from ..providers import langchain_chat

            chat = await self._other(use.name)
            idle = self._settings(provider).idle_timeout or self._idle_timeout
            return without_thinking(
                await langchain_chat.ask(chat, request, config, name=use.name, idle_timeout=idle)
            )
        from ..providers import ollama

        chat = self._connected(await self._endpoint(use), model, provider)
        return await ollama.ask(chat, request, config)

    def _thinking(self, request: ModelRequest, provider: str) -> ModelRequest:
        """The request with what the settings say of thinking, where it says nothing itself."""
        if provider == EMBEDDED:  # it has no thoughts, and refuses to be asked for them
            kept = {name: value for name, value in request.options.items() if name != "think"}
            return replace(request, options=kept)
        think = self._settings(provider).think
        if think is None or request.options.get("think") is not None:
            return request
        return replace(request, options={**request.options, "think": think})

    async def _endpoint(self, use: ModelUse) -> Endpoint:
        """An Ollama's, asked anew at each try: a child that died has a new address."""
        return Endpoint(url=await self._embedded.endpoint()) if use.embedded else self._ollama

    def _connected(self, endpoint: Endpoint, model: str, provider: str) -> OllamaChat:
        from ..providers.ollama import open_chat

        chats = self._loop.ollama
        key = (endpoint.url, model)
        if key not in chats:
            idle = self._settings(provider).idle_timeout or self._idle_timeout
            chats[key] = open_chat(endpoint, model, idle_timeout=idle)
        return chats[key]

    async def _other(self, name: str) -> BaseChatModel:
        """The chat of another provider, opened in a thread: its library takes seconds."""
        from ..providers import langchain_chat

        state = self._loop
        async with state.opening:
            if name not in state.others:
                settings = self._settings(name.partition(":")[0])
                state.others[name] = await asyncio.to_thread(
                    langchain_chat.open_chat, name, settings
                )
            return state.others[name]

    async def _other_endpoint(self, name: str) -> str:
        """Where another provider is asked. Raises ModelUnavailable where it cannot be."""
        from ..providers.langchain_chat import endpoint_of

        return endpoint_of(await self._other(name), name.partition(":")[0])

    def _settings(self, provider: str) -> ProviderSettings:
        return self._providers.get(provider, UNLIMITED)

    def _place(self, provider: str, settings: ProviderSettings) -> asyncio.Semaphore | None:
        # The embedded model has one: calls wait here, so that waiting is not taken for silence.
        most = settings.concurrency or (1 if provider == EMBEDDED else None)
        if most is None:
            return None
        return self._loop.places.setdefault(provider, asyncio.Semaphore(most))

    @property
    def _loop(self) -> _LoopState:
        running = asyncio.get_running_loop()
        if running not in self._loops:
            self._loops[running] = _LoopState()
        return self._loops[running]

    def _tell_fallback(self, asked: str, passed_over: Mapping[str, str], name: str) -> None:
        failed, reason = list(passed_over.items())[-1]
        fallback = ModelFallback(asked=asked, failed=failed, name=name, reason=reason)
        for listener in self._on_fallback:
            listener(fallback)

    def _key(self, request: ModelRequest, model: str) -> str | None:
        provider = model.partition(":")[0]
        return self._thinking(request, provider).key(model, self._settings(provider).base_url)
