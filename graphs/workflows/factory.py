"""What makes a graph: the graph itself, or a function of the project, as `langgraph.json` may name
it. It may take `config` and `runtime`, be async, or be a context manager of either kind."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from ucop.agents.errors import InvalidDefinition, UcopError
from ucop.agents.finding import Finding

from ..workflow import Run

CONFIG, RUNTIME = "config", "runtime"


@dataclass(frozen=True)
class Factory:
    """A source of graphs, and what it asks for."""

    source: Any
    origin: str

    @property
    def is_function(self) -> bool:
        from langchain_core.runnables import Runnable
        from langgraph.graph import StateGraph

        return callable(self.source) and not isinstance(self.source, StateGraph | Runnable)

    @property
    def asks(self) -> tuple[str, ...]:
        """The arguments that it takes, in their order. Raises InvalidDefinition for others."""
        if not self.is_function:
            return ()
        try:
            parameters = inspect.signature(self.source).parameters.values()
        except (TypeError, ValueError):  # some builtins tell nothing
            return ()
        asked = [self._argument_for(p) for p in parameters if _must_be_given(p) or _is_known(p)]
        return tuple(asked)

    def _argument_for(self, parameter: inspect.Parameter) -> str:
        told = f"{parameter.name} {parameter.annotation}".casefold()
        if "runtime" in told:
            return RUNTIME
        if "config" in told or parameter.annotation is inspect.Parameter.empty:
            return CONFIG
        message = f"{self.origin} asks for {parameter.name!r}, which nobody gives it"
        hint = "a factory takes nothing, config, runtime, or both"
        raise InvalidDefinition([Finding.error("factory-argument", message, hint=hint)])

    def make(self, config: Mapping[str, Any] | None = None) -> tuple[Any, bool]:
        """What it makes to be looked at, and whether it must be made anew for each run. A context
        manager is closed again. Raises InvalidDefinition for one that raises."""
        if not self.is_function:
            return self.source, False
        asks = self.asks
        made = self._call([self._to_look(name, config or {}) for name in asks])
        held = False
        if inspect.isawaitable(made) or _is_held(made):
            made, held = _in_a_loop(self._settle(made))
        return made, held or bool(asks)

    async def open(self, run: Run, held: AsyncExitStack) -> Any:
        """What it makes for a run; a context manager is open until `held` is closed. Whatever the
        function raises is raised."""
        arguments = [self._to_run(name, run) for name in self.asks]
        # In a thread: it may block. What is awaited or held is, here, on the loop of the run.
        made = await asyncio.to_thread(self.source, *arguments)
        if inspect.isawaitable(made):
            made = await made
        return await _enter(made, held) if _is_held(made) else made

    async def _settle(self, made: Any) -> tuple[Any, bool]:
        """The graph, and whether it was a context manager's, which is closed again."""
        try:
            if inspect.isawaitable(made):
                made = await made
            if not _is_held(made):
                return made, False
            async with AsyncExitStack() as held:
                graph = await _enter(made, held)
            return graph, True
        except (UcopError, KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise self._failure(error) from error

    def _call(self, arguments: Any) -> Any:
        try:
            return self.source(*arguments)
        except (UcopError, KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> InvalidDefinition:
        told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        message = f"{self.origin} made no graph: it raised {told}"
        return InvalidDefinition([Finding.error("factory-failed", message)])

    def _to_look(self, name: str, config: Mapping[str, Any]) -> Any:
        if name == CONFIG:
            return {"configurable": {}, **config}
        from langgraph.store.memory import InMemoryStore

        from ..pregel.factory_runtime import ReadRuntime

        return ReadRuntime(access_context="assistants.read", store=InMemoryStore())

    def _to_run(self, name: str, run: Run) -> Any:
        if name == CONFIG:
            return {"configurable": {}, **run.config}
        from langgraph.store.memory import InMemoryStore

        from ..pregel.factory_runtime import ExecutionRuntime

        return ExecutionRuntime(
            access_context="threads.create_run",
            store=run.store or InMemoryStore(),
            context=run.context,
        )


async def _enter(made: Any, held: AsyncExitStack) -> Any:
    if hasattr(made, "__aenter__"):
        return await held.enter_async_context(made)
    return held.enter_context(made)


def _must_be_given(parameter: inspect.Parameter) -> bool:
    various = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in various


def _is_known(parameter: inspect.Parameter) -> bool:
    positional = parameter.kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return positional and parameter.name in (CONFIG, RUNTIME)


def _is_held(made: Any) -> bool:
    return hasattr(made, "__aenter__") or hasattr(made, "__enter__")


def _in_a_loop(work: Coroutine[Any, Any, tuple[Any, bool]]) -> tuple[Any, bool]:
    """The result of `work`; in a thread, because a loop may be running here."""
    with ThreadPoolExecutor(1, thread_name_prefix="ucop-graph-factory") as pool:
        return pool.submit(asyncio.run, work).result()
