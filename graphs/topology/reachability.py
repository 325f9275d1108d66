"""What leads to what in a graph, kept as one bit a node, so that long graphs stay cheap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

Edges = Mapping[str, Sequence[str]]
Bits = int
"""A set of nodes: one bit for each, by its number."""


def targets_of(edges: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """By source, what edges lead to, each target once and in the order of the edges."""
    targets: dict[str, dict[str, None]] = {}
    for source, target in edges:
        targets.setdefault(source, {})[target] = None
    return {source: tuple(names) for source, names in targets.items()}


class Reachability:
    """What the edges of a graph lead to from each of its nodes, cycles included.

    Each edge is looked at once. A node leads to itself only over a cycle.
    """

    def __init__(self, edges: Edges) -> None:
        names = dict.fromkeys(edges)
        names.update(dict.fromkeys(target for targets in edges.values() for target in targets))
        self._numbers = {name: number for number, name in enumerate(names)}
        self._names = tuple(names)
        self._bits: list[Bits] = [0] * len(names)
        for members, cyclic in _components(self._numbers, edges):
            found = self._set(members) if cyclic else 0
            for member in members:
                for target in edges.get(member, ()):
                    number = self._numbers[target]
                    found |= self._bits[number] | (1 << number)
            for member in members:
                self._bits[self._numbers[member]] = found

    def leads(self, source: str, target: str) -> bool:
        """Whether edges lead from `source` to `target`."""
        number = self._numbers.get(target)
        return number is not None and bool(self.beyond(source) >> number & 1)

    def beyond(self, source: str) -> Bits:
        """Everything that edges lead to from `source`."""
        number = self._numbers.get(source)
        return 0 if number is None else self._bits[number]

    def bit(self, name: str) -> Bits:
        """The set of this one node."""
        number = self._numbers.get(name)
        return 0 if number is None else 1 << number

    def names(self, bits: Bits) -> frozenset[str]:
        """The nodes of a set."""
        return frozenset(self._members(bits))

    def _members(self, bits: Bits) -> Iterator[str]:
        while bits:
            lowest = bits & -bits
            yield self._names[lowest.bit_length() - 1]
            bits ^= lowest

    def _set(self, names: Iterable[str]) -> Bits:
        bits = 0
        for name in names:
            bits |= self.bit(name)
        return bits


def _components(numbers: Mapping[str, int], edges: Edges) -> Iterator[tuple[list[str], bool]]:
    """Nodes that lead to each other, and whether they do; what they lead to comes first.

    Tarjan's algorithm, with a stack of its own: a chain may be longer than Python's.
    """
    seen: dict[str, int] = {}
    low: dict[str, int] = {}
    trail: list[str] = []
    on_trail: set[str] = set()
    for root in numbers:
        if root in seen:
            continue
        pending = [(root, iter(edges.get(root, ())))]
        seen[root] = low[root] = len(seen)
        trail.append(root)
        on_trail.add(root)
        while pending:
            node, targets = pending[-1]
            target = next(targets, None)
            if target is None:
                pending.pop()
                if pending:
                    outer = pending[-1][0]
                    low[outer] = min(low[outer], low[node])
                if low[node] == seen[node]:
                    members = _take_end(trail, node)
                    on_trail.difference_update(members)
                    yield members, len(members) > 1 or node in edges.get(node, ())
            elif target not in seen:
                seen[target] = low[target] = len(seen)
                trail.append(target)
                on_trail.add(target)
                pending.append((target, iter(edges.get(target, ()))))
            elif target in on_trail:
                low[node] = min(low[node], seen[target])


def _take_end(trail: list[str], first: str) -> list[str]:
    """Take the end of the trail from `first` on."""
    taken = [trail.pop()]
    while taken[-1] != first:
        taken.append(trail.pop())
    return taken
