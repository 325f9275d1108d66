"""What a job's model calls cost: counted where LangChain announces them.

The meter is a callback of the LangGraph run, so it also sees the calls inside a Python
graph that knows nothing of ucop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from ..errors import ModelError
from ..providers.http_errors import causes_of, is_unconnected
from ..providers.thinking import has_thought
from .prices import price_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from langchain_core.runnables import RunnableConfig

MODELS_NAME = "ucop_model"
"""The key in a call's metadata under which Models tells the name of the model."""

AROUND = "ucop_around"
"""The key in a run's metadata which says that it only stands around calls of its own."""

OUTSIDE = ""
"""The task id of calls that no graph task makes."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Model calls of one task, or of many."""

    model_calls: int = 0
    """Requests that reached an endpoint; failed ones too."""
    tokens_in: int = 0
    tokens_out: int = 0
    """As the endpoints reported them; an answer that broke off reports none."""
    tokens_cached: int = 0
    """Of `tokens_in`, those that the provider had in a cache of its own."""
    tokens_reasoning: int = 0
    """Of `tokens_out`, those of the model's thinking."""
    seconds: float = 0.0
    """Sum over the calls of the time from request to end; parallel calls add up."""
    seconds_waited: float = 0.0
    """Until calls could be made: for a free place, a rate, or before a next try."""
    cached_calls: int = 0
    """Calls that were not made, because their answer was kept."""
    cost: float | None = None
    """In US dollars; None if no price is known."""
    models: tuple[str, ...] = ()
    """`provider:model` of everything that was asked, in order of first use."""

    def __add__(self, other: Usage) -> Usage:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Usage(
            model_calls=self.model_calls + other.model_calls,
            tokens_in=self.tokens_in + other.tokens_in,
            tokens_out=self.tokens_out + other.tokens_out,
            tokens_cached=self.tokens_cached + other.tokens_cached,
            tokens_reasoning=self.tokens_reasoning + other.tokens_reasoning,
            seconds=self.seconds + other.seconds,
            seconds_waited=self.seconds_waited + other.seconds_waited,
            cached_calls=self.cached_calls + other.cached_calls,
            cost=sum(costs) if costs else None,
            models=tuple(dict.fromkeys((*self.models, *other.models))),
        )


@dataclass(kw_only=True)
class _Call:
    """A call that runs."""

    way: tuple[str, ...]
    """The tasks around it, from the outermost on."""
    model: str
    started: float
    pieces: int = 0


_NOTHING = Usage()


_STARTS = [("Meter", "on_chat_model_start"), ("Meter", "on_llm_start")]


def _is_news(record: logging.LogRecord) -> bool:
    """LangChain warns of what a callback raises. A call that was refused is raised on as well,
    and told where it ends up."""
    said = record.args if isinstance(record.args, tuple) else ()
    return said[:2] not in _STARTS


logging.getLogger("langchain_core.callbacks.manager").addFilter(_is_news)


