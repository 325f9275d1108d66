"""Graphs that emit in every stream mode, and how parts of two runs are compared."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph

WORDS = ["tides ", "follow ", "the ", "moon"]

ALL = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "debug")


class Speaker(BaseChatModel):
    """Says WORDS, whole or one by one; `asked` gets how it was asked each time."""

    asked: Any
    pause: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "speaker"

    def _generate(self, messages: Any, *args: Any, **more: Any) -> ChatResult:
        self.asked.append("whole")
        said = AIMessage("".join(WORDS))
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _stream(self, messages: Any, *args: Any, **more: Any) -> Iterator[ChatGenerationChunk]:
        raise NotImplementedError

    async def _astream(
        self, messages: Any, *args: Any, **more: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.asked.append("streamed")
        for word in WORDS:
            await asyncio.sleep(self.pause)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))


class Talk(MessagesState):
    turns: int


def talk(asked: list[str] | None = None, pause: float = 0.0) -> StateGraph[Any]:
    """`ask -> inside (answer -> note) -> close`: two model calls, one of them in a subgraph, and
    custom values on both floors."""
    speaker = Speaker(asked=asked if asked is not None else [], pause=pause)

    async def speak(state: Talk) -> dict[str, Any]:
        get_stream_writer()({"turn": state["turns"]})
        said = await speaker.ainvoke(state["messages"])
        return {"messages": [said], "turns": state["turns"] + 1}

    def note(state: Talk) -> dict[str, Any]:
        get_stream_writer()("noted")
        return {"turns": state["turns"] + 1}

    inside: Any = StateGraph(Talk)
    inside.add_node("answer", speak)
    inside.add_node("note", note)
    inside.add_edge(START, "answer")
    inside.add_edge("answer", "note")
    inside.add_edge("note", END)
    graph: Any = StateGraph(Talk)
    graph.add_node("ask", speak)
    graph.add_node("inside", inside.compile())
    graph.add_node("close", note)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "inside")
    graph.add_edge("inside", "close")
    graph.add_edge("close", END)
    return graph  # type: ignore[no-any-return]


HELLO = {"messages": [{"role": "user", "content": "Why?", "id": "u1"}], "turns": 0}


def gated(
    waits: threading.Event, asked: list[str], reached: threading.Event | None = None
) -> StateGraph[Any]:
    """`first -> second`: both let the model speak, the second one when it may."""
    speaker = Speaker(asked=asked)

    async def first(state: Talk) -> dict[str, Any]:
        said = await speaker.ainvoke(state["messages"])
        return {"messages": [said], "turns": 1}

    async def second(state: Talk) -> dict[str, Any]:
        if reached is not None:
            reached.set()
        while not waits.is_set():
            await asyncio.sleep(0.005)
        said = await speaker.ainvoke(state["messages"])
        return {"messages": [said], "turns": 2}

    graph: Any = StateGraph(Talk)
    graph.add_node("first", first)
    graph.add_node("second", second)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph  # type: ignore[no-any-return]


_IDS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{20}\b")
_OWN = ("attempt", "id", "ucop_job", "ucop_attempt", "timestamp", "created_at")


def comparable(parts: list[dict[str, Any]]) -> list[Any]:
    """Parts with each id named by when it first came, and without what is a job's own."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"#{len(names)}")

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return _IDS.sub(name, value)
        if isinstance(value, BaseMessage):
            # Of a subgraph's run LangGraph passes on the very message, or what was stored of it.
            return [type(value).__name__, plain(value.id), value.content]
        if isinstance(value, Mapping):
            items = sorted(value.items(), key=str)
            found = {plain(k): plain(v) for k, v in items if k not in _OWN[2:]}
            return {k: v for k, v in found.items() if k != "metadata" or v}
        if isinstance(value, list | tuple):
            return [type(value).__name__, *map(plain, value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return [type(value).__name__, *(plain(getattr(value, f.name)) for f in fields)]
        return value

    return [plain({k: v for k, v in part.items() if k not in _OWN[:2]}) for part in parts]
