"""What follows from a workflow's edges alone: reach, joins, loops, order, parallel nodes.

Pure: routes in, sets out. Loop edges are the ones with `at_most`; all others are forward edges,
and without the loop edges a sound workflow has no cycle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ..language.definition import END, START, Definition, Entry, OnError, Route
from .reachability import Bits, Edges, Reachability, targets_of


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A loop edge, with what goes round in it."""

    key: str
    """Names its counter in the state."""
    source: str
    target: str
    at_most: int
    body: frozenset[str]
    """The nodes between target and source, both counted: the natural loop of the edge."""
    inner: tuple[str, ...] = ()
    """Keys of the loops inside this one, whose counters it resets."""


@dataclass(frozen=True)
class Topology:
    """The graph that nodes and routes make."""

    nodes: tuple[str, ...]
    routes: tuple[Route, ...]
    errors: Mapping[str, str] = field(default_factory=dict)
    """Where an error of a node leads, instead of its routes: forward edges, and no arm of a fork."""
    _besides: dict[str, Bits] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def forward(self) -> dict[str, tuple[str, ...]]:
        """Successors over forward edges; START is a source, END a target."""
        return targets_of(self._edges(loops=False))

    @cached_property
    def successors(self) -> dict[str, tuple[str, ...]]:
        """Successors over all edges."""
        return targets_of(self._edges(loops=True))

    def _edges(self, *, loops: bool) -> Iterator[tuple[str, str]]:
        for route in self.routes:
            for entry in route.entries:
                if loops or entry.at_most is None:
                    yield route.source, entry.target
        yield from self.errors.items()

    @cached_property
    def predecessors(self) -> dict[str, tuple[str, ...]]:
        """Predecessors over all edges."""
        return _backwards(self.successors)

    @cached_property
    def joins(self) -> frozenset[str]:
        """Nodes that several forward edges lead to."""
        before = _backwards(self.forward)
        return frozenset(node for node in self.nodes if len(before.get(node, ())) > 1)

    @cached_property
    def unreachable(self) -> tuple[str, ...]:
        """Nodes that no edge leads to from START."""
        reached = reach(START, self.successors)
        return tuple(node for node in self.nodes if node not in reached)

    @cached_property
    def dead_ends(self) -> tuple[str, ...]:
        """Nodes from which no edges lead to END."""
        alive = reach(END, self.predecessors)
        return tuple(node for node in self.nodes if node not in alive)

    @cached_property
    def cycles(self) -> tuple[tuple[str, ...], ...]:
        """Cycles of forward edges, each as its nodes in order; sound workflows have none."""
        return tuple(cycles_of(self.nodes, self.forward))

    @cached_property
    def loops(self) -> dict[str, Loop]:
        """The loop edges by key; edges that lead nowhere back are not among them."""
        found: dict[str, Loop] = {}
        for key, source, entry in loop_edges(self.routes):
            if entry.at_most is not None and self.leads_back(source, entry.target):
                body = self._body(source, entry.target)
                found[key] = Loop(
                    key=key,
                    source=source,
                    target=entry.target,
                    at_most=entry.at_most,
                    body=body,
                )
        return {key: self._with_inner(loop, found.values()) for key, loop in found.items()}

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The nodes so that forward edges lead from left to right, else as the file has them."""
        return tuple(node for wave in self.waves for node in wave)

    @cached_property
    def waves(self) -> tuple[tuple[str, ...], ...]:
        """Nodes by the longest forward path from START: what can run together stands together."""
        depth = dict.fromkeys((START, *self.nodes), 0)
        missing = dict.fromkeys(depth, 0)
        for targets in self.forward.values():
            for target in targets:
                if target in missing:
                    missing[target] += 1
        ready = deque(node for node, count in missing.items() if count == 0)
        while ready:
            node = ready.popleft()
            for target in self.forward.get(node, ()):
                if target not in depth:
                    continue
                depth[target] = max(depth[target], depth[node] + 1)
                missing[target] -= 1
                if missing[target] == 0:
                    ready.append(target)
        levels = sorted({depth[node] for node in self.nodes})
        return tuple(tuple(n for n in self.nodes if depth[n] == level) for level in levels)

    @cached_property
    def ahead(self) -> Reachability:
        """What forward edges lead to from each node."""
        return Reachability(self.forward)

    @cached_property
    def anywhere(self) -> Reachability:
        """What any edges lead to from each node, itself only over a loop."""
        return Reachability(self.successors)

    def leads_back(self, source: str, target: str) -> bool:
        """Whether an edge from `source` to `target` closes a cycle of forward edges."""
        return source == target or self.ahead.leads(target, source)

    def routes_of(self, node: str) -> tuple[Route, ...]:
        """The routes out of `node`; all of them apply."""
        return self._routes.get(node, ())

    def parallel(self, one: str, other: str) -> bool:
        """Whether both can run in one superstep."""
        if one == other:
            return False
        if self.ahead.leads(one, other) or self.ahead.leads(other, one):
            return self._overlap(one, other)
        return self._are_forked(one, other) or self._overlap(one, other)

    @cached_property
    def runaways(self) -> tuple[tuple[Loop, str, str], ...]:
        """Loops that leave one arm of a fork while another can end: (loop, fork, other arm)."""
        found = []
        for loop in self.loops.values():
            for fork, arm in self._other_arms(loop):
                beside = self._arm(loop, arm) - {END}
                if any(END in self.forward.get(node, ()) for node in beside):
                    found.append((loop, fork, arm))
        return tuple(found)

    @cached_property
    def rivals(self) -> tuple[tuple[Loop, Loop], ...]:
        """Loops that leave one arm of a fork while another arm has a loop edge too."""
        found = []
        for loop in self.loops.values():
            beside = frozenset().union(*(self._arm(loop, arm) for _, arm in self._other_arms(loop)))
            for other in self.loops.values():
                together = other.source == loop.source and not self._same_route(loop, other)
                if other.key != loop.key and (other.source in beside or together):
                    found.append((loop, other))
        return tuple(found)

    def _same_route(self, one: Loop, other: Loop) -> bool:
        return any(self._has(r, one) and self._has(r, other) for r in self.routes_of(one.source))

    @cached_property
    def _routes(self) -> dict[str, tuple[Route, ...]]:
        by_source: dict[str, list[Route]] = {}
        for route in self.routes:
            by_source.setdefault(route.source, []).append(route)
        return {source: tuple(routes) for source, routes in by_source.items()}

    @cached_property
    def _forks(self) -> dict[str, tuple[Bits, ...]]:
        """For each node with several routes what each route can lead to."""
        return {
            source: tuple(self._coverage(route) for route in routes)
            for source, routes in self._routes.items()
            if len(routes) > 1
        }

    def _coverage(self, route: Route) -> Bits:
        covered = 0
        for target in _forward_targets(route):
            covered |= self.ahead.bit(target) | self.ahead.beyond(target)
        return covered

    def _are_forked(self, one: str, other: str) -> bool:
        """Whether two routes of one node lead to the two nodes."""
        return bool(self._beside(one) & self.ahead.bit(other))

    def _beside(self, node: str) -> Bits:
        """What the other routes of all forks lead to of which one leads to `node`."""
        if node not in self._besides:
            mine, found = self.ahead.bit(node), 0
            for sides in self._forks.values():
                for number, side in enumerate(sides):
                    if side & mine:
                        for other in (*sides[:number], *sides[number + 1 :]):
                            found |= other
            self._besides[node] = found
        return self._besides[node]

    def _overlap(self, one: str, other: str) -> bool:
        """Whether a loop out of one arm can run a node again beside the other arm's node."""
        return any(
            (one in arm and other in body) or (other in arm and one in body)
            for arm, body in self._overlaps
        )

    @cached_property
    def _overlaps(self) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
        return tuple(
            (self._arm(loop, arm), loop.body)
            for loop in self.loops.values()
            for _, arm in self._other_arms(loop)
        )

    def _other_arms(self, loop: Loop) -> Iterator[tuple[str, str]]:
        """Forks in the loop's body of which one arm holds the loop edge: (fork, other arm)."""
        for fork in self._forks:
            routes = self.routes_of(fork)
            if fork not in loop.body:
                continue
            for route in routes:
                others = [other for other in routes if other is not route]
                if any(self._holds(other, loop) for other in others):
                    yield from ((fork, target) for target in _forward_targets(route))

    def _holds(self, route: Route, loop: Loop) -> bool:
        """Whether `route` leads to the loop edge, or has it."""
        return self._has(route, loop) or bool(self._coverage(route) & self.ahead.bit(loop.source))

    @staticmethod
    def _has(route: Route, loop: Loop) -> bool:
        if route.source != loop.source:
            return False
        return any(e.target == loop.target and e.at_most is not None for e in route.entries)

    def _arm(self, loop: Loop, start: str) -> frozenset[str]:
        """What can run from `start` on while the loop's next round has begun.

        Not the nodes that the loop's source waits for, nor those that wait for it.
        """
        source = loop.source
        waits = {join for join in self.joins if self.ahead.leads(source, join)} | {source}
        if start in waits:
            return frozenset()
        beside = reach(start, self.forward, stop=waits) | {start}
        return frozenset(node for node in beside if not self.ahead.leads(node, source))

    def _body(self, source: str, target: str) -> frozenset[str]:
        """The natural loop: what leads back to `source` without passing `target`."""
        if source == target:
            return frozenset({source})
        body, todo = {source, target}, [source]
        while todo:
            for node in self.predecessors.get(todo.pop(), ()):
                if node not in body and self.ahead.leads(target, node):
                    body.add(node)
                    todo.append(node)
        return frozenset(body)

    @staticmethod
    def _with_inner(loop: Loop, loops: Iterable[Loop]) -> Loop:
        return replace(loop, inner=tuple(other.key for other in loops if other.body < loop.body))


