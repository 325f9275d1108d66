"""Code of others around the runs of nodes, the calls of agents and the calls of models in a job.

An interceptor is an object with any of the methods of `Interceptor`. Each is given what is about
to run, and `call_next`, which runs it: so it sees the start, the end and what was raised, and may
refuse by raising. What it raises is an error of that node, call or request, and of nothing else.
It does not change what is asked; that belongs to the workflow.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InterceptorMisused

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

    from .meter import Usage

R = TypeVar("R")
T = TypeVar("T")

CallNext = Callable[[], Awaitable[T]]


@dataclass(frozen=True, kw_only=True)
class NodeRun:
    """One run of a node in an attempt of a job, with the retries that its policy allows."""

    job_id: str
    workflow: str
    attempt: int
    """The job's attempts count from 1."""
    node: str
    """With the nodes around it: `outer/inner` in a workflow inside another."""
    task_id: str
    """LangGraph's id of this run; the step in the ledger has the same."""
    tenant: str | None
    usage_of: Callable[[str], Usage]

    @property
    def usage(self) -> Usage:
        """Model calls, tokens and cost of this run so far; all of them once `call_next` returned."""
        return self.usage_of(self.task_id)


@dataclass(frozen=True, kw_only=True)
class AgentRun:
    """One call of an agent."""

    agent: str
    input: Mapping[str, Any]
    """As it fits the agent's schema, with defaults."""
    node: NodeRun


@dataclass(frozen=True, kw_only=True)
class ModelRun:
    """One question to a model, with its tries and the rest of its chain."""

    model: str
    """The name or alias that was asked for. What answered is in the answer's
    `response_metadata["model_name"]`, its tokens are in `usage_metadata`."""
    messages: Sequence[BaseMessage]
    node: NodeRun


class Interceptor:
    """To inherit from, with the methods that you need; the others cost nothing.

    Each awaits `call_next()` and returns what that returned.
    """

    async def wrap_node(self, run: NodeRun, call_next: CallNext[Any]) -> Any:
        """Around a node. One that asks a person raises LangGraph's GraphInterrupt: no error."""
        return await call_next()

    async def wrap_agent_call(self, run: AgentRun, call_next: CallNext[Any]) -> Any:
        """Around a call of an agent; its output is returned."""
        return await call_next()

    async def wrap_model_call(self, run: ModelRun, call_next: CallNext[AIMessage]) -> AIMessage:
        """Around a question to a model, even if the answer is taken from the cache."""
        return await call_next()


class Interceptors:
    """Those of one engine, the first around the others."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        """Raises TypeError for what is none."""
        self.node = _methods(interceptors, "wrap_node")
        self.agent_call = _methods(interceptors, "wrap_agent_call")
        self.model_call = _methods(interceptors, "wrap_model_call")

    def __bool__(self) -> bool:
        return bool(self.node or self.agent_call or self.model_call)


def _methods(interceptors: Sequence[Interceptor], name: str) -> tuple[Any, ...]:
    methods = []
    for interceptor in interceptors:
        if not isinstance(interceptor, Interceptor):
            raise TypeError(f"{interceptor!r} is no ucop.agents.Interceptor")
        if getattr(type(interceptor), name) is not getattr(Interceptor, name):
            method = getattr(interceptor, name)
            if not inspect.iscoroutinefunction(method):
                raise TypeError(f"{type(interceptor).__name__}.{name} must be an async function")
            methods.append(method)
    return tuple(methods)


current: ContextVar[tuple[Interceptors, NodeRun] | None] = ContextVar("current", default=None)
"""The interceptors of the node's run in which this code runs; None if there are none."""


async def through(methods: Sequence[Any], run: R, call_next: CallNext[T]) -> T:
    """Run `call_next` inside all of `methods`."""
    for method in reversed(methods):
        call_next = partial(method, run, call_next)
    return await call_next()


async def around_node(interceptors: Interceptors, run: NodeRun, call_next: CallNext[T]) -> T:
    """Run a node inside its interceptors. Nothing that a node ends with can be kept from LangGraph:
    a node whose error was swallowed would count as done. Raises InterceptorMisused."""
    ends: list[BaseException | None] = []

    async def node() -> T:
        try:
            result = await call_next()
        except BaseException as error:
            ends.append(error)
            raise
        ends.append(None)
        return result

    token = current.set((interceptors, run))
    try:
        result = await through(interceptors.node, run, node)
    finally:
        current.reset(token)
    if not ends:
        raise InterceptorMisused(
            f"node {run.node!r} did not run: an interceptor's wrap_node did not await call_next()"
        )
    if ends[-1] is not None:
        raise ends[-1]
    return result
