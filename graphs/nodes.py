"""One node of a workflow at work: its inputs filled, its agent called, once or for each item."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from langgraph.errors import GraphDrained
from langgraph.func import task
from langgraph.runtime import Runtime
from langgraph.types import RetryPolicy

from ucop.agents.errors import AgentInputError, InvalidDefinition, UnknownAgent
from ucop.graphs.context import RunContext
from ucop.graphs.definition import Channel, Definition, Node
from ucop.graphs.errors import ExpressionError, WorkflowError
from ucop.graphs.expressions import kind_of
from ucop.graphs.routing import ITEM
from ucop.graphs.state import normalise, write
from ucop.graphs.templates import compile_template

if TYPE_CHECKING:
    from ucop.agents.spec import Agent

logger = logging.getLogger(__name__)

MANY_ITEMS = 2_000
"""From here on an `each` costs more than its items: LangGraph's own work grows faster."""

SHORT_DELAY = 0.1
"""Seconds below which a retry's delay is kept to the point."""

NEVER_CURED = (WorkflowError, AgentInputError, InvalidDefinition, UnknownAgent)
"""Errors that another try with the same state cannot cure."""

Key = int | str
Outcome = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A node bound to its agent: everything a call needs but the state."""

    definition: Definition
    node: Node
    agent: Agent

    @cached_property
    def inputs(self) -> Callable[[Mapping[str, Any]], Any]:
        """Fills `with` from a scope."""
        filled = {
            key: self._placed(("with", key), value) for key, value in self.node.inputs.items()
        }
        return lambda scope: {key: fill(scope) for key, fill in filled.items()}

    @cached_property
    def items(self) -> Callable[[Mapping[str, Any]], Any]:
        """Evaluates `each` on a scope."""
        return self._placed(("each",), self.node.each)

    @cached_property
    def channel(self) -> Channel | None:
        """Where the answer goes."""
        return self.definition.channels[self.node.writes] if self.node.writes else None

    @cached_property
    def retry(self) -> RetryPolicy | None:
        """LangGraph's policy for the node's `retry`."""
        given = self.node.retry
        if given is None:
            return None
        return RetryPolicy(
            max_attempts=given.attempts,
            initial_interval=given.delay,
            max_interval=given.longest,
            # LangGraph adds up to a second, which is out of proportion to a short delay.
            jitter=given.delay >= SHORT_DELAY,
            retry_on=_may_be_cured,
        )

    async def run(self, data: Any, runtime: Runtime[RunContext], index: int | None = None) -> Any:
        """Call the agent once; its answer as JSON with the declared types."""
        from ucop.agents.run import call

        answer = await call(self.agent, data, context=self._context(runtime, index))
        return normalise(answer, self.agent.output_schema, f"node {self.node.name}")

    def update(self, answer: Any) -> dict[str, Any]:
        """What the node writes for an answer."""
        if self.channel is None:
            return {}
        where = f"node {self.node.name}"
        return {self.channel.name: write(self.channel, answer, self.output_schema, where)}

    @cached_property
    def output_schema(self) -> Mapping[str, Any]:
        """The schema of what the node writes."""
        return {}

    def _context(self, runtime: Runtime[RunContext], index: int | None) -> Any:
        from ucop.agents.run import AgentContext

        run, info = runtime.context, runtime.execution_info
        task_id = info.task_id if info else ""
        return AgentContext(
            job_id=run.job_id,
            node=self.node.name,
            key=f"{run.job_id}/{task_id}" + ("" if index is None else f"/{index}"),
            models=run.models,
            folder=run.folder,
            progress=lambda text: run.progress(self.node.name, text),
        )

    def _placed(self, path: tuple[str, ...], value: Any) -> Callable[[Mapping[str, Any]], Any]:
        """A filled template whose errors tell where it stands."""
        fill = compile_template(value)

        def placed(scope: Mapping[str, Any]) -> Any:
            try:
                return fill(scope)
            except ExpressionError as error:
                place = self.definition.places.at((*self.node.path, *path))
                where = f" ({place})" if place else ""
                raise ExpressionError(
                    f"node {self.node.name}, {'.'.join(path)}{where}: {error}"
                ) from error

        return placed


async def run_once(call: Call, scope: Mapping[str, Any], runtime: Runtime[RunContext]) -> Outcome:
    """Call the agent on the state; what the node writes."""
    return call.update(await call.run(call.inputs(scope), runtime))


async def run_each(call: Call, scope: Mapping[str, Any], runtime: Runtime[RunContext]) -> Outcome:
    """Call the agent for every item; the answers as a list or map in the items' order."""
    pairs, build = _items(call, scope)
    if not pairs:
        return call.update(build([]))
    answers = await _gather(call, scope, runtime, pairs)
    return call.update(build(answers))


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
    """All answers in order. Each item is a task of LangGraph, so that it is kept once done.

    Task ids count the calls, so the calls are made in the order of the items: the semaphore is
    first come, first served. A drain starts no further item and raises when the others are done.
    """
    turn = asyncio.Semaphore(call.node.limit or len(pairs))

    async def work(index: int, data: Any) -> Any:
        return await call.run(data, runtime, index)

    one: Any = task(name=call.node.name + ITEM, retry_policy=call.retry, timeout=call.node.timeout)(
        cast(Any, work)
    )

    async def item(index: int, key: Key, value: Any) -> Any:
        async with turn:
            if runtime.drain_requested:
                return _DRAINED
            return await one(index, call.inputs({**scope, call.node.item: value}))

    running = [asyncio.ensure_future(item(i, k, v)) for i, (k, v) in enumerate(pairs)]
    try:
        answers = await asyncio.gather(*running)
    except BaseException:
        for each in running:
            each.cancel()
        raise
    if any(answer is _DRAINED for answer in answers):
        raise GraphDrained(runtime.drain_reason or "shutdown")
    return answers


_DRAINED = object()


def _may_be_cured(error: Exception) -> bool:
    return not isinstance(error, NEVER_CURED)
