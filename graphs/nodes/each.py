"""A node over each item of a list or map: one task of LangGraph an item, answers in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.errors import GraphDrained, GraphInterrupt
from langgraph.runtime import Runtime
from langgraph.types import Interrupt

from ..errors import ExpressionError
from ..expressions.cel import kind_of
from ..pregel.names import ITEM
from .context import RunContext
from .failures import failure, failures, mark_item, may_be_caught
from .node import Call, Outcome

logger = logging.getLogger(__name__)

MANY_ITEMS = 2_000
"""From here on an `each` costs more than its items: LangGraph's own work grows faster."""

TELL_EVERY = 0.5
"""Seconds between two words on how many items ended; a fan-out that is quicker tells nothing."""

Key = int | str


class _Drained:
    """The end of an item that was not begun, or was stopped inside, because the run pauses."""


@dataclass(frozen=True)
class _Asks:
    """The end of an item that asks a person."""

    questions: Sequence[Interrupt]


@dataclass(frozen=True)
class _Broken:
    """The end of an item that failed, where the run goes on."""

    error: Exception


class _Tally:
    """How many items ended, told as `3/5` now and then while more of them do."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self.ended = 0
        self._total, self._tell = total, tell
        self._told = 0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(TELL_EVERY, self._look)

    def close(self) -> None:
        """Tell no more, but where it stands, if it was told before that it stood elsewhere."""
        self._timer.cancel()
        if self._told:
            self._say()

    def _look(self) -> None:
        self._say()
        self._timer = self._loop.call_later(TELL_EVERY, self._look)

    def _say(self) -> None:
        if self.ended != self._told:
            self._told = self.ended
            self._tell(f"{self.ended}/{self._total}")


async def run_each(call: Call, scope: Mapping[str, Any], runtime: Runtime[RunContext]) -> Outcome:
    """Call the agent for every item; the answers as a list or map in the items' order.

    Where the node's errors are caught, null stands for the answer of an item that failed.
    """
    if not call.node.catches:
        return await _run_each(call, scope, runtime)
    try:
        return await _run_each(call, scope, runtime)
    except Exception as error:
        if not may_be_caught(error):
            raise
        return call.outcome(scope, None, failure(call.node.name, error))


async def _run_each(call: Call, scope: Mapping[str, Any], runtime: Runtime[RunContext]) -> Outcome:
    pairs, build = _items(call, scope)
    ends = await _gather(call, scope, runtime, pairs) if pairs else []
    if any(isinstance(end, _Drained) for end in ends):
        raise GraphDrained(runtime.drain_reason or "shutdown")
    questions = [question for end in ends if isinstance(end, _Asks) for question in end.questions]
    if questions:
        raise GraphInterrupt(questions)
    answers = [None if isinstance(end, _Broken) else end for end in ends]
    broken = [
        (key, end.error)
        for (key, _), end in zip(pairs, ends, strict=True)
        if isinstance(end, _Broken)
    ]
    error = failures(call.node.name, broken) if broken else None
    return call.outcome(scope, build(answers), error)


def _items(
    call: Call, scope: Mapping[str, Any]
) -> tuple[list[tuple[Key, Any]], Callable[[Sequence[Any]], Any]]:
    """The items with their keys, and what makes one value of the answers."""
    items = call.items(scope)
    if isinstance(items, list):
        _warn_of_many(call, len(items))
        return list(enumerate(items)), list
    if isinstance(items, Mapping):
        _warn_of_many(call, len(items))
        return list(items.items()), lambda answers: dict(zip(items, answers, strict=True))
    raise ExpressionError(
        f"node {call.node.name}: each needs a list or a map, and {call.node.each} is "
        f"{kind_of(items)}"
    )


def _warn_of_many(call: Call, count: int) -> None:
    if count > MANY_ITEMS:
        logger.warning(
            "node %s runs over %d items; over %d the bookkeeping grows faster than the work, "
            "so cut the list into parts",
            call.node.name,
            count,
            MANY_ITEMS,
        )


async def _gather(
    call: Call,
    scope: Mapping[str, Any],
    runtime: Runtime[RunContext],
    pairs: Sequence[tuple[Key, Any]],
) -> list[Any]:
    """How every item ended, in order. Each is a task of LangGraph, so that it is kept once done.

    Task ids count the calls, so the calls are made in the order of the items: semaphore and lock
    are first come, first served. A drain starts no further item and lets the others end.
    """
    turn = asyncio.Semaphore(call.node.limit or len(pairs))
    entrance = asyncio.Lock()

    async def work(index: int, data: Any) -> Any:
        return await call.run(data, runtime, index)

    one = call.task(ITEM, work)
    context = runtime.context
    tally = _Tally(len(pairs), lambda text: context.progress(call.node.name, text))

    async def item(index: int, value: Any) -> Any:
        async with turn:
            async with entrance:
                await context.room()
            # From here to the call nothing may be awaited, or another item would be called first.
            if runtime.drain_requested:
                return _Drained()
            try:
                end = await one(index, call.inputs({**scope, call.node.item: value}))
            except GraphInterrupt as asks:
                return _Asks(asks.args[0])
            except GraphDrained:
                return _Drained()
            except Exception as error:
                mark_item(error, pairs[index][0], value)
                if not (call.node.catches and may_be_caught(error)):
                    raise
                end = _Broken(error)
            tally.ended += 1
            return end

    running = [asyncio.ensure_future(item(i, value)) for i, (_, value) in enumerate(pairs)]
    try:
        return await asyncio.gather(*running)
    except BaseException:
        for each in running:
            each.cancel()
        raise
    finally:
        tally.close()
