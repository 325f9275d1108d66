"""A workflow as the job layer sees it: YAML or a Python graph, behind one view."""

from __future__ import annotations

import hashlib
import json
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ucop.agents.finding import Finding
from ucop.agents.spec.spec import AgentSpec, spec_agent
from ucop.agents.spec.tool import agents_inside, needs_of
from ucop.agents.text.schema import Problem, fields_schema, validate, with_defaults
from ucop.agents.text.source import Document, nearest, read_yaml_file
from ucop.agents.text.whole_numbers import with_whole_numbers

from ..check.check import check, raise_errors
from ..check.kinds import FindWorkflow
from ..check.mesh import members_of
from ..errors import InvalidInput, StateError, WorkflowChanged, WorkflowError
from ..expressions.templates import compile_output
from ..language.definition import ERRORS, SAID, START, Channel, Definition, Kind, Merge
from ..language.dump import dump
from ..language.load import load_data
from ..limits import Limits
from ..nodes.mesh_rules import error_of
from ..nodes.routing import GATE, LOOPS, ROUTE, RUNNING, Router, RoutingError, Turn, shown_name
from ..topology.topology import topology_of
from ..topology.wiring import Wiring
from ..types.state import normalise
from .edit import Update, chosen

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph
    from langgraph.pregel import Pregel

    from ucop.agents.spec.merging import MergeFunction
    from ucop.agents.spec.registry import Registry
    from ucop.agents.spec.spec import Agent

    from ..factory import Run
    from ..pregel.superstep import Ran, Superstep, Write
    from ..topology.wiring import Standing as Begun
    from ..types.given_context import Unchecked
    from .catalog import Catalog

COMPILER_FORMAT = 1
"""Part of every fingerprint: raised when the compiled graph's nodes or channels change."""
COMPILED_KEPT = 256
_CHANNELS = ("__", "branch:", "join:")
"""How the names of LangGraph's own channels begin."""
OVERWRITE = "__overwrite__"
"""LangGraph's marker for a value that replaces what a reducer would add to."""


