"""A chat model of LangChain that asks through Models: for agents and tools that drive it
themselves, with the same turns, tries, fallbacks, kept answers and counts as every other call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from langchain_core.callbacks import AsyncCallbackHandler, AsyncCallbackManager
from langchain_core.callbacks.manager import AsyncRunManager
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs
from pydantic import Field, PrivateAttr

from ..providers.thinking import Thinking, with_reasoning
from .meter import AROUND

TOOLS = "tools"
_NOT_BOUND = frozenset({TOOLS, "ls_structured_output_format", "stream"})


class Asks(Protocol):
    """What asks models by name: Models."""

    def ask(self, *args: Any, **options: Any) -> Coroutine[Any, Any, AIMessage]: ...

    def aclose(self, *, connections_only: bool = False) -> Coroutine[Any, Any, None]: ...


class ModelChat(BaseChatModel):
    """Make it with `Models.chat`."""

    name_asked: str | None
    options: Mapping[str, Any] = Field(default_factory=dict)
    answer_schema: Mapping[str, Any] | None = None
    cache_for: float | None = None
    _models: Asks = PrivateAttr()
    _loop: asyncio.AbstractEventLoop = PrivateAttr()

    def __init__(
        self, models: Asks, *, loop: asyncio.AbstractEventLoop | None = None, **fields: Any
    ) -> None:
        """`loop` is the one that its calls run on; the running one unless said."""
        # Announced once around all the requests it makes, each of which announces itself.
        super().__init__(metadata={AROUND: True}, **fields)
        self._models = models
        self._loop = loop or asyncio.get_running_loop()

    @property
    def _llm_type(self) -> str:
        return "ucop"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        return {"model": self.name_asked, "options": dict(self.options)}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | Any],
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """See LangChain. Each model of a chain gets the tools in its own form."""
        return self.bind(**{TOOLS: list(tools), **kwargs})

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncRunManager | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = await self._ask(messages, stop, kwargs, config=_inside(run_manager))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """The answer in pieces, as they come. Once one was passed on, a failure is told and not
        tried again: what was said cannot be taken back. An answer with a schema comes whole."""
        pieces = _Pieces()
        heard: RunnableConfig = {"callbacks": [pieces]}
        live = self.answer_schema is None
        work = asyncio.create_task(
            self._ask(
                self._convert_input(input).to_messages(),
                stop,
                kwargs,
                config=merge_configs(ensure_config(config), heard) if live else config,
                passed_on=lambda: pieces.any,
            )
        )
        work.add_done_callback(lambda _: pieces.queue.put_nowait(None))
        try:
            while (piece := await pieces.queue.get()) is not None:
                yield piece
            answer = await work
            if not pieces.any:
                yield AIMessageChunk(**answer.model_dump(exclude={"type"}))
            elif (rest := pieces.rest()) is not None:
                yield rest
        finally:
            work.cancel()
            await asyncio.wait([work])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        """On the loop that the chat belongs to, or where that has ended, on one of its own."""
        work = self._agenerate(messages, stop, run_manager, **kwargs)
        if not self._loop.is_running():
            return asyncio.run(self._alone(work))
        if _running_loop() is not None:
            work.close()
            raise RuntimeError("inside an event loop, await the chat's `ainvoke` or `astream`")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _ask(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        bound: Mapping[str, Any],
        **more: Any,
    ) -> AIMessage:
        return await self._models.ask(
            self.name_asked,
            messages,
            options={**self.options, **({"stop": stop} if stop else {})},
            schema=self.answer_schema,
            tools=bound.get(TOOLS, ()),
            binding={key: value for key, value in bound.items() if key not in _NOT_BOUND},
            cache=self.cache_for,
            **more,
        )

    async def _alone(self, work: Any) -> ChatResult:
        try:
            result: ChatResult = await work
            return result
        finally:
            await self._models.aclose(connections_only=True)


class _Pieces(AsyncCallbackHandler):
    """Hears the pieces of an answer as they come; None is the end."""

    run_inline = True

    def __init__(self) -> None:
        self.queue: asyncio.Queue[AIMessageChunk | None] = asyncio.Queue()
        self.any = False
        self._thinking = Thinking()

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        message = getattr(chunk, "message", None)
        if isinstance(message, AIMessageChunk):
            self.any = True
            if isinstance(message.content, str):
                message = with_reasoning(message, *self._thinking.feed(message.content))
            self.queue.put_nowait(message)

    def rest(self) -> AIMessageChunk | None:
        """What was held back, because it might have been the beginning of a tag."""
        _, answer = self._thinking.end()
        return AIMessageChunk(content=answer) if answer else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _inside(run: AsyncRunManager | None) -> RunnableConfig | None:
    """The config of calls inside a run of this chat."""
    if run is None:
        return None
    inner = AsyncCallbackManager(
        handlers=run.inheritable_handlers,
        inheritable_handlers=run.inheritable_handlers,
        parent_run_id=run.run_id,
        tags=run.inheritable_tags,
        inheritable_tags=run.inheritable_tags,
        metadata=run.inheritable_metadata,
        inheritable_metadata=run.inheritable_metadata,
    )
    return {"callbacks": inner, "metadata": run.inheritable_metadata}
