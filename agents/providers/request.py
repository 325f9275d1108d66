"""What a model is asked: everything that shapes its answer, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

LETTERS_PER_TOKEN = 4
"""About; for what a request will count against a provider's rate, before it is known."""

ANSWER_TOKENS = 500
"""How long an answer is taken to be if nothing limits it."""

_NOT_SAID = {"id", "response_metadata", "usage_metadata"}
"""Of a message, what is not sent to the model."""


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One question to a model, whichever answers it."""

    messages: Sequence[BaseMessage]
    options: Mapping[str, Any] = field(default_factory=dict)
    """In Ollama's names: `temperature`, `seed`, `num_predict`, `stop`, …"""
    schema: Mapping[str, Any] | None = None
    """JSON Schema of the answer."""
    tools: Sequence[Any] = ()
    """As LangChain's `bind_tools` takes them."""
    binding: Mapping[str, Any] = field(default_factory=dict)
    """What else `bind_tools` takes: `tool_choice`, …"""

    @property
    def is_repeatable(self) -> bool:
        """Whether the same question has the same answer: no temperature, or a seed."""
        return self.options.get("temperature") == 0 or "seed" in self.options

    def with_think(self, think: bool | str | None) -> ModelRequest:
        """The request with the option `think`, unless it has one itself."""
        if think is None or self.options.get("think") is not None:
            return self
        return replace(self, options={**self.options, "think": think})

    def without_think(self) -> ModelRequest:
        options = {name: value for name, value in self.options.items() if name != "think"}
        return replace(self, options=options)

    def tokens(self) -> int:
        """About how many tokens it has, its answer included."""
        letters = sum(len(message.text) for message in self.messages)
        longest = self.options.get("num_predict", ANSWER_TOKENS)
        return letters // LETTERS_PER_TOKEN + int(longest)

    def key(self, model: str, base_url: str | None) -> str | None:
        """Of `provider:model` at `base_url` and all that it is asked; None if something in it
        cannot be written down."""
        from langchain_core.utils.function_calling import convert_to_openai_tool

        shape = {
            "model": model,
            "base_url": base_url,
            "messages": [m.model_dump(mode="json", exclude=_NOT_SAID) for m in self.messages],
            "options": dict(self.options),
            "schema": self.schema,
            "tools": [convert_to_openai_tool(tool) for tool in self.tools],
            "binding": dict(self.binding),
        }
        try:
            text = json.dumps(shape, sort_keys=True, separators=(",", ":"))
        except TypeError:
            return None
        return "call:" + hashlib.sha256(text.encode()).hexdigest()