class Workflow(ABC):
    """Something that can be run as a job."""

    kind: Literal["yaml", "python"]
    name: str
    description: str
    origin: str
    """Where it was defined, for people."""
    fingerprint: str
    """Changes when a run may go another way; ignores layout and comments."""
    stored: dict[str, Any]
    """What a job keeps of it, as JSON. The order of keys matters: keep it as text."""
    needs: tuple[str, ...]
    """What only the project can supply: `graph:NAME`, `agent:NAME`, `merge:NAME`, `tool:NAME`,
    `mcp:NAME`."""
    input_schema: dict[str, Any] | None
    warnings: tuple[Finding, ...] = ()
    context_schema: Any = None
    """The class that declares the names of its context; None where none does."""
    takes_values: bool = True
    """Whether its input is an object of names and values, and not any value."""
    nested: bool = False
    """Whether its nodes run workflows of their own, whose steps are to be seen."""
    limits: Limits = Limits()
    """What its jobs may use at most, where their submission does not say otherwise."""

    @abstractmethod
    def accept(self, data: Any) -> Any:
        """The input with its defaults, as the graph takes it. Raises InvalidInput naming
        everything that is wrong."""

    @abstractmethod
    def graph(self) -> Pregel[Any, Any, Any, Any]:
        """The compiled graph, without a checkpointer, to be looked at. Imports LangGraph."""

    @asynccontextmanager
    async def opened(self, run: Run) -> AsyncIterator[Workflow]:
        """This workflow with the graph that is to be run, which is there as long as this is open:
        a factory may hold connections for it. Raises what the factory raises."""
        yield self

    def configured(self, config: Mapping[str, Any] | None) -> Workflow:
        """This workflow for a run with a config (JSON), on which its graph may depend."""
        return self

    def accept_context(self, context: Any, unchecked: Unchecked) -> dict[str, Any] | None:
        """A run's context as JSON. Raises InvalidInput for what the workflow does not take;
        values that are `unchecked` are secrets given by name."""
        if context is not None:
            raise InvalidInput(f"workflow {self.name!r} takes no context")
        return None

    def context(self, kept: Mapping[str, Any] | None) -> Any:
        """What LangGraph is given as the context, from what was accepted, secrets resolved."""
        return None

    @property
    def context_fields(self) -> dict[str, Any]:
        """The JSON Schema of each name of the context that is declared."""
        return {}

    @property
    def wiring(self) -> Wiring:
        """Its nodes and edges, as its jobs began with them."""
        from ..topology.graph_shape import GraphShape

        return GraphShape(self.graph()).wiring

    @abstractmethod
    def start(self, data: Any) -> Any:
        """What a first attempt gives to the graph, from an accepted input."""

    @abstractmethod
    def result(self, values: Any) -> Any:
        """The job's output, as JSON, from the values of the state at the end."""

    @abstractmethod
    def shown_nodes(self) -> list[str]:
        """The nodes in an order that the edges allow."""

    @property
    def optional(self) -> tuple[str, ...]:
        """Nodes that a run may end without, named as their steps are; in their order."""
        return ()

    def caught(self, node: str, writes: Sequence[tuple[str, Any]]) -> Mapping[str, Any] | None:
        """The error of `node` that the run survives, where its writes tell of one."""
        return None

    def hides(self, node: str) -> bool:
        """Whether `node` is one of the compiler's own."""
        return False

    def shown_name(self, node: str) -> str:
        """The node of the definition that `node` belongs to."""
        return node

    def shown_part(self, part: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What of a part that the graph emits is not the compiler's own."""
        return part

    def edited_as(self, ran: Sequence[str], as_node: str | None) -> str:
        """The node as which a checkpoint that the nodes `ran` made is edited; see edit.py.
        Raises InvalidInput."""
        return chosen(ran, as_node)

    def check_edit(self, values: Mapping[str, Any]) -> None:  # noqa: B027 - most say it by schemas
        """Raise InvalidInput for values that a state of this workflow cannot hold."""

    async def rerouted(self, step: Superstep, task: Ran, values: Sequence[Write]) -> list[Write]:
        """Where `task` leads, had it written `values` as well."""
        return task.routes

    def loose_update(self, due: Sequence[str], values: Mapping[str, Any], node: str) -> Update:
        """What LangGraph's `update_state` is given where nobody knows what made a checkpoint, or
        `node` had no part in it."""
        return values, node

    def state_names(self) -> list[str]:
        """The names of the state that a person may edit."""
        channels = self.graph().channels
        return [name for name in channels if not name.startswith(_CHANNELS)]

    def as_begun(self, stored: Mapping[str, Any]) -> Workflow:
        """This workflow for a job that began with what it kept."""
        return self

    @property
    def is_known_by_name(self) -> bool:
        """Whether every process of the project can find it, or make it from what a job keeps."""
        return True

    @property
    def changed(self) -> bool:
        """Whether it is not what the job began with, so that its checkpoint may not fit."""
        return False

    def refuse_to_skip(self, standing: Begun) -> None:  # noqa: B027 - YAML never changes
        """Raise WorkflowChanged where nodes that a job was to run would be left out."""


class YamlWorkflow(Workflow):
    """A checked definition, bound to its agents."""

    kind = "yaml"

    def __init__(
        self,
        definition: Definition,
        agents: Mapping[str, Agent],
        *,
        origin: str = "",
        warnings: tuple[Finding, ...] = (),
        workflows: Mapping[str, Workflow] | None = None,
        merges: Mapping[str, MergeFunction] | None = None,
    ) -> None:
        self.definition = definition
        self.agents = agents
        self.workflows = workflows or {}
        self.merges = merges or {}
        self.nested = bool(self.workflows) or any(n.mesh for n in definition.nodes.values())
        self.name = definition.name
        self.description = definition.description
        self.origin = origin
        self.warnings = warnings
        self.limits = definition.limits

    @cached_property
    def stored(self) -> dict[str, Any]:  # type: ignore[override]
        return {
            "kind": "yaml",
            "format": COMPILER_FORMAT,
            "definition": dump(self.definition),
            "agents": self._specs,
            **({"workflows": self._inner} if self.workflows else {}),
        }

    @property
    def _inner(self) -> dict[str, Any]:
        return {name: workflow.stored for name, workflow in self.workflows.items()}

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]
        text = json.dumps(self.stored, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]
        own = needs_of(self.agents.values())
        merges = [f"merge:{name}" for name in self.merges]
        inner = [need for workflow in self.workflows.values() for need in workflow.needs]
        return tuple(dict.fromkeys((*own, *merges, *inner)))

    @cached_property
    def input_schema(self) -> dict[str, Any]:  # type: ignore[override]
        return fields_schema({n: dict(c.schema) for n, c in self.definition.inputs.items()})

    def accept(self, data: Any) -> dict[str, Any]:
        data = {} if data is None else data
        if not isinstance(data, Mapping):
            raise InvalidInput(f"the input of workflow {self.name!r} must be an object")
        filled = with_defaults(self.input_schema, data)
        if problems := validate(self.input_schema, filled):
            raise InvalidInput(self._refusal(problems))
        try:
            accepted = normalise(filled, self.input_schema, f"the input of workflow {self.name!r}")
        except StateError as error:
            raise InvalidInput(str(error)) from error
        return {name: accepted.get(name) for name in self.definition.inputs}

    def accept_context(self, context: Any, unchecked: Unchecked) -> dict[str, Any] | None:
        """For the Python graphs inside: each is given the names that its schema declares."""
        if context is None:
            return None
        from ..types.given_context import inner_context

        graphs, agents = list(self._graphs_inside), self._agents_read_context
        return inner_context(self.name, graphs, context, unchecked, agents=agents)

    @property
    def _agents_read_context(self) -> bool:
        """Whether functions are called, which may read any name of the run's context."""
        own = any(agent.spec is None for agent in agents_inside(self.agents.values()))
        inner = (w for w in self.workflows.values() if isinstance(w, YamlWorkflow))
        return own or any(workflow._agents_read_context for workflow in inner)

    @property
    def context_fields(self) -> dict[str, Any]:
        inside = [workflow.context_fields for workflow in self._graphs_inside]
        return {name: schema for fields in inside for name, schema in fields.items()}

    @property
    def _graphs_inside(self) -> Iterator[Workflow]:
        for workflow in self.workflows.values():
            if isinstance(workflow, YamlWorkflow):
                yield from workflow._graphs_inside
            else:
                yield workflow

    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        agents = ((name, agent.fingerprint, id(agent)) for name, agent in self.agents.items())
        inner = ((name, id(workflow.graph())) for name, workflow in self.workflows.items())
        merges = ((name, id(merge.function)) for name, merge in self.merges.items())
        bound = (*agents, *merges, *inner)
        holds = [workflow.graph() for workflow in self.workflows.values()]
        graph: CompiledStateGraph[Any, Any, Any, Any]
        graph = _COMPILED.get((self.fingerprint, bound), self._compile, holds)
        return graph

    def start(self, data: Any) -> dict[str, Any]:
        first = {name: _first(channel) for name, channel in self.definition.channels.items()}
        if caught := dict.fromkeys(self.definition.catching):
            first[ERRORS] = {OVERWRITE: caught}
        return {**first, LOOPS: {OVERWRITE: {}}, **data}

    def result(self, values: Any) -> Any:
        scope = {name: values.get(name) for name in (*self.definition.channels, ERRORS)}
        if self.definition.output is None:
            return {name: scope[name] for name in self.definition.written}
        return self._output(scope)

    def shown_nodes(self) -> list[str]:
        return list(topology_of(self.definition).order)

    @cached_property
    def optional(self) -> tuple[str, ...]:
        own = self.shown_nodes() if self.definition.has_choices else []
        inner = [
            f"{node.name}/{name}"
            for node in self.definition.nodes.values()
            if node.workflow
            for name in self.workflows[node.workflow].optional
        ]
        return (*own, *inner)

    def edited_as(self, ran: Sequence[str], as_node: str | None) -> str:
        nodes = self.definition.nodes
        if as_node is not None and as_node not in nodes:
            like = nearest(as_node, nodes)
            raise InvalidInput(
                f"no node {as_node!r}" + (f"; did you mean {like!r}?" if like else "")
            )
        # Gates, and what decides where to begin, stand for nodes only where no other ran.
        own = [node for node in ran if node in nodes]
        return chosen(own, as_node) if own or as_node or not ran else ran[0]

    async def rerouted(self, step: Superstep, task: Ran, values: Sequence[Write]) -> list[Write]:
        from ..pregel.superstep import BRANCH, with_edit

        seen = step.seen(with_edit(step.channels, task.values, values))
        turn = self._turn(task, seen, step.state)
        if turn is None:
            return task.routes
        return [*turn.update.items(), *((f"{BRANCH}{target}", None) for target in turn.goto)]

    def _turn(self, task: Ran, seen: Mapping[str, Any], state: Mapping[str, Any]) -> Turn | None:
        """Where the compiled node goes on to; None for one that asks no condition."""
        router, node = self._router, shown_name(task.name)
        if task.name == START + GATE:
            return router.after(START, seen, {})
        if task.name not in (node, node + ROUTE) or node not in self.definition.nodes:
            return None
        errors = dict(task.values).get(ERRORS)
        failed = isinstance(errors, Mapping) and errors.get(node) is not None
        try:
            return (router.after_error if failed else router.after)(node, seen, state)
        except RoutingError:
            return router.failed(node, state)

    def loose_update(self, due: Sequence[str], values: Mapping[str, Any], node: str) -> Update:
        from langgraph.types import Command

        # The nodes of YAML say by a Command where to go on; see compile.py.
        return Command(update={**values, RUNNING: list(due)}, goto=list(due)), node

    def state_names(self) -> list[str]:
        return list(self.definition.channels)

    def caught(self, node: str, writes: Sequence[tuple[str, Any]]) -> Mapping[str, Any] | None:
        if self.nested and (failed := error_of(writes, SAID)) is not None:
            return {
                "type": failed["type"],
                "message": failed["message"],
                "node": node,
                "caught": True,
            }
        if not (self.definition.catching or self.workflows):
            return None
        told = next((value for name, value in writes if name == ERRORS), None)
        error = told.get(node.rpartition("/")[2]) if isinstance(told, Mapping) else None
        if not isinstance(error, Mapping) or not {"type", "message"} <= error.keys():
            return None
        return {"type": error["type"], "message": error["message"], "node": node, "caught": True}

    def hides(self, node: str) -> bool:
        return GATE in node

    def shown_name(self, node: str) -> str:
        return shown_name(node)

    def shown_part(self, part: Mapping[str, Any]) -> Mapping[str, Any] | None:
        from ..nodes.emitted import shown_part

        return shown_part(part)

    @cached_property
    def _router(self) -> Router:
        return Router(self.definition, topology_of(self.definition))

    @cached_property
    def _output(self) -> Callable[[Mapping[str, Any]], Any]:
        return compile_output(self.definition.output, self.definition.places)

    @cached_property
    def _specs(self) -> dict[str, Any]:
        return {
            agent.name: agent.spec.model_dump(mode="json", exclude_defaults=True)
            for agent in agents_inside(self.agents.values())
            if agent.spec is not None
        }

    def _compile(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        from ..nodes.compile import compile_graph

        return compile_graph(self.definition, self.agents, self.workflows, self.merges)

    def _refusal(self, problems: list[Problem]) -> str:
        lines = [f"the input does not fit workflow {self.name!r}:"]
        for problem in problems:
            place = self._declared(problem)
            lines.append(f"  {problem}" + (f" (declared in {place})" if place else ""))
        return "\n".join(lines)

    def _declared(self, problem: Problem) -> Any:
        """Where the input that a problem is about was declared."""
        named = problem.path[0] if problem.path else None
        for name, channel in self.definition.inputs.items():
            if name == named or (named is None and problem.message.startswith(repr(name))):
                return self.definition.places.at(channel.path, key=True)
        return None


def read_workflow(path: str | Path, registry: Registry) -> YamlWorkflow:
    """The workflow of a YAML file. Raises InvalidDefinition with every mistake in it."""
    return workflow_of(read_yaml_file(path), registry)


def workflow_of(
    document: Document, registry: Registry, workflows: FindWorkflow | None = None
) -> YamlWorkflow:
    """The workflow of a document that was read; `workflows` finds those that its nodes run."""
    checked = check(document, registry, workflows)
    raise_errors(checked.findings)
    return _class_of(checked.definition)(
        checked.definition,
        checked.agents,
        origin=document.file,
        warnings=tuple(checked.findings),
        workflows=checked.workflows,
        merges=checked.merges,
    )


def restore(stored: Mapping[str, Any], *, catalog: Catalog, registry: Registry) -> Workflow:
    """The workflow that a job began with.

    A YAML workflow comes back with its own agents of then; a Python graph as it is now, and
    `refuse_to_skip` tells whether the job may go on with it. Raises WorkflowChanged for a
    definition that only another version can read.
    """
    if stored["kind"] == "python":
        if stored.get("unnamed"):
            raise WorkflowChanged(
                f"graph {stored['name']!r} has no name of its own, so only the process that "
                "submitted the job knows it; give it one, and submit again"
            )
        return catalog.find(stored["name"]).as_begun(stored)
    if stored["format"] != COMPILER_FORMAT:
        raise WorkflowChanged(
            f"the job's workflow was compiled with format {stored['format']}, this version has "
            f"{COMPILER_FORMAT}; finish the job with the version it began with"
        )
    loaded = load_data(stored["definition"])
    raise_errors(loaded.findings)
    own = [
        spec_agent(AgentSpec.model_validate(spec), "kept by the job")
        for spec in stored["agents"].values()
    ]
    known = registry.extended(own)
    called = [node.agent for node in loaded.definition.nodes.values() if node.agent]
    names = dict.fromkeys((*called, *members_of(loaded.definition)))
    agents = {name: known.get(name) for name in names}
    workflows = {
        name: restore(inner, catalog=catalog, registry=registry)
        for name, inner in stored.get("workflows", {}).items()
    }
    custom = (c.function for c in loaded.definition.state.values() if c.function)
    return _class_of(loaded.definition)(
        loaded.definition,
        agents,
        origin="kept by the job",
        workflows=workflows,
        merges={name: registry.merge(name) for name in custom},
    )


def _class_of(definition: Definition) -> type[YamlWorkflow]:
    if definition.kind is Kind.graph:
        return YamlWorkflow
    from .mesh_workflow import MeshWorkflow

    return MeshWorkflow


def _first(channel: Channel) -> Any:
    """The value that a channel begins with, also where the thread held another job's."""
    value = with_whole_numbers(channel.schema, channel.schema.get("default"))
    return value if channel.merge is Merge.replace else {OVERWRITE: value}


class _Compiled:
    """The graphs that were compiled last. Engines of several threads may share them."""

    def __init__(self) -> None:
        self._graphs: OrderedDict[Any, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, compile_it: Callable[[], Any], holds: Sequence[Any]) -> Any:
        """The graph of a key, which names objects by their id: those that the graph itself does
        not hold must be in `holds`, or another could come to have the id of one that is gone."""
        with self._lock:
            if key in self._graphs:
                self._graphs.move_to_end(key)
                return self._graphs[key][0]
        graph = compile_it()
        with self._lock:
            self._graphs[key] = graph, holds
            while len(self._graphs) > COMPILED_KEPT:
                self._graphs.popitem(last=False)
        return graph


_COMPILED = _Compiled()

__all__ = ["Workflow", "WorkflowError", "YamlWorkflow", "read_workflow", "restore", "workflow_of"]
