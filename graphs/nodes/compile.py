"""From a Definition to a LangGraph StateGraph.

Each node of the definition becomes an async node that returns a Command: its writes, and where
the run goes on (`routing.py`). The compiler's own nodes have a `?` in their names: `d?` is the
gate before the join d, `r?route` raises what the conditions out of r raised, after the answer of
r was kept, and `START?` decides where a run begins. What the channels hold is JSON
and nothing else.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

from langgraph.channels import Topic
from langgraph.graph import END as LANGGRAPH_END
from langgraph.graph import START as LANGGRAPH_START
from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import TypedDict

from ..errors import StateError
from ..language.definition import END, ERRORS, START, Definition, Node
from ..pregel.names import GATE, LOOPS, ROUTE, RUNNING
from ..topology.topology import Topology, topology_of
from ..types.state import Reducer, reducer_of
from .cache import CachedWork
from .context import RunContext
from .each import run_each
from .mesh_graph import MeshWork, compile_mesh
from .node import Call, run_once
from .question import Question
from .routing import Router, RoutingError, Turn
from .subworkflow import SubWorkflow
from .work import AgentWork, Work

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from ucop.agents.spec.agent import Agent
    from ucop.agents.spec.merging import MergeFunction

    from ..workflow import Workflow

State = dict[str, Any]
Reducers = Mapping[str, Reducer]
Graph = Any
"""A StateGraph; its overloads have no words for a state that is made at run time."""


def compile_graph(
    definition: Definition,
    agents: Mapping[str, Agent],
    workflows: Mapping[str, Workflow] = MappingProxyType({}),
    merges: Mapping[str, MergeFunction] = MappingProxyType({}),
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Build and compile a checked definition; `agents`, `workflows` and `merges` are those it
    names."""
    topology = topology_of(definition)
    router = Router(definition, topology)
    found = {name: reducer_of(channel, merges) for name, channel in definition.channels.items()}
    reducers = {name: reducer for name, reducer in found.items() if reducer is not None}
    graph: Graph = StateGraph(_schema(definition, reducers), context_schema=RunContext)
    for node in definition.nodes.values():
        call = Call(definition, node, _work_of(node, agents, workflows))
        _add_node(graph, call, router, topology, reducers)
    for name, join in router.gates.items():
        graph.add_node(name, _gate(router, join), destinations=(name, join))
    _add_start(graph, router, topology)
    compiled: CompiledStateGraph[Any, Any, Any, Any] = graph.compile(name=definition.name)
    return compiled


def _work_of(node: Node, agents: Mapping[str, Agent], workflows: Mapping[str, Workflow]) -> Work:
    if node.ask is not None:
        return Question(node.answer, node.deadline)
    if node.workflow:
        return SubWorkflow(workflows[node.workflow])
    if node.mesh is not None:
        return MeshWork(compile_mesh(node.mesh, agents, name=node.name))
    work = AgentWork(agents[node.agent])
    return work if node.cache is None else CachedWork(work, node.cache)


def _schema(definition: Definition, reducers: Reducers) -> Any:
    """The state as a TypedDict: every name of the definition, and the compiler's channels."""
    fields: dict[str, Any] = {}
    for name in definition.channels:
        reducer = reducers.get(name)
        # A reducer's channel needs a first value of its own: LangGraph keeps what is written
        # before there is one as it is, the overwrite marker of `start` included.
        fields[name] = Any if reducer is None else Annotated[list[Any], reducer]
    if definition.catching:
        fields[ERRORS] = Annotated[dict[str, Any], operator.or_]
    fields[RUNNING] = Annotated[list[str], Topic(str)]
    fields[LOOPS] = Annotated[dict[str, int], operator.or_]
    return TypedDict("State_" + re.sub(r"\W", "_", definition.name), fields, total=False)  # type: ignore[operator]


def _add_node(
    graph: Graph, call: Call, router: Router, topology: Topology, reducers: Reducers
) -> None:
    name, each = call.node.name, call.node.each is not None
    run = run_each if each else run_once
    blank = dict.fromkeys(call.definition.channels)
    # The retry of a graph node would run the finished items of `each` again, and nothing could
    # be caught after its last try: there, the policies are those of the calls inside.
    outside = not each and not call.node.catches
    decides = router.decides(name)

    async def node(state: State, runtime: Runtime[RunContext]) -> Command[Any]:
        if not blank.keys() <= state.keys():
            # A fork under a definition with more names: they are null until they are written.
            state = {**blank, **state}
        outcome = await run(call, state, runtime)
        try:
            scope = _scope_after(state, outcome.update, reducers) if decides else state
            turn = _turn(router, name, scope, state, failed=outcome.failed)
        except (RoutingError, StateError):
            # A condition, or a merge, that raises must not lose the answer.
            turn = router.failed(name, state)
        return _command(turn, outcome.update)

    graph.add_node(
        name,
        node,
        retry_policy=call.retry if outside else None,
        timeout=call.timeout if outside else None,
        destinations=_destinations(name, router, topology),
    )
    if decides:
        graph.add_node(
            name + ROUTE,
            _router_node(router, call),
            destinations=_destinations(name, router, topology),
        )


def _scope_after(state: State, update: Mapping[str, Any], reducers: Reducers) -> State:
    """The state with a node's own writes in it, for the conditions at its edges."""
    scope = {**state}
    for name, value in update.items():
        if name == ERRORS:
            scope[ERRORS] = {**(state.get(ERRORS) or {}), **value}
        elif name in reducers:
            scope[name] = reducers[name](state.get(name), value)
        else:
            scope[name] = value
    return scope


def _turn(router: Router, node: str, scope: State, state: State, *, failed: bool) -> Turn:
    """Where to go after `node`; `scope` is the state that the conditions see."""
    after = router.after_error if failed else router.after
    return after(node, scope, state)


def _router_node(router: Router, call: Call) -> Callable[[State], Awaitable[Command[Any]]]:
    """Evaluates the routes again, where the error ends the run and the answer is kept."""

    async def route(state: State) -> Command[Any]:
        return _command(router.after(call.node.name, state, state), {})

    return route


def _gate(router: Router, join: str) -> Callable[[State], Awaitable[Command[Any]]]:
    async def gate(state: State) -> Command[Any]:
        return _command(router.pass_gate(join, state), {})

    return gate


def _add_start(graph: Graph, router: Router, topology: Topology) -> None:
    """One plain edge where a run always begins with the same node; else a node that decides."""
    entries = [entry for route in topology.routes_of(START) for entry in route.entries]
    if len(entries) == 1:
        graph.add_edge(LANGGRAPH_START, entries[0].target)
        return
    name = START + GATE

    async def start(state: State) -> Command[Any]:
        return _command(router.after(START, state, {}), {})

    graph.add_node(name, start, destinations=_destinations(START, router, topology))
    graph.add_edge(LANGGRAPH_START, name)


def _command(turn: Turn, update: Mapping[str, Any]) -> Command[Any]:
    return Command(update={**update, **turn.update}, goto=turn.goto)


def _destinations(node: str, router: Router, topology: Topology) -> tuple[str, ...]:
    """Where a node can go, for pictures of the graph."""
    targets = topology.successors.get(node, ())
    ends = {END: LANGGRAPH_END}
    gates = [join + GATE for join in targets if join in topology.joins]
    own = [node + ROUTE] if node != START and router.decides(node) else []
    return (*(ends.get(target, target) for target in targets), *gates, *own)