def topology_of(definition: Definition) -> Topology:
    """The topology of a definition, the ways that errors take included."""
    nodes = definition.nodes.values()
    errors = {n.name: n.on_error for n in nodes if not isinstance(n.on_error, OnError)}
    return Topology(tuple(definition.nodes), definition.routes, errors)


def loop_edges(routes: Iterable[Route]) -> Iterator[tuple[str, str, Entry]]:
    """(key, source, entry) of each `at_most` edge; the key is stable and names the edge."""
    seen: dict[str, int] = {}
    for route in routes:
        for entry in route.entries:
            if entry.at_most is None:
                continue
            name = f"{route.source}->{entry.target}"
            seen[name] = seen.get(name, 0) + 1
            yield name if seen[name] == 1 else f"{name}#{seen[name]}", route.source, entry


def reach(start: str, edges: Edges, stop: Iterable[str] = ()) -> frozenset[str]:
    """What `edges` lead to from `start` without passing `stop`; `start` only over a cycle."""
    seen: set[str] = set()
    blocked = frozenset(stop)
    todo = list(edges.get(start, ()))
    while todo:
        node = todo.pop()
        if node not in seen and node not in blocked:
            seen.add(node)
            todo.extend(edges.get(node, ()))
    return frozenset(seen)


def _forward_targets(route: Route) -> Iterator[str]:
    return (entry.target for entry in route.entries if entry.at_most is None)


def _backwards(edges: Edges) -> dict[str, tuple[str, ...]]:
    return targets_of((target, source) for source, targets in edges.items() for target in targets)


def cycles_of(nodes: Sequence[str], edges: Edges) -> Iterator[tuple[str, ...]]:
    """One cycle for each edge that a depth-first walk finds leading back: from its last node to its
    first. Without recursion: a chain may be longer than Python's stack."""
    done: set[str] = set()
    for root in nodes:
        if root in done:
            continue
        trail, on_trail = [root], {root}
        pending = [iter(edges.get(root, ()))]
        while pending:
            target = next(pending[-1], None)
            if target is None:
                pending.pop()
                node = trail.pop()
                on_trail.discard(node)
                done.add(node)
            elif target in on_trail:
                yield tuple(trail[trail.index(target) :])
            elif target not in done:
                trail.append(target)
                on_trail.add(target)
                pending.append(iter(edges.get(target, ())))
