"""A workflow as boxes and arrows, before any way of drawing them.

The boxes are the definition's own nodes: what the compiler adds (gates, routes) is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ucop.graphs.definition import END, START, Entry, Route
from ucop.graphs.kind import NodeKind, kind_of, work_of
from ucop.graphs.topology import topology_of
from ucop.graphs.workflow import Workflow, YamlWorkflow

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph

    from ucop.graphs.definition import Definition
    from ucop.graphs.topology import Topology


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
    """What must hold for it to be taken; empty where nothing must."""
    bound: str = ""
    """How often it is taken: `at most 2 times`."""
    loop: bool = False
    """Leads back."""
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
    if isinstance(workflow, YamlWorkflow):
        return _of_definition(workflow.definition, workflow.stored["definition"])
    return _of_graph(workflow.name, workflow.graph().get_graph())


# ---- YAML ----


def _of_definition(definition: Definition, language: Mapping[str, Any]) -> Picture:
    topology, nodes = topology_of(definition), language["nodes"]
    boxes = [_box(name, nodes[name], topology) for name in topology.order]
    return Picture(
        title=definition.name,
        boxes=(Box(name=START), *boxes, Box(name=END)),
        arrows=(*_arrows(definition.routes, topology), *_error_arrows(nodes)),
    )


def _box(name: str, said: Mapping[str, Any], topology: Topology) -> Box:
    lines = [work_of(said)]
    if "each" in said:
        lines.append(each_of(said))
    if name in topology.joins:
        before = [n for n in (START, *topology.order) if name in topology.forward.get(n, ())]
        lines.append(f"joins {', '.join(before)}")
    return Box(
        name=name,
        kind=kind_of(said),
        lines=tuple(lines),
        each="each" in said,
        joins=name in topology.joins,
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
    """When an entry of a route is taken: `score < 7`, `otherwise`; empty where always."""
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


# ---- Python graphs ----


def _of_graph(title: str, graph: Graph) -> Picture:
    ends = {"__start__": START, "__end__": END}
    edges = [(ends.get(e.source, e.source), ends.get(e.target, e.target), e) for e in graph.edges]
    back = _back_edges([(source, target) for source, target, _ in edges])
    names = [ends.get(id, id) for id in graph.nodes]
    return Picture(
        title=title,
        boxes=tuple(_python_box(name) for name in names),
        arrows=tuple(
            Arrow(
                source=source,
                target=target,
                when=_branch(edge, target),
                loop=(source, target) in back,
            )
            for source, target, edge in edges
        ),
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


def _back_edges(edges: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Edges that lead back onto the way from START on which they were met."""
    targets: dict[str, list[str]] = {}
    for source, target in edges:
        targets.setdefault(source, []).append(target)
    back: set[tuple[str, str]] = set()
    seen: set[str] = set()
    for root in (START, *targets):
        if root not in seen:
            _walk(root, targets, seen, back)
    return back


def _walk(
    root: str, targets: Mapping[str, list[str]], seen: set[str], back: set[tuple[str, str]]
) -> None:
    """Depth first, without recursion: a chain may be longer than Python's stack."""
    seen.add(root)
    trail, pending = [root], [iter(targets.get(root, ()))]
    while pending:
        target = next(pending[-1], None)
        if target is None:
            pending.pop()
            trail.pop()
        elif target in trail:
            back.add((trail[-1], target))
        elif target not in seen:
            seen.add(target)
            trail.append(target)
            pending.append(iter(targets.get(target, ())))
