"""One node of a workflow at work: its inputs filled, its agent called, its answer written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langgraph.func import task
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import RetryPolicy, TimeoutPolicy

from ucop.agents.errors import AgentInputError, InvalidDefinition, UnknownAgent

from ..errors import (
    ExpressionError,
    MeshCycle,
    MeshInputRefused,
    MissingCapability,
    TooManyHops,
    WorkflowError,
)
from ..expressions.templates import compile_template
from ..language.definition import ERRORS, Channel, Definition, Merge, Node
from ..pregel.names import CALL
from ..types.state import normalise, write
from .context import RunContext
from .failures import Failed, failure, may_be_caught
from .work import Turn, Work

SHORT_DELAY = 0.1
"""Seconds below which a retry's delay is kept to the point."""

NEVER_CURED = (
    *(WorkflowError, AgentInputError, InvalidDefinition, UnknownAgent),
    *(MeshCycle, MeshInputRefused, MissingCapability, TooManyHops),
)
"""Errors that another try with the same state cannot cure."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a node ended: what it writes, and whether it failed and the run goes on."""

    update: Mapping[str, Any]
    failed: bool = False


@dataclass(frozen=True)
class Call:
    """A node bound to what it calls: everything a call needs but the state."""

    definition: Definition
    node: Node
    work: Work

    @cached_property
    def inputs(self) -> Callable[[Mapping[str, Any]], Any]:
        """Fills `with`, or the question, from a scope."""
        if self.node.ask is not None:
            return self._filler(("ask",), self.node.ask)
        return filled_inputs(self.definition, self.node)

    @cached_property
    def items(self) -> Callable[[Mapping[str, Any]], Any]:
        """Evaluates `each` on a scope."""
        return self._filler(("each",), self.node.each)

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

    @cached_property
    def timeout(self) -> TimeoutPolicy | None:
        """LangGraph's policy for the node's `timeout`."""
        whole, idle = self.node.timeout, self.node.idle
        if whole is None and idle is None:
            return None
        return TimeoutPolicy(run_timeout=whole, idle_timeout=idle)

    def task(self, suffix: str, work: Callable[..., Any]) -> Any:
        """`work` as a task of LangGraph under the node's policies; kept once it is done."""
        name = self.node.name + suffix
        return task(name=name, retry_policy=self.retry, timeout=self.timeout)(work)

    async def run(self, data: Any, runtime: Runtime[RunContext], index: int | None = None) -> Any:
        """Do the work once."""
        turn = Turn(node=self.node.name, runtime=runtime, index=index)
        if self.node.retry is None:
            return await self.work.run(data, turn)
        return await self._try(data, turn)

    async def _try(self, data: Any, turn: Turn) -> Any:
        """Do the work once, and tell if it is not for the first time."""
        run, raised = turn.runtime.context, turn.runtime.context.raised
        # That of the task which runs now: an item of `each` is tried by itself.
        info = get_runtime(RunContext).execution_info
        if info is not None and info.node_attempt > 1:
            run.retried(turn.task_id, self.node.name, info.node_attempt, raised.pop(turn.key, None))
        try:
            return await self.work.run(data, turn)
        except Exception as error:
            raised[turn.key] = error
            raise

    def outcome(
        self, scope: Mapping[str, Any], answer: Any, error: Failed | None = None
    ) -> Outcome:
        """What the node writes for an answer, and for an error that the run survives."""
        update = {} if self.channel is None else self._writes(answer, error)
        known = (scope.get(ERRORS) or {}).get(self.node.name)
        if error is not None or known is not None:
            update[ERRORS] = {self.node.name: error}
        return Outcome(update=update, failed=error is not None)

    def _writes(self, answer: Any, error: Failed | None) -> dict[str, Any]:
        assert self.channel is not None
        if error is not None and answer is None:
            # Every name may be null; what is merged has nothing to gain from it.
            replaces = self.channel.merge is Merge.replace
            return {self.channel.name: None} if replaces else {}
        where = f"node {self.node.name}"
        if error is None or self.channel.merge is not Merge.replace:
            return {self.channel.name: write(self.channel, answer, {}, where)}
        # Null stands where an item failed; the other answers must fit what is declared.
        write(self.channel, _without_gaps(answer), {}, where)
        return {self.channel.name: normalise(answer, self.channel.schema, where)}

    def _filler(self, path: tuple[str, ...], value: Any) -> Callable[[Mapping[str, Any]], Any]:
        return _filler(self.definition, self.node, path, value)


def filled_inputs(
    definition: Definition, node: Node
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Fills a node's `with` from a scope."""
    filled = {
        key: _filler(definition, node, ("with", key), value) for key, value in node.inputs.items()
    }
    return lambda scope: {key: fill(scope) for key, fill in filled.items()}


def _filler(
    definition: Definition, node: Node, path: tuple[str, ...], value: Any
) -> Callable[[Mapping[str, Any]], Any]:
    """A filled template whose errors tell where it stands."""
    fill = compile_template(value)

    def placed(scope: Mapping[str, Any]) -> Any:
        try:
            return fill(scope)
        except ExpressionError as error:
            place = definition.places.at((*node.path, *path))
            where = f" ({place})" if place else ""
            raise ExpressionError(f"node {node.name}, {'.'.join(path)}{where}: {error}") from error

    return placed


async def run_once(call: Call, scope: Mapping[str, Any], runtime: Runtime[RunContext]) -> Outcome:
    """Call the agent on the state."""
    if not call.node.catches:
        return call.outcome(scope, await call.run(call.inputs(scope), runtime))
    try:
        return call.outcome(scope, await run_under_policies(call, call.inputs(scope), runtime))
    except Exception as error:
        if not may_be_caught(error):
            raise
        return call.outcome(scope, None, failure(call.node.name, error))


async def run_under_policies(call: Call, data: Any, runtime: Runtime[RunContext]) -> Any:
    """Call the agent under the node's policies, where they cannot be the graph node's own: an
    error must be caught after the last try."""
    if call.retry is None and call.timeout is None:
        return await call.run(data, runtime)

    async def work(data: Any) -> Any:
        return await call.run(data, runtime)

    return await call.task(CALL, work)(data)


def _without_gaps(answers: Any) -> Any:
    if isinstance(answers, Mapping):
        return {key: value for key, value in answers.items() if value is not None}
    return [value for value in answers if value is not None]


def _may_be_cured(error: Exception) -> bool:
    return may_be_caught(error) and not isinstance(error, NEVER_CURED)
