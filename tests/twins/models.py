"""A chat model that says what is written down for it. What it says next follows from the messages
that it is given, so that it is the same in another process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from tests.twins.witness import saw


class Scripted(BaseChatModel):
    says: Sequence[AIMessage]
    """By how many messages of its own it is given."""

    def _next(self, messages: Sequence[BaseMessage]) -> AIMessage:
        count = sum(1 for message in messages if isinstance(message, AIMessage))
        saw(f"model {count}")
        said = self.says[min(count, len(self.says) - 1)]
        calls = [
            {**call, "id": f"call {count} {number}"} for number, call in enumerate(said.tool_calls)
        ]
        return said.model_copy(update={"id": f"said {count}", "tool_calls": calls}, deep=True)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._next(messages))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        said = self._next(messages)
        words = str(said.content).split(" ") if said.content else [""]
        for number, word in enumerate(words):
            text = word if number == 0 else f" {word}"
            calls = said.tool_calls if number == len(words) - 1 else []
            chunk = AIMessageChunk(content=text, tool_calls=calls, id=said.id)
            yield ChatGenerationChunk(message=chunk)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    @property
    def _llm_type(self) -> str:
        return "scripted"


def says(text: str, *calls: tuple[str, dict[str, Any]]) -> AIMessage:
    """A message with calls of tools. It gets its ids when it is said."""
    made = [{"name": name, "args": args, "id": "", "type": "tool_call"} for name, args in calls]
    return AIMessage(content=text, tool_calls=made)


def scripted(*messages: AIMessage | str) -> Scripted:
    return Scripted(says=[says(each) if isinstance(each, str) else each for each in messages])
