"""A workflow as boxes and arrows, before any way of drawing them.

The boxes are the definition's own nodes: what the compiler adds (gates, routes) is not in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..language.definition import END, START, Entry, Route
from ..language.kind import NodeKind, kind_of, work_of
from ..topology.reachability import targets_of
from ..topology.topology import Topology, cycles_of, reach, topology_of
from ..topology.wiring import wiring_from
from ..workflow import Workflow
from ..workflows.mesh_workflow import MeshWorkflow
from ..workflows.yaml_workflow import YamlWorkflow

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph

    from ucop.agents.spec.agent import Agent

    from ..language.definition import Definition

Edge = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Box:
    """One node, or START or END, which have no kind."""

    name: str
    kind: NodeKind | None = None
    lines: tuple[str, ...] = ()
    """What stands under the name: who works, on what, what it joins."""
    each: bool = False
    """Whether it runs once an item."""
    joins: bool = False
    """Whether several ways lead here, and it runs once when all that run have come."""


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """One edge."""

    source: str
    target: str
    when: str = ""
    """What must hold for it to be taken; empty if nothing must."""
    bound: str = ""
    """How often it is taken: `at most 2 times`."""
    loop: bool = False
    """A loop edge of the definition, or a Python graph's way back."""
    back: bool = False
    """Leads against the order of the boxes."""
    error: bool = False
    """Taken when the source fails."""

    @property
    def label(self) -> str:
        """All that is said of it, in one line."""
        return ", ".join(part for part in (self.when, self.bound) if part)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What there is to draw; boxes in an order that the forward arrows allow."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def picture_of(workflow: Workflow) -> Picture:
    """The picture of a workflow. That of a Python graph has what LangGraph tells of it."""
    if isinstance(workflow, MeshWorkflow):
        return _of_mesh(workflow)
    if isinstance(workflow, YamlWorkflow):
        return _of_definition(workflow.definition, workflow.stored["definition"])
    return _of_graph(workflow.name, workflow.graph().get_graph())


def picture_of_kept(stored: Mapping[str, Any]) -> Picture:
    """The picture of a workflow as a job keeps it. Of a Python graph it knows which nodes may
    follow which: nothing of the project is imported for it."""
    if stored["kind"] == "python":
        return _of_wiring(stored)
    from ..language.load import load_data

    return _of_definition(load_data(stored["definition"]).definition, stored["definition"])


# ---- YAML ----


def _of_definition(definition: Definition, language: Mapping[str, Any]) -> Picture:
    nodes = language["nodes"]
    routes = _arrows(definition.routes, topology_of(definition))
    listed = (*routes, *_error_arrows(nodes))
    arrows = _mark_back(listed, _against(listed))
    boxes = [_box(name, nodes[name], arrows) for wave in _waves(nodes, arrows) for name in wave]
    return Picture(
        title=definition.name, boxes=(Box(name=START), *boxes, Box(name=END)), arrows=arrows
    )


def _box(name: str, said: Mapping[str, Any], arrows: Iterable[Arrow]) -> Box:
    lines = [work_of(said)]
    if "each" in said:
        lines.append(each_of(said))
    before = dict.fromkeys(
        arrow.source for arrow in arrows if arrow.target == name and not (arrow.loop or arrow.back)
    )
    if len(before) > 1:
        lines.append(f"joins {', '.join(before)}")
    return Box(
        name=name,
        kind=kind_of(said),
        lines=tuple(lines),
        each="each" in said,
        joins=len(before) > 1,
    )


def each_of(said: Mapping[str, Any]) -> str:
    """What a node runs over: `each of outline.sections, 4 at a time`."""
    source = str(said["each"]).removeprefix("${").removesuffix("}")
    limit = f", {said['limit']} at a time" if said.get("limit") else ""
    return f"each of {source}{limit}"


def _arrows(routes: tuple[Route, ...], topology: Topology) -> Iterator[Arrow]:
    for route in routes:
        for entry in route.entries:
            yield Arrow(
                source=route.source,
                target=entry.target,
                when=condition_of(entry, route),
                bound=bound_of(entry),
                loop=entry.at_most is not None and topology.leads_back(route.source, entry.target),
            )


def condition_of(entry: Entry, route: Route) -> str:
    """When an entry of a route is taken: `score < 7`, `otherwise`; empty if always."""
    if entry.when is not None:
        return " ".join(entry.when.split())
    return "otherwise" if len(route.entries) > 1 and entry.at_most is None else ""


def bound_of(entry: Entry) -> str:
    """How often a loop edge is taken; empty for other edges."""
    if entry.at_most is None:
        return ""
    return "at most once" if entry.at_most == 1 else f"at most {entry.at_most} times"


def _error_arrows(nodes: Mapping[str, Any]) -> Iterator[Arrow]:
    for name, said in nodes.items():
        policy = said.get("on_error")
        if isinstance(policy, Mapping) and "node" in policy:
            yield Arrow(source=name, target=policy["node"], when="on error", error=True)


# ---- meshes ----

_ROUTER = "router"


