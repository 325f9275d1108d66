"""Providers that LangChain has a chat model for, behind the port of providers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ModelUnavailable
from ..providers.request import ModelRequest
from ..providers.settings import ProviderSettings
from ..providers.thinking import without_thinking
from .provider import Absence, ModelUse, PerLoop

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import RunnableConfig


class LangChainProvider:
    """See Provider. Imports the provider's library when a model is first needed."""

    def __init__(self, name: str, settings: ProviderSettings, idle_timeout: float) -> None:
        self.settings = settings
        self._name, self._idle_timeout = name, idle_timeout
        self._chats: PerLoop[dict[str, BaseChatModel]] = PerLoop(dict)
        self._opening = PerLoop(asyncio.Lock)

    async def find(self, model: str, asked: str) -> ModelUse | Absence:
        """See Provider. Does not ask the endpoint: opening the model needs no request."""
        from ..providers.langchain_chat import endpoint_of

        name = f"{self._name}:{model}"
        try:
            endpoint = endpoint_of(await self._chat(model), self._name)
        except ModelUnavailable as error:
            return Absence(reason=str(error))
        note = f"{name} at {endpoint}"
        return ModelUse(asked=asked, name=name, endpoint=endpoint, embedded=False, note=note)

    async def look_up(self, model: str) -> None:
        from ..providers import langchain_chat

        name = f"{self._name}:{model}"
        await langchain_chat.look_up(await self._chat(model), name, self._idle_timeout)

    def forget(self) -> None:
        """See Provider. Nothing is remembered."""

    def prepare(self, request: ModelRequest) -> ModelRequest:
        return request.with_think(self.settings.think)

    async def answer(self, model: str, request: ModelRequest, config: RunnableConfig) -> AIMessage:
        from ..providers import langchain_chat

        answer = await langchain_chat.ask(
            await self._chat(model),
            request,
            config,
            name=f"{self._name}:{model}",
            idle_timeout=self._idle_timeout,
        )
        return without_thinking(answer)

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        from langchain.embeddings import init_embeddings

        return await init_embeddings(f"{self._name}:{model}").aembed_documents(list(texts))

    async def aclose(self) -> None:
        chats = self._chats.pop()
        if chats:
            from ..providers import langchain_chat

            for chat in chats.values():
                await langchain_chat.close(chat)

    async def _chat(self, model: str) -> BaseChatModel:
        """The chat model, opened in a thread: importing its library takes seconds."""
        from ..providers import langchain_chat

        async with self._opening.get():
            chats = self._chats.get()
            if model not in chats:
                name = f"{self._name}:{model}"
                chats[model] = await asyncio.to_thread(
                    langchain_chat.open_chat, name, self.settings
                )
            return chats[model]