class Meter(BaseCallbackHandler):
    """Counts the model calls of one attempt by the graph tasks that make them.

    A task inside another (of a workflow inside a workflow, an item of `each`) has its own count
    until it is taken; what nobody has taken belongs to the task around it.

    Put it into the `callbacks` of the run's config. Sync nodes report from their own
    threads, so everything is behind a lock.
    """

    # In the caller's own thread and order: the counts are there when the node ends.
    run_inline = True
    ignore_chain = True
    ignore_agent = True
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __hash__(self) -> int:
        """LangChain merges handlers in a set, calls them in its order, and drops the coroutines of
        those behind one that raises ("was never awaited"). So the one that may refuse a call is last:
        with all low bits set, its place is the last one of a set of any size."""
        return (1 << 60) - 1

    def __init__(
        self,
        on_other: Callable[[str], None] = lambda model: None,
        *,
        ask: Callable[[Usage], None] | None = None,
    ) -> None:
        """`on_other` hears of each call that does not come from Models, in the thread that
        makes it, with the model's `provider:model`. `ask` is given what was used so far before
        each call, in the same thread; where it raises, the call is not made."""
        self._on_other = on_other
        self._ask = ask
        self.raise_error = ask is not None
        self._lock = threading.Lock()
        self._running: dict[UUID, _Call] = {}
        self._counted: dict[str, Usage] = {}
        self._inside: dict[str, dict[str, None]] = {}
        """The tasks right inside a task that made calls, in the order of their first."""
        self._taken = Usage()

    def take(self, task_id: str) -> Usage:
        """The usage of a task that has ended, with what is left of the tasks inside it, handed
        over once."""
        with self._lock:
            usage = self._pop(task_id)
            if usage is not _NOTHING:
                self._taken += usage
            return usage

    def live(self, task_id: str, apart: Collection[str] = ()) -> Usage:
        """The usage of a task so far; of running calls the pieces that arrived. What the tasks
        `apart` inside it have used is not counted."""
        with self._lock:
            usage = self._sum(task_id, apart)
            now = time.monotonic()
            for call in self._running.values():
                known = (id for id in reversed(call.way) if id == task_id or id in apart)
                if next(known, None) == task_id:
                    usage += Usage(tokens_out=call.pieces, seconds=now - call.started)
            return usage

    def total(self) -> Usage:
        """Everything counted so far, handed over or not."""
        with self._lock:
            return sum(self._counted.values(), self._taken)

    def note(self, metadata: dict[str, Any], more: Usage) -> None:
        """Count what LangChain announces to nobody, in the run that `metadata` belongs to."""
        with self._lock:
            self._add(way_of(metadata), more)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not (metadata or {}).get(AROUND):
            self._start(run_id, metadata or {})

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._start(run_id, metadata or {})

    def on_llm_new_token(
        self, token: Any, *, run_id: UUID, chunk: Any = None, **kwargs: Any
    ) -> None:
        message = getattr(chunk, "message", None)
        said = token or (message is not None and has_thought(message))
        with self._lock:
            call = self._running.get(run_id)
            if call is not None and said:
                call.pieces += 1

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            call = self._running.get(run_id)
        self._end(run_id, _usage_of(response, call.model if call else ""))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, _NOTHING if _has_reached(error) else Usage(model_calls=-1))

    def _start(self, run_id: UUID, metadata: dict[str, Any]) -> None:
        way = way_of(metadata)
        model = _model_of(metadata)
        call = _Call(way=way, model=model, started=time.monotonic())
        with self._lock:
            if self._ask is not None:
                # With the lock held, so that calls at the same time do not pass as one.
                self._ask(self._so_far())
            self._running[run_id] = call
            self._add(way, Usage(model_calls=1, models=(model,) if model else ()))
        if model and MODELS_NAME not in metadata:
            self._on_other(model)

    def _end(self, run_id: UUID, more: Usage) -> None:
        with self._lock:
            call = self._running.pop(run_id, None)
            if call is not None:
                seconds = time.monotonic() - call.started
                self._add(call.way, more + Usage(seconds=seconds))

    def _so_far(self) -> Usage:
        """Everything counted, and of running calls the pieces that arrived."""
        pieces = sum(call.pieces for call in self._running.values())
        return sum(self._counted.values(), self._taken + Usage(tokens_out=pieces))

    def _add(self, way: tuple[str, ...], more: Usage) -> None:
        for outer, inner in pairwise(way):
            self._inside.setdefault(outer, {})[inner] = None
        self._counted[way[-1]] = self._counted.get(way[-1], _NOTHING) + more

    def _pop(self, task_id: str) -> Usage:
        usage = self._counted.pop(task_id, _NOTHING)
        for inner in self._inside.pop(task_id, ()):
            usage += self._pop(inner)
        return usage

    def _sum(self, task_id: str, apart: Collection[str]) -> Usage:
        usage = self._counted.get(task_id, _NOTHING)
        for inner in self._inside.get(task_id, ()):
            if inner not in apart:
                usage += self._sum(inner, apart)
        return usage


def way_of(metadata: dict[str, Any]) -> tuple[str, ...]:
    """The tasks of a checkpoint namespace `node:task|inner:task|…`, from the outermost on."""
    namespace = str(metadata.get("langgraph_checkpoint_ns") or "")
    return tuple(part.rpartition(":")[2] or OUTSIDE for part in namespace.split("|"))


def _model_of(metadata: dict[str, Any]) -> str:
    """The name that Models gave it, else what LangChain knows of it."""
    if MODELS_NAME in metadata:
        return str(metadata[MODELS_NAME])
    known = [metadata.get("ls_provider"), metadata.get("ls_model_name")]
    return ":".join(str(part) for part in known if part)


def note(config: RunnableConfig, more: Usage) -> None:
    """Count `more` at the meters of a run, in the task that its config names."""
    callbacks = config.get("callbacks")
    handlers = callbacks if isinstance(callbacks, list) else getattr(callbacks, "handlers", ())
    metadata = {**getattr(callbacks, "metadata", {}), **config.get("metadata", {})}
    for handler in handlers or ():
        if isinstance(handler, Meter):
            handler.note(metadata, more)


def _usage_of(response: LLMResult, model: str) -> Usage:
    """Tokens as reported: on a chat's message, or on OllamaLLM's generation; and their price."""
    total = _NOTHING
    for generation in (one for batch in response.generations for one in batch):
        info = generation.generation_info or {}
        usage = getattr(getattr(generation, "message", None), "usage_metadata", None) or {
            "input_tokens": info.get("prompt_eval_count"),
            "output_tokens": info.get("eval_count"),
        }
        total += Usage(
            tokens_in=_count(usage, "input_tokens"),
            tokens_out=_count(usage, "output_tokens"),
            tokens_cached=_count(usage.get("input_token_details") or {}, "cache_read"),
            tokens_reasoning=_count(usage.get("output_token_details") or {}, "reasoning"),
            cost=price_of(model, usage),
        )
    return total


def _count(usage: Mapping[str, Any], name: str) -> int:
    """A count as an endpoint reported it; what is none, or less than nothing, is 0."""
    count = usage.get(name)
    return max(count, 0) if isinstance(count, int) else 0


def _has_reached(error: BaseException) -> bool:
    """False if the request never arrived: a connection that could not be made."""
    if isinstance(error, ModelError):
        return error.reached
    return not any(is_unconnected(cause) for cause in causes_of(error))