def _of_mesh(workflow: MeshWorkflow) -> Picture:
    """The router, and every agent that it may call, with what each can do and may ask for."""
    mesh = workflow.mesh
    first = mesh.entry or f"first, one that can {mesh.entry_capability}"
    router = Box(
        name=_ROUTER,
        kind=NodeKind.mesh,
        lines=(f"begins with {first}", f"at most {mesh.max_hops} hops"),
    )
    members = [_member(workflow.agents[name]) for name in mesh.agents]
    to = [Arrow(source=_ROUTER, target=name) for name in mesh.agents]
    back = [Arrow(source=name, target=_ROUTER, loop=True, back=True) for name in mesh.agents]
    return Picture(
        title=workflow.name,
        boxes=(Box(name=START), router, *members, Box(name=END)),
        arrows=(
            Arrow(source=START, target=_ROUTER),
            *to,
            *back,
            Arrow(source=_ROUTER, target=END, when="answered"),
        ),
    )


def _member(agent: Agent) -> Box:
    lines = []
    if agent.capabilities:
        lines.append(f"can {', '.join(agent.capabilities)}")
    if agent.asks:
        lines.append(f"may ask for {', '.join(agent.asks)}")
    return Box(name=agent.name, kind=NodeKind.agent, lines=tuple(lines))


# ---- Python graphs ----


def _of_graph(title: str, graph: Graph) -> Picture:
    ends = {"__start__": START, "__end__": END}
    listed = [
        Arrow(
            source=ends.get(edge.source, edge.source),
            target=ends.get(edge.target, edge.target),
            when=_branch(edge, edge.target),
        )
        for edge in graph.edges
    ]
    arrows = _mark_back(listed, _back_edges([(arrow.source, arrow.target) for arrow in listed]))
    return Picture(
        title=title,
        boxes=tuple(_python_box(ends.get(id, id)) for id in graph.nodes),
        arrows=tuple(replace(arrow, loop=arrow.back) for arrow in arrows),
    )


def _of_wiring(stored: Mapping[str, Any]) -> Picture:
    kept = wiring_from(stored)
    ends = {"__start__": START, "__end__": END}
    edges = {*kept.edges, *((start, end) for starts, end in kept.joins for start in starts)}
    pairs = sorted((ends.get(a, a), ends.get(b, b)) for a, b in edges)
    choices = Counter(source for source, _ in pairs)
    arrows = _mark_back((Arrow(source=a, target=b) for a, b in pairs), _back_edges(pairs))
    boxes = [
        Box(
            name=name,
            kind=NodeKind.python,
            # Which of them it will be, only its code knows.
            lines=("leads anywhere",) if name in kept.anywhere and not choices[name] else (),
        )
        for name in stored["nodes"]
    ]
    return Picture(
        title=stored["name"],
        boxes=(Box(name=START), *boxes, Box(name=END)),
        arrows=tuple(replace(arrow, loop=arrow.back) for arrow in arrows),
    )


def _python_box(name: str) -> Box:
    if name in (START, END):
        return Box(name=name)
    return Box(name=name, kind=NodeKind.python, lines=("python",))


def _branch(edge: Any, target: str) -> str:
    """The name of a conditional edge's branch; what decides is code, so more is not known."""
    if not edge.conditional:
        return ""
    told = str(edge.data) if edge.data is not None else ""
    return told if told and told != target else "if"


# ---- order ----


def waves_of(picture: Picture) -> tuple[tuple[str, ...], ...]:
    """The nodes by the longest way to them, ways back left out."""
    names = [box.name for box in picture.boxes if box.kind is not None]
    return _waves(names, picture.arrows)


def _waves(names: Iterable[str], arrows: Iterable[Arrow]) -> tuple[tuple[str, ...], ...]:
    routes = tuple(
        Route(source=arrow.source, entries=(Entry(target=arrow.target),))
        for arrow in arrows
        if not arrow.back
    )
    return Topology(tuple(names), routes).waves


def _mark_back(arrows: Iterable[Arrow], back: Collection[Edge]) -> tuple[Arrow, ...]:
    return tuple(replace(arrow, back=(arrow.source, arrow.target) in back) for arrow in arrows)


def _against(arrows: Sequence[Arrow]) -> set[Edge]:
    """Edges of a definition that lead back.

    Not every loop edge does: what only a loop leads to comes after the loop's source, and then
    it is an edge out of there that leads back.
    """
    forward = [(arrow.source, arrow.target) for arrow in arrows if not arrow.loop]
    loops = [(arrow.source, arrow.target) for arrow in arrows if arrow.loop]
    seen = {START, *reach(START, targets_of(forward))}
    kept = [edge for edge in forward if edge[0] in seen]
    back: set[Edge] = set()
    while entering := [(a, b) for a, b in loops if a in seen and b not in seen]:
        beyond = {b for _, b in entering}
        beyond = beyond.union(*(reach(b, targets_of(forward), stop=seen) for b in beyond))
        inside = [(a, b) for a, b in forward if a in beyond and b in beyond]
        out = [(a, b) for a, b in forward if a in beyond and b not in beyond]
        kept += entering + inside
        _keep_or_turn(out, kept, back)
        seen |= beyond
    _keep_or_turn([edge for edge in loops if edge not in kept], kept, back)
    return back


def _keep_or_turn(edges: Iterable[Edge], kept: list[Edge], back: set[Edge]) -> None:
    """Keep the edges that close no cycle; the others lead back."""
    for source, target in edges:
        if source == target or source in reach(target, targets_of(kept)):
            back.add((source, target))
        else:
            kept.append((source, target))


def _back_edges(edges: Iterable[Edge]) -> set[Edge]:
    """Edges that lead back onto the way from START on which they were met."""
    targets = targets_of(edges)
    return {(cycle[-1], cycle[0]) for cycle in cycles_of((START, *targets), targets)}
