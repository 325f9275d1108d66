"""What became of a Python graph since a job began with it, and whether the job may go on.

LangGraph runs what a checkpoint holds as due and follows the edges that it finds. A node or an
edge that is gone is no error to it: the run ends early, and as if all were well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ucop.agents.text.nearest import nearest

if TYPE_CHECKING:
    from langgraph.graph.state import StateGraph

Join = tuple[frozenset[str], str]
START = "__start__"
END = "__end__"
"""LangGraph's own names."""


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The nodes of a graph, and which may follow which."""

    nodes: frozenset[str]
    edges: frozenset[tuple[str, str]]
    joins: frozenset[Join]
    """Nodes that wait for several others."""
    anywhere: frozenset[str]
    """Nodes that choose what follows, without telling among which."""

    def to_json(self) -> dict[str, Any]:
        """As a job keeps it."""
        return {
            "edges": sorted(map(list, self.edges)),
            "joins": sorted([sorted(starts), end] for starts, end in self.joins),
            "anywhere": sorted(self.anywhere),
        }

    def after(self, begin: Iterable[str], wait: Collection[Join]) -> frozenset[str]:
        """What may run from `begin` on, itself counted. A join in `wait` needs one more of its
        nodes, any other all of them."""
        found = {node for node in begin if node in self.nodes}
        while more := self._next(found, wait) - found:
            found |= more
        return frozenset(found)

    def _next(self, found: Collection[str], wait: Collection[Join]) -> set[str]:
        if any(node in self.anywhere for node in found):
            return set(self.nodes)
        targets = {target for source, target in self.edges if source in found}
        for join in self.joins:
            arrived = [start in found for start in join[0]]
            if any(arrived) if join in wait else all(arrived):
                targets.add(join[1])
        return targets & self.nodes


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a job stands in its graph, by its last checkpoint."""

    due: frozenset[str]
    """Nodes of the superstep that is due, finished ones counted."""
    done: frozenset[str]
    """Those of them whose results are kept: they do not run again."""
    scheduled: frozenset[str]
    """What the finished ones lead to."""


def wiring_of(builder: StateGraph[Any, Any, Any, Any]) -> Wiring:
    """The wiring of a graph of LangGraph."""
    nodes = frozenset({START, *builder.nodes})
    edges = set(builder.edges)
    anywhere = set()
    for source, branches in builder.branches.items():
        for branch in branches.values():
            edges |= {(source, end) for end in (branch.ends or {}).values()}
            if branch.ends is None:
                anywhere.add(source)
    for name, node in builder.nodes.items():
        edges |= {(name, end) for end in node.ends or ()}
    joins = frozenset((frozenset(starts), end) for starts, end in builder.waiting_edges)
    leads = {source for source, _ in edges} | {start for starts, _ in joins for start in starts}
    reached = {target for _, target in edges} | {end for _, end in joins}
    if set(builder.nodes) - reached:
        # Only a Command that tells no destinations leads to these.
        anywhere |= set(builder.nodes) - leads
    return Wiring(nodes=nodes, edges=frozenset(edges), joins=joins, anywhere=frozenset(anywhere))


def wiring_from(stored: Mapping[str, Any]) -> Wiring:
    """The wiring that a job kept. Jobs of older versions kept only the names of the nodes."""
    return Wiring(
        nodes=frozenset({START, *stored["nodes"]}),
        edges=frozenset((source, target) for source, target in stored.get("edges", ())),
        joins=frozenset((frozenset(starts), end) for starts, end in stored.get("joins", ())),
        anywhere=frozenset(stored.get("anywhere", [START, *stored["nodes"]])),
    )


def complaint(old: Wiring, new: Wiring, standing: Standing) -> str | None:
    """Why a job must not go on: the nodes that were to run, and would be left out silently."""
    begin = standing.due | standing.scheduled
    expected = replace(old, anywhere=frozenset()).after(begin, old.joins)
    if expected & old.anywhere:
        expected |= old.nodes - new.nodes
    coming = (standing.due - standing.done) | standing.scheduled
    # A node that is done has told its old joins; other joins will not hear of it.
    possible = new.after(coming, _still_heard(old, new)) | standing.done
    left_out = sorted((expected | standing.due) - possible - {START})
    if not left_out:
        return None
    gone = [node for node in left_out if node not in new.nodes]
    if gone:
        return "; ".join(_gone(node, old, new, standing) for node in gone)
    names = ", ".join(map(repr, left_out))
    return f"nothing leads to node {names} any more from where the job stands"


def refusal(old: Wiring, new: Wiring, standing: Standing) -> str | None:
    """`complaint` of a change that somebody wants: what was not due yet may be gone."""
    kept = new.nodes | standing.due | standing.scheduled
    wanted = Wiring(
        nodes=old.nodes & kept,
        edges=frozenset((a, b) for a, b in old.edges if a in kept and (b in kept or b == END)),
        joins=frozenset((starts, end) for starts, end in old.joins if {*starts, end} <= kept),
        anywhere=old.anywhere & kept,
    )
    return complaint(wanted, new, standing)


def _still_heard(old: Wiring, new: Wiring) -> frozenset[Join]:
    return old.joins & new.joins


def _gone(node: str, old: Wiring, new: Wiring, standing: Standing) -> str:
    when = "is due now" if node in standing.due else "was still to run"
    near = nearest(node, new.nodes - old.nodes)
    renamed = f" (renamed to {near!r}?)" if near else ""
    return f"there is no node {node!r} any more{renamed}, which {when}"
