"""A Python graph as a workflow: StateGraph, compiled graph, or a factory of either, unchanged."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ucop.agents.errors import InvalidDefinition
from ucop.agents.plain import plain
from ucop.agents.source import Finding
from ucop.agents.whole_numbers import with_whole_numbers
from ucop.graphs.changes import Standing, Wiring, complaint, wiring_from, wiring_of
from ucop.graphs.compiling import compile_again
from ucop.graphs.errors import InvalidInput, StateError, WorkflowChanged
from ucop.graphs.state import normalise
from ucop.graphs.topology import reach
from ucop.graphs.workflow import COMPILER_FORMAT, Workflow

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from ucop.graphs.superstep import Ran, Superstep, Write


class PythonWorkflow(Workflow):
    """A graph of the project's own Python. It is built when it is first needed."""

    kind = "python"
    nested = True

    def __init__(
        self, name: str, source: Any, *, origin: str = "Python", description: str = ""
    ) -> None:
        self.name = name
        self.origin = origin
        self.description = description
        self.needs = (f"graph:{name}",)
        self._source = source
        self._lock = threading.Lock()
        self._begun: Wiring | None = None
        """The graph that the job began with, where that is another."""

    @cached_property
    def stored(self) -> dict[str, Any]:  # type: ignore[override]
        return {
            "kind": "python",
            "format": COMPILER_FORMAT,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "nodes": self.shown_nodes(),
            **self._wiring.to_json(),
        }

    def as_begun(self, stored: Mapping[str, Any]) -> PythonWorkflow:
        """This workflow for a job that began with it as `stored`, maybe another one."""
        if stored["fingerprint"] == self.fingerprint:
            return self
        begun = copy.copy(self)
        begun._begun = wiring_from(stored)
        return begun

    @property
    def changed(self) -> bool:
        return self._begun is not None

    def refuse_to_skip(self, standing: Standing) -> None:
        why = complaint(self._begun, self._wiring, standing) if self._begun else None
        if why is not None:
            raise WorkflowChanged(
                f"graph {self.name!r} ({self.origin}) is not the one that the job began with: "
                f"{why}. LangGraph would leave that out without a word. Restore it and resume "
                "the job, or start a new job"
            )

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Of the graph's shape: its nodes, edges and channels. Code inside nodes is not seen."""
        graph = self.graph()
        builder = graph.builder
        shape = {
            "name": self.name,
            "nodes": sorted(builder.nodes),
            "edges": sorted(map(list, builder.edges)),
            "waiting": sorted([sorted(starts), end] for starts, end in builder.waiting_edges),
            "branches": sorted([node, sorted(named)] for node, named in builder.branches.items()),
            "wiring": self._wiring.to_json(),
            "channels": sorted(map(str, builder.channels)),
        }
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]

    @cached_property
    def input_schema(self) -> dict[str, Any] | None:  # type: ignore[override]
        """The graph's own, for people and for reading texts; None where it has none."""
        from pydantic.errors import PydanticUserError

        try:
            return self.graph().get_input_jsonschema()
        except (PydanticUserError, TypeError, NameError):
            return None

    def accept(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Any JSON object. LangGraph itself takes more than the graph's schema tells."""
        if not isinstance(data, Mapping):
            raise InvalidInput(f"the input of graph {self.name!r} must be an object")
        try:
            given = with_whole_numbers(self.input_schema, data)
            return dict(normalise(given, None, f"the input of graph {self.name!r}"))
        except StateError as error:
            raise InvalidInput(str(error)) from error

    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        with self._lock:
            return self._graph

    def start(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return dict(data)

    def result(self, values: Any) -> Any:
        return plain(values)

    def shown_nodes(self) -> list[str]:
        builder = self.graph().builder
        edges: dict[str, list[str]] = {}
        for start, end in builder.edges:
            edges.setdefault(start, []).append(end)
        for starts, end in builder.waiting_edges:
            for start in starts:
                edges.setdefault(start, []).append(end)
        return sorted(builder.nodes, key=lambda node: -len(reach(node, edges)))

    async def rerouted(self, step: Superstep, task: Ran, values: Sequence[Write]) -> list[Write]:
        if not self.graph().builder.branches.get(task.name):
            return task.routes
        from ucop.graphs.superstep import with_edit

        before = await step.chosen(task, task.values)
        after = await step.chosen(task, with_edit(step.channels, task.values, values))
        return [*self._unconditional(task, before), *after]

    def _unconditional(self, task: Ran, chosen: Sequence[Write]) -> list[Write]:
        """Where a task leads whatever the state: by plain edges, and by its own Command. LangGraph
        writes these before what its conditional edges have `chosen`."""
        from ucop.graphs.superstep import BRANCH, key_of

        routes = task.routes
        rest = len(routes) - len(chosen)
        if list(map(key_of, routes[rest:])) == list(map(key_of, chosen)):
            return routes[:rest]
        # They choose otherwise today: by chance, by the clock, or because the code changed.
        builder = self.graph().builder
        ends = [branch.ends for branch in builder.branches[task.name].values()]
        named = {end for each in ends if each is not None for end in each.values()}
        plain = {f"{BRANCH}{end}" for start, end in builder.edges if start == task.name}

        def stays(write: Write) -> bool:
            channel, node = key_of(write)
            target = node or channel.removeprefix(BRANCH)
            return channel in plain or (None not in ends and target not in named)

        return [write for write in routes if stays(write) or write[0].startswith("join:")]

    @cached_property
    def _wiring(self) -> Wiring:
        return wiring_of(self.graph().builder)

    @cached_property
    def _graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """A copy, so that the project's own object keeps its checkpointer."""
        from langgraph.graph import StateGraph
        from langgraph.graph.state import CompiledStateGraph

        made = _made(self._source)
        if isinstance(made, StateGraph):
            made = compile_again(made, name=self.name)
        if not isinstance(made, CompiledStateGraph):
            raise InvalidDefinition([self._not_a_graph(made)])
        return made.copy({"checkpointer": None})

    def _not_a_graph(self, made: Any) -> Finding:
        return Finding(
            severity="error",
            message=f"{self.origin} is of type {type(made).__name__}, not a graph",
            position=None,
            hint="it must be a StateGraph, a compiled graph, or a function without arguments "
            "that returns one",
            code="not-a-graph",
        )


def _made(source: Any) -> Any:
    """The graph itself, where `source` is a factory."""
    from langgraph.graph import StateGraph
    from langgraph.pregel import Pregel

    if isinstance(source, StateGraph | Pregel) or not callable(source):
        return source
    made = source()
    return _awaited(made) if inspect.isawaitable(made) else made


def _awaited(made: Awaitable[Any]) -> Any:
    """The result of an async factory; in a thread, because a loop may be running here."""
    outcome: list[Any] = []

    async def wait() -> Any:
        return await made

    def work() -> None:
        try:
            outcome.append((asyncio.run(wait()), None))
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
            outcome.append((None, error))

    thread = threading.Thread(target=work, name="ucop-graph-factory")
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value


Source = Callable[[], Any]
