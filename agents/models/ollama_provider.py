"""Ollama behind the port of providers, and the embedded model, which speaks Ollama's protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..embedded import EMBEDDED_MODEL, EmbeddedModel
from ..errors import ModelUnavailable
from ..providers.endpoint import Endpoint, with_tag
from ..providers.request import ModelRequest
from ..providers.retry import Retry
from ..providers.settings import ProviderSettings
from .aliases import EMBEDDED
from .provider import Absence, ModelUse, PerLoop

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig

    from ..providers.ollama import OllamaChat

RECHECK_AFTER = 5.0
"""Seconds until an Ollama that did not answer, or lacked a model, is asked again."""


class OllamaProvider:
    """See Provider. Remembers which models the Ollama has."""

    def __init__(
        self, endpoint: Endpoint, settings: ProviderSettings, idle_timeout: float, retry: Retry
    ) -> None:
        self.settings = settings
        self._address, self._idle_timeout, self._retry = endpoint, idle_timeout, retry
        self._present: set[str] = set()
        self._absent: dict[str, tuple[float, Absence]] = {}
        self._finding = PerLoop(asyncio.Lock)
        self._chats: PerLoop[dict[tuple[str, str], OllamaChat]] = PerLoop(dict)

    async def find(self, model: str, asked: str) -> ModelUse | Absence:
        """See Provider. Asks the Ollama once per process if it has the model."""
        async with self._finding.get():
            absence = await self._absence(with_tag(model))
        if absence is not None:
            return absence
        url = self._address.url
        return ModelUse(
            asked=asked,
            name=f"ollama:{model}",
            endpoint=url,
            embedded=False,
            note=f"{model} on the Ollama at {url}",
        )

    async def look_up(self, model: str) -> None:
        """See Provider. `find` has asked already."""

    def forget(self) -> None:
        self._present.clear()
        self._absent.clear()

    def prepare(self, request: ModelRequest) -> ModelRequest:
        return request.with_think(self.settings.think)

    async def answer(self, model: str, request: ModelRequest, config: RunnableConfig) -> AIMessage:
        from ..providers import ollama

        # The address is asked for at each request: an embedded model that was restarted has a new one.
        endpoint = await self._endpoint()
        chats = self._chats.get()
        key = (endpoint.url, model)
        if key not in chats:
            chats[key] = ollama.open_chat(endpoint, model, idle_timeout=self._idle_timeout)
        return await ollama.ask(chats[key], request, config)

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        from ..providers.ollama_embed import embed

        return await embed(await self._endpoint(), model, texts, self._idle_timeout)

    async def aclose(self) -> None:
        for chat in self._chats.pop().values():
            await chat.aclose()

    async def _endpoint(self) -> Endpoint:
        return self._address

    async def _absence(self, model: str) -> Absence | None:
        """Why the Ollama does not serve the model; None if it does."""
        if model in self._present:
            return None
        since, known = self._absent.get(model, (0.0, None))
        if known and time.monotonic() < since + RECHECK_AFTER:
            return known
        absence = await self._ask_for(model)
        if absence is None:
            self._present.add(model)
        else:
            self._absent[model] = (time.monotonic(), absence)
        return absence

    async def _ask_for(self, model: str) -> Absence | None:
        from ..providers.ollama_list import list_models

        url = self._address.url
        try:
            models = await self._retry.run(lambda: list_models(self._address))
        except ModelUnavailable as error:
            return Absence(reason=str(error))
        if models is None:
            return Absence(reason=f"no Ollama answers at {url}", may_stand_in=True)
        if model not in models:
            plain = model.removesuffix(":latest")
            reason = f"the Ollama at {url} has no {plain} (`ollama pull {plain}`)"
            return Absence(reason=reason, may_stand_in=True)
        return None


class EmbeddedProvider(OllamaProvider):
    """See Provider. The small model of a child process, which is started when it is first needed."""

    def __init__(
        self, model: EmbeddedModel, settings: ProviderSettings, idle_timeout: float, retry: Retry
    ) -> None:
        # Calls wait for each other here and not at the endpoint, where waiting would be taken for silence.
        settings = replace(settings, concurrency=settings.concurrency or 1)
        super().__init__(Endpoint(url=""), settings, idle_timeout, retry)
        self._model = model

    async def find(self, model: str, asked: str) -> ModelUse | Absence:
        if model != EMBEDDED_MODEL:
            return Absence(reason=f"the embedded model is {EMBEDDED_MODEL}, no other")
        if not self._model.available():
            return Absence(reason="the embedded model is not installed: `ucop models install`")
        return await self.use(asked)

    async def use(self, asked: str, because: str = "") -> ModelUse:
        """The embedded model; `because` tells why it stands in for another."""
        note = f"the embedded {EMBEDDED_MODEL}, a small model: expect simple answers"
        return ModelUse(
            asked=asked,
            name=f"{EMBEDDED}:{EMBEDDED_MODEL}",
            endpoint=await self._model.endpoint(),
            embedded=True,
            note=f"{note} ({because})" if because else note,
        )

    def prepare(self, request: ModelRequest) -> ModelRequest:
        """See Provider. The model cannot think, and rejects a request to do so."""
        return request.without_think()

    async def _endpoint(self) -> Endpoint:
        return Endpoint(url=await self._model.endpoint())
