"""Chat models by name: asking one, and whoever stands in for it.

A name is `provider:model` or an alias; an alias may be a chain of names, which are asked in
their order until one answers. This module is read by commands that only list things, so
LangChain and httpx are imported when a model is really asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..embedded import EmbeddedModel
from ..errors import ModelError, ModelTimeout
from ..providers.endpoint import ollama_endpoint
from ..providers.rates import ProcessRates, Rates
from ..providers.request import ModelRequest
from ..providers.retry import Retry
from ..providers.settings import UNLIMITED, ProviderSettings
from ..providers.window import truncation
from .aliases import DEFAULT_ALIAS, EMBEDDED, Aliases
from .answer_cache import AnswerCache, KeptAnswers, Question
from .fallback import ModelFallback, error_of_absences, error_of_chain, may_fall_back
from .interceptor import ModelRun, current, through
from .langchain_provider import LangChainProvider
from .model_call import ModelCall
from .ollama_provider import EmbeddedProvider, OllamaProvider
from .provider import Absence, ModelUse, PerLoop, Provider

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import RunnableConfig


@dataclass(frozen=True, kw_only=True)
class ModelWarning:
    """An answer that may not be what was wanted."""

    name: str
    """`provider:model` of what answered."""
    message: str


def _never() -> bool:
    return False


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
        self._settings = dict(providers or {})
        self._timeout, self._idle_timeout = timeout, idle_timeout
        self._retry = retry or Retry()
        self._rates = rates or ProcessRates()
        self._answers = AnswerCache(answers, cache)
        self._on_use = [on_use] if on_use else []
        self._on_fallback = [on_fallback] if on_fallback else []
        self._on_warning: list[Callable[[ModelWarning], None]] = []
        self._places: PerLoop[dict[str, asyncio.Semaphore]] = PerLoop(dict)
        self._embedded = embedded if isinstance(embedded, EmbeddedModel) else EmbeddedModel()
        self._owns_embedded = self._embedded is not embedded
        self._stand_in = EmbeddedProvider(self._embedded, *self._terms(EMBEDDED), self._retry)
        self._may_stand_in = embedded is not False
        settings, idle = self._terms("ollama")
        address = ollama_endpoint(ollama_host or settings.base_url)
        self._providers: dict[str, Provider] = {
            EMBEDDED: self._stand_in,
            "ollama": OllamaProvider(address, settings, idle, self._retry),
        }

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
            use = await self._find(candidate, asked)
            if isinstance(use, ModelUse):
                return use
            absences[candidate] = use
        return await self._embedded_instead(asked, absences)

    async def look_up(self, candidate: str) -> ModelUse | Absence:
        """Ask the endpoint of one `provider:model` whether it has it; who would answer."""
        use = await self._find(candidate, candidate)
        try:
            if isinstance(use, Absence):
                return await self._embedded_instead(candidate, {candidate: use})
            await self._provider(candidate).look_up(_model_of(candidate))
        except ModelError as error:
            return use if isinstance(use, Absence) else Absence(reason=str(error))
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
            keep_for=self._answers.seconds_of(request, cache),
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
        if kept := await self._kept_answer(question, candidates):
            return kept
        return await self._first_answer(question, candidates)

    async def forget(self, answers: Sequence[AIMessage]) -> None:
        """Keep these answers no longer: they were no good, and would be the same again."""
        await self._answers.forget(answers)

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
        provider = self._provider(use.name)
        seconds = provider.settings.timeout or self._timeout
        retry = self._retry.with_retries(provider.settings.retries)
        async with self._place(use.name) or nullcontext():
            try:
                async with asyncio.timeout(seconds):
                    return await retry.run(lambda: provider.embed(_model_of(use.name), texts))
            except TimeoutError as error:
                raise ModelTimeout(
                    f"{use.name} at {use.endpoint}: no vectors within {seconds:g} s"
                ) from error

    async def aclose(self, *, connections_only: bool = False) -> None:
        """Close this loop's connections, and the embedded model if it is ours.

        Connections belong to the loop that opened them; another loop closes its own.
        """
        for provider in self._providers.values():
            await provider.aclose()
        if self._owns_embedded and not connections_only:
            await asyncio.to_thread(self._embedded.close)

    # Asking

    async def _first_answer(self, question: Question, candidates: Sequence[str]) -> AIMessage:
        """Of the candidates that can be had, one after another; else of what stands in."""
        passed_over: dict[str, str] = {}
        absences: dict[str, Absence] = {}
        failures: list[ModelError] = []
        for candidate in candidates:
            use = await self._find(candidate, question.asked)
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
            use = await self._embedded_instead(question.asked, absences)
            return await self._kept_answer(question, [use.name]) or await self._answer(
                use, question
            )
        raise error_of_chain(failures, absences)

    async def _answer(self, use: ModelUse, question: Question) -> AIMessage:
        for listener in self._on_use:
            listener(use)
        try:
            answer = await self._call(use, question).answer()
        except ModelError as error:
            if error.status == 404:
                # The model was there and is gone.
                self._provider(use.name).forget()
            raise
        if text := truncation(answer):
            for warn in self._on_warning:
                warn(ModelWarning(name=use.name, message=text))
        await self._answers.keep(question, self._key(question.request, use.name), answer)
        return answer

    def _call(self, use: ModelUse, question: Question) -> ModelCall:
        from .meter import MODELS_NAME

        provider = self._provider(use.name)
        settings, config = provider.settings, question.config
        metadata = {**config.get("metadata", {}), MODELS_NAME: use.name}
        return ModelCall(
            use=use,
            provider=provider,
            request=provider.prepare(question.request),
            passed_on=question.passed_on,
            config={**config, "metadata": metadata},
            place=self._place(use.name),
            rates=self._rates,
            retry=self._retry.with_retries(settings.retries),
            timeout=settings.timeout or self._timeout,
        )

    async def _find(self, name: str, asked: str) -> ModelUse | Absence:
        return await self._provider(name).find(_model_of(name), asked)

    async def _embedded_instead(self, asked: str, absences: Mapping[str, Absence]) -> ModelUse:
        """The embedded model, if it may stand in for any of the models that are absent.

        Raises ModelUnavailable, with the next step, if nobody is left.
        """
        may_stand_in = self._may_stand_in and any(one.may_stand_in for one in absences.values())
        if may_stand_in and self._embedded.available():
            reasons = "; ".join(absence.reason for absence in absences.values())
            return await self._stand_in.use(asked, reasons)
        for name in absences:
            # Whoever asks next may have mended it.
            self._provider(name).forget()
        raise error_of_absences(asked, absences, may_stand_in)

    def _provider(self, name: str) -> Provider:
        """The provider of a `provider:model`."""
        provider = _provider_of(name)
        if provider not in self._providers:
            self._providers[provider] = LangChainProvider(provider, *self._terms(provider))
        return self._providers[provider]

    def _terms(self, provider: str) -> tuple[ProviderSettings, float]:
        """What is set for a provider, and its idle timeout in seconds."""
        settings = self._settings.get(provider, UNLIMITED)
        return settings, settings.idle_timeout or self._idle_timeout

    def _place(self, name: str) -> asyncio.Semaphore | None:
        """What bounds the calls at the same time; None if nothing does."""
        limit = self._provider(name).settings.concurrency
        if limit is None:
            return None
        return self._places.get().setdefault(_provider_of(name), asyncio.Semaphore(limit))

    def _tell_fallback(self, asked: str, passed_over: Mapping[str, str], name: str) -> None:
        failed, reason = list(passed_over.items())[-1]
        fallback = ModelFallback(asked=asked, failed=failed, name=name, reason=reason)
        for listener in self._on_fallback:
            listener(fallback)

    async def _kept_answer(self, question: Question, names: Sequence[str]) -> AIMessage | None:
        """An answer that one of the models gave to the same question before."""
        if question.keep_for is None:
            return None
        keys = {name: self._key(question.request, name) for name in names}
        return await self._answers.find(question, keys)

    def _key(self, request: ModelRequest, name: str) -> str | None:
        provider = self._provider(name)
        return provider.prepare(request).key(name, provider.settings.base_url)


def _provider_of(name: str) -> str:
    return name.partition(":")[0]


def _model_of(name: str) -> str:
    return name.partition(":")[2]
