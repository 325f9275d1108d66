"""A chat model of LangChain's that asks by name: what `context.model()` gives, and tool agents use.

LangChain knows one model where ucop knows a name: an alias, a chain, retries, limits. This class
stands between the two, so that whatever drives a LangChain model gets all of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field, PrivateAttr

from ucop.agents.models import DEFAULT_ALIAS, Models


class NamedChat(BaseChatModel):
    """Asks `Models.ask` for each answer; `invoke` may be called outside of the loop only."""

    asked: str = DEFAULT_ALIAS
    """`provider:model` or an alias."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Ollama's options of each request."""
    form: dict[str, Any] | None = None
    """The JSON Schema of the answer."""
    _models: Models = PrivateAttr()
    _loop: asyncio.AbstractEventLoop = PrivateAttr()

    @classmethod
    def on(
        cls,
        models: Models,
        loop: asyncio.AbstractEventLoop,
        name: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> NamedChat:
        """The chat of a name; `loop` is the one on which its calls run."""
        form = None if schema is None else dict(schema)
        chat = cls(asked=name or DEFAULT_ALIAS, options=dict(options or {}), form=form)
        chat._models, chat._loop = models, loop
        return chat

    @property
    def _llm_type(self) -> str:
        return "ucop"

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        tools: Sequence[Mapping[str, Any]] = (),
        **kwargs: Any,
    ) -> AIMessage:
        """One answer, with retries and the rest of the chain. Raises ModelError."""
        return await self._models.ask(
            self.asked,
            self._convert_input(input).to_messages(),
            options={**self.options, **({"stop": stop} if stop else {})},
            schema=self.form,
            tools=tools,
            config=config,
        )

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """`ainvoke`, waited for in a thread of its own, such as a sync agent's."""
        if _running_loop() is self._loop:
            raise RuntimeError("invoke would block the event loop: await ainvoke")
        # The run around it, with its meter, goes over to the loop in this thread's context.
        answer = self.ainvoke(input, config, stop=stop, **kwargs)
        return asyncio.run_coroutine_threadsafe(answer, self._loop).result()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools to call; whether it does is its own choice."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        # Whoever comes here was announced to the meter already, and would be counted twice.
        raise NotImplementedError("ask this model with invoke or ainvoke")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
