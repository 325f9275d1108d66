"""Ollama's requests in llama.cpp's words, and its answers in Ollama's. Pure functions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .llama import Refusal

_OPTIONS = {
    "num_predict": "max_tokens",
    "typical_p": "typ_p",
    **{
        name: name
        for name in (
            "temperature",
            "seed",
            "top_k",
            "top_p",
            "min_p",
            "stop",
            "repeat_penalty",
            "repeat_last_n",
            "presence_penalty",
            "frequency_penalty",
            "mirostat",
            "mirostat_tau",
            "mirostat_eta",
        )
    },
}


@dataclass(frozen=True, kw_only=True)
class Translated:
    """A request for llama.cpp; `forced` when its grammar forces a tool call."""

    body: dict[str, Any]
    forced: bool


def translate_chat(request: Mapping[str, Any]) -> Translated:
    """An /api/chat request; raises Refusal for what this model cannot do."""
    messages = request.get("messages") or []
    if not isinstance(messages, list) or not messages:
        raise Refusal(status=400, message="`messages` must be a list with at least one message")
    if request.get("think"):
        raise Refusal(status=400, message="the embedded model does not support thinking")
    body: dict[str, Any] = {
        "messages": [_message(message) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        **_options(request.get("options") or {}),
    }
    tools = request.get("tools") or []
    # A model this small never decides by itself to call a tool: the grammar makes it
    # call one, and after a tool's result it answers in words.
    forced = bool(tools) and messages[-1].get("role") != "tool"
    if forced:
        body |= {"tools": tools, "tool_choice": "none"}
        body["response_format"] = _json_schema(_call_schema(tools))
    elif response_format := _response_format(request.get("format")):
        body["response_format"] = response_format
    return Translated(body=body, forced=forced)


def translate_generate(request: Mapping[str, Any]) -> Translated:
    """An /api/generate request, asked as a chat of one turn."""
    system = [{"role": "system", "content": request["system"]}] if request.get("system") else []
    user = {"role": "user", "content": request.get("prompt") or ""}
    return translate_chat({**request, "messages": [*system, user], "tools": []})


@dataclass(kw_only=True)
class Answer:
    """What llama.cpp said so far, and its last line in Ollama's form."""

    forced: bool
    text: str = ""
    reason: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def take(self, event: Mapping[str, Any]) -> str:
        """Add an event; the text that a stream may show now."""
        self.usage = event.get("usage") or self.usage
        self.timings = event.get("timings") or self.timings
        said = ""
        for choice in event.get("choices") or []:
            self.reason = choice.get("finish_reason") or self.reason
            said += (choice.get("delta") or {}).get("content") or ""
        self.text += said
        return "" if self.forced else said

    def message(self, *, streamed: bool) -> dict[str, Any]:
        """The final message; in a stream its text was sent already."""
        call = _parse_call(self.text) if self.forced else None
        if call is not None:
            return {"role": "assistant", "content": "", "tool_calls": [{"function": call}]}
        shown = "" if streamed and not self.forced else self.text
        return {"role": "assistant", "content": shown}

    def ending(self) -> dict[str, Any]:
        """Ollama's final counts; raises Refusal where llama.cpp gave no reason to end."""
        if self.reason is None:
            raise Refusal(status=500, message="the model ended without a finish reason")
        return {
            "done": True,
            "done_reason": "length" if self.reason == "length" else "stop",
            "total_duration": int((time.monotonic() - self.started) * 1e9),
            "load_duration": 0,
            "prompt_eval_count": self.usage.get("prompt_tokens", 0),
            "prompt_eval_duration": int(self.timings.get("prompt_ms", 0) * 1e6),
            "eval_count": self.usage.get("completion_tokens", 0),
            "eval_duration": int(self.timings.get("predicted_ms", 0) * 1e6),
        }


def now() -> str:
    """A time as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def windows(tokens: Sequence[int], size: int) -> list[Sequence[int]]:
    """`tokens` in pieces of at most `size`; an empty text is one empty piece."""
    return [tokens[start : start + size] for start in range(0, max(len(tokens), 1), size)]


def mean_vector(vectors: Sequence[Sequence[float]], weights: Sequence[int]) -> list[float]:
    """The weighted mean, of length 1, of vectors of length 1."""
    summed = [
        math.fsum(value * weight for value, weight in zip(values, weights, strict=True))
        for values in zip(*vectors, strict=True)
    ]
    length = math.hypot(*summed) or 1.0
    return [value / length for value in summed]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise Refusal(status=400, message="every message needs a `role`")
    if message.get("images"):
        raise Refusal(status=400, message="the embedded model does not see images")
    translated = {"role": message["role"], "content": message.get("content") or ""}
    if message["role"] == "tool":
        translated["tool_call_id"] = message.get("tool_call_id") or "call_0"
    if calls := message.get("tool_calls"):
        translated["tool_calls"] = [_call(call, index) for index, call in enumerate(calls)]
    return translated


def _call(call: Mapping[str, Any], index: int) -> dict[str, Any]:
    function = call["function"]
    arguments = json.dumps(function.get("arguments") or {})
    return {
        "id": call.get("id") or f"call_{index}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that llama.cpp takes; like Ollama, others have no effect here."""
    return {
        _OPTIONS[name]: value
        for name, value in options.items()
        if name in _OPTIONS and value is not None
    }


def _response_format(asked: object) -> dict[str, Any] | None:
    if not asked:
        return None
    if asked == "json":
        return {"type": "json_object"}
    if isinstance(asked, dict):
        return _json_schema(asked)
    raise Refusal(status=400, message='`format` must be "json" or a JSON schema')


def _json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _call_schema(tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One object that names one of the tools, with arguments that fit it."""
    return {"anyOf": [_one_call(tool["function"]) for tool in tools]}


def _one_call(function: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "name": {"const": function["name"]},
            "arguments": function.get("parameters") or {"type": "object"},
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _parse_call(text: str) -> dict[str, Any] | None:
    """The forced call; None if `num_predict` cut it short."""
    try:
        call = json.loads(text)
        return {"name": call["name"], "arguments": call["arguments"]}
    except (ValueError, KeyError, TypeError):
        return None
