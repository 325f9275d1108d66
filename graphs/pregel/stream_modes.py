"""Stream modes that can be asked of LangGraph, and given up, while a graph runs.

LangGraph fixes a run's modes when the run starts, and its mode `messages` makes each model call
stream, which halves a worker that does little else. A reader may come at any time, and nobody
shall pay for a reader who is not there. So each mode is a text that equals its name only while
somebody wants it (LangGraph compares modes each time it emits), and the handler of messages
changes its class.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from typing import Any, Self
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.pregel import Pregel

from .wanted import need_use, wanted

QUEUE = "stream_put"
"""The local variable of `Pregel.astream` that puts a part into the run's queue, from any thread."""

with wanted("streams messages"):
    from langgraph.pregel._messages import StreamMessagesHandler, graph_namespace

    need_use(Pregel.astream, QUEUE)

MODES = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "debug")
"""What can be followed."""

ALWAYS = ("tasks", "values", "custom")
"""What a job needs for its steps, its output and its progress."""


class Mode(str):
    """A stream mode that equals its name only while it is wanted. Its text is another mode's, for
    a RemoteGraph asks its server for all the modes that it finds, by their texts."""

    name: str
    wanted = False

    def __new__(cls, name: str) -> Self:
        made = super().__new__(cls, "values")
        made.name = name
        return made

    def __eq__(self, other: object) -> bool:
        return self.wanted and self.name == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.name)


class Emission:
    """What one run of a graph emits: `modes` for its `stream_mode`, `handler` for its callbacks."""

    def __init__(self) -> None:
        self._optional = {name: Mode(name) for name in MODES if name not in ALWAYS}
        self.modes: list[str] = [*ALWAYS, *self._optional.values()]
        self.handler: BaseCallbackHandler = _Asleep(self._put)
        self._stream: Any = None
        self._queue: Callable[[Any], None] | None = None
        self._begun, self._speaks = False, False

    def want(self, modes: Collection[str]) -> None:
        """Emit these modes from now on, and no others but those of ALWAYS."""
        for name, mode in self._optional.items():
            # LangGraph would add a handler of its own, were `messages` wanted at the start.
            if name != "messages":
                mode.wanted = name in modes
        self._speaks = "messages" in modes
        if self._begun:
            self._optional["messages"].wanted = self._speaks
        self.handler.__class__ = _Awake if "messages" in modes else _Asleep

    def of(self, stream: AsyncGenerator[Any]) -> None:
        """This is the run, not begun yet."""
        self._stream, self._queue = stream, None
        self._begun = self._optional["messages"].wanted = False

    def begin(self) -> None:
        """The run has emitted something, and looks no more for what handlers it needs. From now on
        a RemoteGraph may find that messages are wanted, even if no model has spoken here."""
        if not self._begun:
            self._begun = True
            self._optional["messages"].wanted = self._speaks

    def _put(self, chunk: Any) -> None:
        if self._queue is None:
            frame = getattr(self._stream, "ag_frame", None)
            if frame is None or QUEUE not in frame.f_locals:
                return
            self._queue = frame.f_locals[QUEUE]
            self.begin()
        self._queue(chunk)


class _Asleep(BaseCallbackHandler):
    """While nobody wants messages: notes only which model calls run, so that somebody who comes
    amid one sees its end."""

    run_inline = True
    ignore_chain = True
    ignore_retriever = True
    ignore_agent = True
    ignore_custom_event = True

    def __init__(self, put: Callable[[Any], None]) -> None:
        self.stream = put
        self.subgraphs = True
        self.parent_ns = None
        self.metadata: dict[UUID, Any] = {}
        self.seen: set[int | str] = set()

    def on_chat_model_start(self, *args: Any, run_id: UUID, **more: Any) -> None:
        tags, metadata = more.get("tags"), more.get("metadata")
        if metadata and "langgraph_checkpoint_ns" in metadata and "nostream" not in (tags or ()):
            self.metadata[run_id] = (graph_namespace(metadata), {**metadata})

    def on_llm_start(self, *args: Any, **more: Any) -> None:
        """LangGraph streams chat models only."""

    def on_llm_end(self, response: Any, *, run_id: UUID, **more: Any) -> None:
        self.metadata.pop(run_id, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self.metadata.pop(run_id, None)


class _Awake(StreamMessagesHandler):
    """LangGraph's own handler. An `_Asleep` becomes one, in all runs that have it already."""
