"""Workflows of YAML: a checked definition, bound to its agents, that can be run as a job."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ucop.agents.finding import Finding
from ucop.agents.spec.binding import agents_inside, needs_of
from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.schema import fields_schema, with_defaults
from ucop.agents.text.validation import Problem, validate
from ucop.agents.text.whole_numbers import with_whole_numbers

from ..edit import Update, chosen
from ..errors import InvalidInput, StateError
from ..expressions.templates import compile_output
from ..language.definition import ERRORS, SAID, START, Channel, Definition, Merge
from ..language.dump import dump
from ..nodes.mesh_rules import error_of
from ..nodes.routing import Router, RoutingError, Turn
from ..pregel.names import GATE, LOOPS, ROUTE, RUNNING, shown_name
from ..topology.topology import topology_of
from ..types.state import normalise
from ..workflow import COMPILER_FORMAT, Workflow

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from ucop.agents.spec.agent import Agent
    from ucop.agents.spec.merging import MergeFunction

    from ..pregel.superstep import Ran, Superstep, Write
    from ..types.given_context import Unchecked

COMPILED_KEPT = 256
OVERWRITE = "__overwrite__"
"""LangGraph's marker for a value that replaces what a reducer would add to."""


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
        from .inner_context import inner_context

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
            raise InvalidInput(f"no node {as_node!r}{did_you_mean(as_node, nodes, '; ')}")
        # Gates, and what decides where to begin, stand for nodes only if no other ran.
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


def _first(channel: Channel) -> Any:
    """The value that a channel begins with, even if the thread held another job's."""
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
