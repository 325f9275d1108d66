"""The nodes of a run in their order, with what is known of each before it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ucop.agents.models.aliases import DEFAULT_ALIAS
from ucop.agents.spec.function_body import FunctionBody

from ..language.definition import END, START, Mesh, Route
from ..language.kind import NodeKind, kind_of, work_of
from ..pictures.picture import Picture, condition_of, each_of, picture_of, waves_of
from ..topology.topology import topology_of
from ..types.foresight import Foresight
from ..workflow import Workflow
from ..workflows.mesh_workflow import MeshWorkflow
from ..workflows.yaml_workflow import YamlWorkflow
from .planned import Branch, PlannedLoop, PlannedNode, Waves, Way

if TYPE_CHECKING:
    from ucop.agents.spec.agent import Agent


Shape = tuple[Waves, tuple[Branch, ...], tuple[PlannedLoop, ...]]


_POLICIES = ("retry", "timeout", "cache", "within", "default", "on_error")


def shape_of(workflow: Workflow, data: Mapping[str, Any]) -> Shape:
    """`data` are the inputs that are known."""
    if isinstance(workflow, MeshWorkflow):
        return _members(workflow, workflow.mesh), (), ()
    if isinstance(workflow, YamlWorkflow):
        return _of_definition(workflow, Foresight.of(workflow.definition, data))
    return _of_picture(picture_of(workflow))


def _of_definition(workflow: YamlWorkflow, foresight: Foresight) -> Shape:
    topology = topology_of(workflow.definition)
    nodes = workflow.stored["definition"]["nodes"]
    inner: dict[str, Shape] = {}
    for node in workflow.definition.nodes.values():
        if node.workflow:
            known = foresight.given_by(node)
            inner[node.name] = _inside(
                node.name, shape_of(workflow.workflows[node.workflow], known)
            )
        elif node.mesh is not None:
            inner[node.name] = _inside(node.name, (_members(workflow, node.mesh), (), ()))
    waves = tuple(
        tuple(
            replace(
                _node(workflow, name, nodes[name]),
                items=foresight.items(workflow.definition.nodes[name]),
                inside=inner[name][0] if name in inner else (),
            )
            for name in wave
        )
        for wave in waves_of(picture_of(workflow))
    )
    own = tuple(_branch(route) for route in workflow.definition.routes if _chooses(route))
    branches = (*own, *(branch for shape in inner.values() for branch in shape[1]))
    loops = tuple(
        PlannedLoop(
            source=loop.source,
            target=loop.target,
            at_most=loop.at_most,
            body=tuple(name for name in topology.order if name in loop.body),
        )
        for loop in topology.loops.values()
    )
    return waves, branches, (*loops, *(loop for shape in inner.values() for loop in shape[2]))


def _members(workflow: YamlWorkflow, mesh: Mesh) -> Waves:
    """Who may be called first, and who then; how often each is, nobody knows before."""
    agents = [workflow.agents[name] for name in mesh.agents]
    first = [
        agent
        for agent in agents
        if agent.name == mesh.entry or mesh.entry_capability in agent.capabilities
    ]
    others = [agent for agent in agents if agent not in first]
    return tuple(tuple(map(_member, wave)) for wave in (first, others) if wave)


def _member(agent: Agent) -> PlannedNode:
    can = f", which can {', '.join(agent.capabilities)}" if agent.capabilities else ""
    return PlannedNode(
        name=agent.name,
        kind=NodeKind.agent,
        work=f"agent {agent.name}{can}",
        asks=model_of(agent),
        may_ask=_is_given_models(agent),
        at_will=True,
        policies={},
    )


def _inside(node: str, shape: Shape) -> Shape:
    """The shape of a workflow that `node` runs, with the names that its steps will have."""

    def full_name(name: str) -> str:
        return name if name in (START, END) else f"{node}/{name}"

    def renamed_node(one: PlannedNode) -> PlannedNode:
        return replace(one, name=full_name(one.name), inside=map_nodes(one.inside, renamed_node))

    waves, branches, loops = shape
    return (
        map_nodes(waves, renamed_node),
        tuple(
            Branch(
                source=f"{node}/{branch.source}",
                ways=tuple(replace(way, target=full_name(way.target)) for way in branch.ways),
            )
            for branch in branches
        ),
        tuple(
            replace(
                loop,
                source=full_name(loop.source),
                target=full_name(loop.target),
                body=tuple(full_name(name) for name in loop.body),
            )
            for loop in loops
        ),
    )


def map_nodes(waves: Waves, change: Callable[[PlannedNode], PlannedNode]) -> Waves:
    return tuple(tuple(change(node) for node in wave) for wave in waves)


def _node(workflow: YamlWorkflow, name: str, said: Mapping[str, Any]) -> PlannedNode:
    return PlannedNode(
        name=name,
        kind=kind_of(said),
        work=_work(workflow, name, said),
        asks=_asks(workflow, said),
        may_ask=_may_ask(workflow, said),
        each=each_of(said) if "each" in said else None,
        policies={key: said[key] for key in _POLICIES if key in said},
    )


def _work(workflow: YamlWorkflow, name: str, said: Mapping[str, Any]) -> str:
    able = workflow.definition.nodes[name].capability
    return work_of(said) + (f", which can {able}" if able else "")


def _asks(workflow: YamlWorkflow, said: Mapping[str, Any]) -> str | None:
    """The model that a node's agent asks for; what a Python function asks is not known."""
    return model_of(_agent(workflow, said))


def model_of(agent: Agent | None) -> str | None:
    if agent is None or agent.spec is None:
        return None
    return agent.spec.model or DEFAULT_ALIAS


def _may_ask(workflow: YamlWorkflow, said: Mapping[str, Any]) -> bool:
    agent = _agent(workflow, said)
    return agent is not None and _is_given_models(agent)


def _is_given_models(agent: Agent) -> bool:
    return isinstance(agent.body, FunctionBody) and agent.body.takes_context


def _agent(workflow: YamlWorkflow, said: Mapping[str, Any]) -> Agent | None:
    name = said.get("agent")
    return workflow.agents.get(name) if isinstance(name, str) else None


def _chooses(route: Route) -> bool:
    return len(route.entries) > 1 or route.entries[0].when is not None


def _branch(route: Route) -> Branch:
    return Branch(
        source=route.source,
        ways=tuple(
            Way(target=entry.target, when=condition_of(entry, route), at_most=entry.at_most)
            for entry in route.entries
        ),
    )


def _of_picture(picture: Picture) -> Shape:
    """What a Python graph tells: nodes, edges, and the names of branches."""
    branches: dict[str, list[Way]] = {}
    for arrow in picture.arrows:
        if arrow.when:
            way = Way(target=arrow.target, when=arrow.when)
            branches.setdefault(arrow.source, []).append(way)
    return (
        tuple(tuple(_python_node(name) for name in wave) for wave in waves_of(picture)),
        tuple(Branch(source=source, ways=tuple(ways)) for source, ways in branches.items()),
        tuple(
            PlannedLoop(source=arrow.source, target=arrow.target, at_most=None)
            for arrow in picture.arrows
            if arrow.loop
        ),
    )


def _python_node(name: str) -> PlannedNode:
    return PlannedNode(name=name, kind=NodeKind.python, work="python", may_ask=True, policies={})
