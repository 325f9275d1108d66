"""A Python graph as a workflow, unchanged: StateGraph, compiled graph, entrypoint, sequence, or a
factory of one of them."""

from __future__ import annotations

import copy
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ucop.agents.errors import InvalidDefinition
from ucop.agents.finding import Finding
from ucop.agents.text.plain import plain
from ucop.agents.text.whole_numbers import with_whole_numbers

from ..errors import InvalidInput, StateError, WorkflowChanged
from ..pregel.compiling import compile_again
from ..topology.graph_shape import GraphShape
from ..topology.wiring import Standing, Wiring, complaint, wiring_from
from ..types.given_context import Unchecked, built_context, fields_of, kept_context
from ..types.input_types import Unfit, as_json, convert, convert_fields, is_json, is_object
from ..types.state import normalise
from ..workflow import COMPILER_FORMAT, Run, Workflow
from .factory import CONFIG, RUNTIME, Factory
from .sequence import VALUE, graph_of

if TYPE_CHECKING:
    from langgraph.pregel import Pregel

    from ..pregel.superstep import Ran, Superstep, Write

CONFIGS_KEPT = 64
"""Configs whose shapes a factory's workflow remembers."""


class PythonWorkflow(Workflow):
    """A graph of the project's own Python. It is built when it is first needed."""

    kind = "python"
    nested = True

    def __init__(
        self,
        name: str,
        source: Any,
        *,
        origin: str = "Python",
        description: str = "",
        needs: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.origin = origin
        self.description = description
        self.needs = needs or (f"graph:{name}",)
        self.source = source
        self._factory = Factory(source, origin)
        self._lock = threading.RLock()
        self._begun: Wiring | None = None
        """The graph that the job began with, if that is another."""
        self._config: Mapping[str, Any] | None = None
        """The config that its factory made it another graph with."""
        self._under: OrderedDict[str, PythonWorkflow] = OrderedDict()
        """What its factory makes with other configs."""

    # ------------------------------------------------------------ which graph it is

    @cached_property
    def stored(self) -> dict[str, Any]:  # type: ignore[override]
        return {
            "kind": "python",
            "format": COMPILER_FORMAT,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "nodes": self.shown_nodes(),
            **self._shape.wiring.to_json(),
            **({"config": self._config} if self._config else {}),
            **({} if self.is_known_by_name else {"unnamed": True}),
        }

    @property
    def is_known_by_name(self) -> bool:
        """Whether other processes can know it, too."""
        return self.needs == (f"graph:{self.name}",)

    def as_begun(self, stored: Mapping[str, Any]) -> PythonWorkflow:
        """This workflow for a job that began with it as `stored`, maybe another one."""
        now = self.configured(stored.get("config"))
        if stored["fingerprint"] == now.fingerprint:
            return now
        begun = copy.copy(now)
        begun._begun = wiring_from(stored)
        return begun

    @property
    def wiring(self) -> Wiring:
        return self._begun or self._shape.wiring

    @property
    def changed(self) -> bool:
        return self._begun is not None

    def refuse_to_skip(self, standing: Standing) -> None:
        why = complaint(self._begun, self._shape.wiring, standing) if self._begun else None
        if why is not None:
            raise WorkflowChanged(
                f"graph {self.name!r} ({self.origin}) is not the one that the job began with: "
                f"{why}. LangGraph would leave that out without a word. Restore it and resume "
                "the job, or start a new job"
            )

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        """Of the graph's shape: its nodes, edges and channels. Code inside nodes is not seen."""
        shape = {"name": self.name, **self._shape.to_json()}
        return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]

    def configured(self, config: Mapping[str, Any] | None) -> PythonWorkflow:
        """The workflow that its factory makes with a config (JSON); most make the same."""
        if not config or CONFIG not in self._factory.asks:
            return self
        key = json.dumps(config, sort_keys=True)
        with self._lock:
            if (known := self._under.get(key)) is None:
                made, _ = self._factory.make(config)
                known = self._with_graph(self._graph_of(made))
                known._config = dict(config)
                if known.fingerprint == self.fingerprint:
                    known = self
                self._under[key] = known
                while len(self._under) > CONFIGS_KEPT:
                    self._under.popitem(last=False)
        return known

    # ------------------------------------------------------------ what goes in and comes out

    @cached_property
    def input_schema(self) -> dict[str, Any] | None:  # type: ignore[override]
        """The graph's own, for people and for reading texts; None if it has none."""
        if self._is_sequence:
            return None
        try:
            return self.graph().get_input_jsonschema()
        except Exception:  # noqa: BLE001 - types of the project that have no schema
            return None

    @property
    def takes_values(self) -> bool:  # type: ignore[override]
        return self._shape.takes_values and not self._is_sequence

    def accept(self, data: Any) -> Any:
        """The input as its schema declares it: what JSON has no form for (times, enums, messages,
        objects) is made of texts and objects, all else stays as it is. LangGraph itself takes
        more than the graph's schema tells. Raises InvalidInput."""
        from langgraph.types import Command

        where = f"the input of graph {self.name!r}"
        if data is None and not self.takes_values:
            raise InvalidInput(f"{where} is missing: LangGraph starts nothing without one")
        if isinstance(data, Command):
            raise InvalidInput(
                f"{where} is a Command, which says how a run goes on; fork a job with `update`, or "
                "answer its question, instead"
            )
        declared = self._shape.input_type
        if self.takes_values:
            data = {} if data is None else data
            whole = is_object(declared) and isinstance(data, declared)
            if not (isinstance(data, Mapping) or whole):
                raise InvalidInput(f"{where} must be an object, not {_type_name(data)}")
            if whole:
                return data
            data = dict(data)
        try:
            normalise(as_json(data), None, where)
            if is_json(data):
                data = with_whole_numbers(self.input_schema, data)
            return convert_fields(declared, data) if self.takes_values else convert(declared, data)
        except Unfit as error:
            raise InvalidInput(f"{where} does not fit: {error}") from error
        except StateError as error:
            raise InvalidInput(str(error)) from error

    def start(self, data: Any) -> Any:
        return {VALUE: data} if self._is_sequence else data

    def result(self, values: Any) -> Any:
        return plain(values.get(VALUE) if self._is_sequence else values)

    def accept_context(self, context: Any, unchecked: Unchecked) -> dict[str, Any] | None:
        if context is None:
            return None
        where = f"graph {self.name!r}"
        return kept_context(self._shape.context_schema, context, where, unchecked)

    def context(self, kept: Mapping[str, Any] | None) -> Any:
        return built_context(self._shape.context_schema, kept)

    @property
    def context_fields(self) -> dict[str, Any]:
        return fields_of(self._shape.context_schema)

    @property
    def context_schema(self) -> Any:
        """The class that declares the names of its context; None if none does."""
        return self._shape.context_schema

    # ------------------------------------------------------------ the graph

    def graph(self) -> Pregel[Any, Any, Any, Any]:
        """Compiled, to be looked at; to run it, `opened`."""
        return self._shape.graph  # type: ignore[no-any-return]

    @asynccontextmanager
    async def opened(self, run: Run) -> AsyncIterator[PythonWorkflow]:
        if not self._is_made_anew:
            yield self
            return
        async with AsyncExitStack() as held:
            context = self.context(run.context) if RUNTIME in self._factory.asks else None
            known = Run(config=run.config, context=context, store=run.store)
            made = self._with_graph(self._graph_of(await self._factory.open(known, held)))
            made._begun = self._begun
            if made.fingerprint != self.fingerprint:
                made._begun = self._begun or self._shape.wiring
            yield made

    def shown_nodes(self) -> list[str]:
        return self._shape.nodes

    async def rerouted(self, step: Superstep, task: Ran, values: Sequence[Write]) -> list[Write]:
        if not self._shape.branches.get(task.name):
            return task.routes
        from ..pregel.superstep import with_edit

        before = await step.chosen(task, task.values)
        after = await step.chosen(task, with_edit(step.channels, task.values, values))
        return [*self._unconditional(task, before), *after]

    def _unconditional(self, task: Ran, chosen: Sequence[Write]) -> list[Write]:
        """Where a task leads whatever the state: by plain edges, and by its own Command. LangGraph
        writes these before what its conditional edges have `chosen`."""
        from ..pregel.superstep import BRANCH, key_of

        routes = task.routes
        rest = len(routes) - len(chosen)
        if list(map(key_of, routes[rest:])) == list(map(key_of, chosen)):
            return routes[:rest]
        # They choose otherwise today: by chance, by the clock, or because the code changed.
        ends = [branch.ends for branch in self._shape.branches[task.name].values()]
        named = {end for each in ends if each is not None for end in each.values()}
        plain = {f"{BRANCH}{end}" for start, end in self._shape.edges if start == task.name}

        def stays(write: Write) -> bool:
            channel, node = key_of(write)
            target = node or channel.removeprefix(BRANCH)
            return channel in plain or (None not in ends and target not in named)

        return [write for write in routes if stays(write) or write[0].startswith("join:")]

    # ------------------------------------------------------------ how it is made

    @property
    def _shape(self) -> GraphShape:
        return self._made[0]

    @property
    def _is_sequence(self) -> bool:
        return self._made[1]

    @property
    def _is_made_anew(self) -> bool:
        """Whether each run has a graph of its own."""
        return self._made[2]

    @property
    def _made(self) -> tuple[GraphShape, bool, bool]:
        known: tuple[GraphShape, bool, bool] | None = vars(self).get("_first")
        if known is not None:
            return known
        with self._lock:
            return self._first

    @cached_property
    def _first(self) -> tuple[GraphShape, bool, bool]:
        made, anew = self._factory.make()
        return (*self._graph_of(made), anew)

    def _with_graph(self, made: tuple[GraphShape, bool]) -> PythonWorkflow:
        """This workflow around another graph of its factory."""
        other = PythonWorkflow(
            self.name,
            self.source,
            origin=self.origin,
            description=self.description,
            needs=self.needs,
        )
        other.__dict__["_first"] = (*made, True)
        return other

    def _graph_of(self, made: Any) -> tuple[GraphShape, bool]:
        """A copy, so that the project's own object keeps its checkpointer; and whether it stands
        for a sequence."""
        from langchain_core.runnables import Runnable
        from langgraph.graph import StateGraph
        from langgraph.pregel import Pregel

        sequence = isinstance(made, Runnable) and not isinstance(made, Pregel)
        if sequence:
            made = graph_of(made)
        if isinstance(made, StateGraph):
            made = compile_again(made, name=self.name)
        if not isinstance(made, Pregel):
            message = f"{self.origin} is of type {type(made).__name__}, not a graph"
            raise InvalidDefinition([Finding.error("not-a-graph", message, hint=_GRAPHS)])
        own = copy.copy(made)
        own.checkpointer = None
        return GraphShape(own), sequence


_GRAPHS = (
    "it must be a StateGraph, a compiled graph, an entrypoint, a sequence that begins with one, or "
    "a function that returns one"
)


def _type_name(data: Any) -> str:
    return "null" if data is None else f"a {type(data).__name__}"
