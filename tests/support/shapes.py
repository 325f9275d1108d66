"""Random well-formed graphs as data, and an independent reading of the rules they run by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from hypothesis import strategies as st

MOST_NODES = 14
MOST_RUNS = 250
FAILS = -1
"""The answer of a run that raises instead."""
REFUSED_BY_DESIGN = {"loop-leaves-fork", "loops-together"}


class Way(NamedTuple):
    """One entry of a route: taken when the source's answer is at least `least`."""

    target: str
    least: int | None = None
    at_most: int | None = None
    inner: tuple[str, ...] = ()
    """Keys of the loops that this loop edge holds inside."""
    key: str = ""


@dataclass
class Shape:
    """A random graph as data: routes, and what each node answers in each of its runs."""

    name: str = "random"
    routes: list[tuple[str, list[Way]]] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    answers: dict[str, list[int]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    """Where errors of a node lead; a node that may fail and is not here goes on."""
    nested: set[str] = field(default_factory=set)
    """Nodes that are workflows of one node."""

    def text(self) -> str:
        lines = [f"name: {self.name}", "nodes:"]
        lines += [f"  {node}: {{{self._node(node)}, writes: {node}_}}" for node in self.nodes]
        lines += ["edges:", *(f"  - {self._edge(*route)}" for route in self.routes)]
        return "\n".join(lines) + "\n"

    def _node(self, node: str) -> str:
        said = self.work(node)
        if node in self.errors:
            return f"{said}, on_error: {{node: {self.errors[node]}}}"
        return f"{said}, on_error: continue" if FAILS in self.answers[node] else said

    def work(self, node: str) -> str:
        """Who does the work of a node."""
        return f"workflow: {node}" if node in self.nested else "agent: step"

    def inner(self, node: str) -> str:
        """The workflow that stands for a node."""
        return f"name: {node}\nnodes: {{{node}: {{agent: step, writes: x}}}}\noutput: ${{x}}\n"

    @staticmethod
    def _edge(source: str, ways: Sequence[Way]) -> str:
        entries = []
        for way in ways:
            when = "" if way.least is None else f", when: '{_at_least(source, way.least)}'"
            bound = "" if way.at_most is None else f", at_most: {way.at_most}"
            entries.append(f"{{node: {way.target}{when}{bound}}}")
        return f"{{from: {source}, to: [{', '.join(entries)}]}}"


def _at_least(source: str, least: int) -> str:
    """Nothing was written where the node failed, and the bottom is where the run begins."""
    return "false" if source == "START" else f"{source}_ != null && {source}_ >= {least}"


class Block(NamedTuple):
    """A part with one way in and one way out; `ways` are loop edges out of `exit`."""

    entry: str
    exit: str
    ways: tuple[Way, ...] = ()
    loops: tuple[str, ...] = ()


class Maker:
    """Draws one shape."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.shape = Shape()
        self.loops = 0

    def make(self) -> Shape:
        block = self.block(3)
        if self.draw(st.booleans()):
            self.shape.routes.insert(0, ("START", [Way(block.entry)]))
        else:
            other = self.node()
            self.shape.routes.insert(0, ("START", [Way(block.entry)]))
            self.shape.routes.insert(0, ("START", [Way(other)]))
            self.leave(Block(other, other), "END")
        self.leave(block, "END")
        return self.shape

    def node(self) -> str:
        name = f"n{len(self.shape.nodes)}"
        self.shape.nodes.append(name)
        least = FAILS if self.draw(st.integers(0, 3)) == 0 else 0
        self.shape.answers[name] = self.answers(least)
        if self.draw(st.integers(0, 5)) == 0:
            self.shape.nested.add(name)
        return name

    def answers(self, least: int) -> list[int]:
        return self.draw(st.lists(st.integers(least, 9), min_size=1, max_size=4))

    def leave(self, block: Block, target: str, *, maybe: str | None = None) -> None:
        """Connect a block's exit to `target`, or by a condition to `maybe`."""
        ways = [*block.ways]
        if maybe is not None:
            ways.append(Way(maybe, self.threshold()))
        self.shape.routes.append((block.exit, [*ways, Way(target)]))

    def threshold(self) -> int:
        return self.draw(st.integers(1, 9))

    def block(self, depth: int) -> Block:
        kinds = ["node"]
        if depth and len(self.shape.nodes) < MOST_NODES:
            kinds = [
                "seq",
                "fork",
                "fork",
                "choice",
                "error",
                "dag",
                "loop",
                "loop",
                "leave",
                "node",
            ]
        kind = self.draw(st.sampled_from(kinds))
        made: Block = getattr(self, f"make_{kind}")(depth - 1)
        return made

    def make_node(self, depth: int) -> Block:
        name = self.node()
        return Block(name, name)

    def make_seq(self, depth: int) -> Block:
        first, second = self.block(depth), self.block(depth)
        self.leave(first, second.entry)
        return Block(first.entry, second.exit, second.ways, first.loops + second.loops)

    def make_fork(self, depth: int) -> Block:
        entry = self.node()
        arms = [self.block(depth) for _ in range(self.draw(st.integers(2, 3)))]
        exit = self.node()
        for arm in arms:
            instead = self.draw(st.sampled_from([None, None, exit, "END"]))
            ways = [Way(arm.entry)]
            if instead is not None:
                ways = [Way(arm.entry, self.threshold()), Way(instead)]
            self.shape.routes.append((entry, ways))
            if self.draw(st.integers(0, 3)):
                self.leave(arm, exit)
            else:
                self.leave(arm, "END", maybe=exit)
        return Block(entry, exit, (), tuple(key for arm in arms for key in arm.loops))

    def make_choice(self, depth: int) -> Block:
        entry = self.node()
        one, other = self.block(depth), self.block(depth)
        exit = self.node()
        self.shape.routes.append((entry, [Way(one.entry, self.threshold()), Way(other.entry)]))
        self.leave(one, exit)
        if self.draw(st.booleans()):
            self.leave(other, exit)
        else:
            self.leave(other, "END", maybe=exit)
        return Block(entry, exit, (), one.loops + other.loops)

    def make_error(self, depth: int) -> Block:
        """A node whose errors lead another way, which joins its own or ends."""
        entry = self.node()
        one, other = self.block(depth), self.block(depth)
        exit = self.node()
        self.shape.answers[entry] = self.draw(
            st.lists(st.sampled_from([FAILS, 5]), min_size=1, max_size=4)
        )
        self.shape.errors[entry] = other.entry
        self.shape.routes.append((entry, [Way(one.entry)]))
        self.leave(one, exit)
        if self.draw(st.booleans()):
            self.leave(other, exit)
        else:
            self.leave(other, "END", maybe=exit)
        return Block(entry, exit, (), one.loops + other.loops)

    def make_dag(self, depth: int) -> Block:
        names = [self.node() for _ in range(self.draw(st.integers(3, 6)))]
        targets: dict[str, list[str]] = {name: [] for name in names}
        for i, name in enumerate(names[1:], start=1):
            for source in self.draw(st.sets(st.sampled_from(names[:i]), min_size=1, max_size=3)):
                targets[source].append(name)
        for name in names[:-1]:
            self.ways_out(name, targets[name] or [names[-1]])
        return Block(names[0], names[-1])

    def ways_out(self, name: str, targets: list[str]) -> None:
        """Some edges of a node all apply, others are a choice."""
        while targets:
            size = self.draw(st.integers(1, min(3, len(targets))))
            chosen, targets = targets[:size], targets[size:]
            ways = [Way(target, self.threshold()) for target in chosen[:-1]]
            self.shape.routes.append((name, [*ways, Way(chosen[-1])]))

    def make_loop(self, depth: int) -> Block:
        body = self.block(depth)
        if body.ways and body.ways[-1].target == body.entry:
            head = self.node()
            self.shape.routes.append((head, [Way(body.entry)]))
            body = Block(head, body.exit, body.ways, body.loops)
        way = self.loop_way(body.exit, body.entry, body.loops)
        return Block(body.entry, body.exit, (*body.ways, way), (*body.loops, way.key))

    def make_leave(self, depth: int) -> Block:
        """A loop edge out of one arm of a fork, whose other arm waits at the join."""
        entry, one = self.node(), self.node()
        others = [self.node() for _ in range(self.draw(st.integers(1, 3)))]
        exit = self.node()
        way = self.loop_way(one, entry, ())
        self.shape.routes.append((entry, [Way(one)]))
        for source, target in zip([entry, *others], [*others, exit], strict=True):
            self.shape.routes.append((source, [Way(target)]))
        self.shape.routes.append((one, [way, Way(exit)]))
        return Block(entry, exit, (), (way.key,))

    def loop_way(self, source: str, target: str, inner: tuple[str, ...]) -> Way:
        self.loops += 1
        least = self.draw(st.none() | st.integers(1, 9))
        at_most = self.draw(st.integers(1, 2))
        return Way(target, least, at_most, inner, f"loop {self.loops}")


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    return Maker(draw).make()


class Reading:
    """The rules of docs/workflows.md as a machine that is told what ran, one node at a time.

    Knows no supersteps and no gates: a node that one forward edge leads to may run as soon as
    it was sent to; one that several lead to may run once nothing that is still to run can
    lead to it over forward edges.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.due: Counter[str] = Counter()
        self.waiting: set[str] = set()
        self.taken: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.before: dict[str, set[str]] = {node: set() for node in shape.nodes}
        for source, ways in shape.routes:
            for way in ways:
                if way.at_most is None and way.target != "END":
                    self.before[way.target].add(source)
        for source, target in shape.errors.items():
            self.before[target].add(source)
        self.follow("START", 0)

    def ran(self, node: str) -> None:
        assert self.may_run(node), f"{node} ran too early or too often; due {self.left()}"
        if node in self.waiting:
            self.waiting.discard(node)
        else:
            self.due[node] -= 1
        answer = self.answer(node)
        self.runs[node] += 1
        self.follow(node, answer)

    def answer(self, node: str) -> int:
        """What a node says in its next run."""
        answers = self.shape.answers[node]
        return answers[self.runs[node] % len(answers)]

    def may_run(self, node: str) -> bool:
        if node not in self.waiting:
            return self.due[node] > 0
        return not any(other in self.ancestors(node) for other in self.left() if other != node)

    def left(self) -> list[str]:
        return sorted((+self.due).keys() | self.waiting)

    def follow(self, node: str, answer: int) -> None:
        if answer == FAILS and node in self.shape.errors:
            self.send(Way(self.shape.errors[node]))
            return
        for source, ways in self.shape.routes:
            if source == node:
                self.send(self.choose(ways, answer))

    def choose(self, ways: list[Way], answer: int) -> Way:
        for way in ways:
            if way.at_most is not None and self.taken[way.key] >= way.at_most:
                continue
            if way.least is None or answer >= way.least:
                return way
        raise AssertionError("no default")

    def send(self, way: Way) -> None:
        if way.at_most is not None:
            self.taken[way.key] += 1
            for key in way.inner:
                self.taken[key] = 0
        if way.target == "END":
            return
        if len(self.before[way.target]) > 1:
            self.waiting.add(way.target)
        else:
            self.due[way.target] += 1

    def ancestors(self, node: str) -> set[str]:
        found: set[str] = set()
        todo = [node]
        while todo:
            for source in self.before.get(todo.pop(), ()):
                if source not in found:
                    found.add(source)
                    todo.append(source)
        return found

    def all_runs(self) -> Iterator[str]:
        """One order that is allowed."""
        while ready := [node for node in self.left() if self.may_run(node)]:
            self.ran(ready[0])
            yield ready[0]


def is_bounded(shape: Shape) -> bool:
    """Whether a run of it ends soon."""
    return sum(1 for _ in islice(Reading(shape).all_runs(), MOST_RUNS + 1)) <= MOST_RUNS


def _loop(node: str, at_most: int, key: str) -> Way:
    return Way(node, None, at_most, (), key)


FAILED_ONCE = (
    # A node that an error leads to, and nothing else, has loops of its own.
    Shape(
        routes=[
            ("START", [Way("n0")]),
            ("n0", [Way("n1")]),
            ("n1", [_loop("n1", 1, "loop 1"), Way("n3")]),
            ("n2", [Way("n2", 1, 1, (), "loop 2"), Way("n3", 1), Way("END")]),
            ("n3", [Way("n0", 1, 1, ("loop 1", "loop 2"), "loop 3"), Way("END")]),
        ],
        nodes=["n0", "n1", "n2", "n3"],
        answers={"n0": [FAILS], "n1": [0], "n2": [0], "n3": [0]},
        errors={"n0": "n2"},
    ),
    # Two loops side by side, each with a bound of its own, before a join.
    Shape(
        routes=[
            ("START", [Way("n0")]),
            ("n0", [Way("n1")]),
            ("n0", [Way("n2")]),
            ("n1", [_loop("n1", 1, "loop 1"), Way("n3")]),
            ("n2", [_loop("n2", 2, "loop 2"), Way("n3")]),
            ("n3", [Way("END")]),
        ],
        nodes=["n0", "n1", "n2", "n3"],
        answers={"n0": [0], "n1": [0], "n2": [0], "n3": [0]},
    ),
)
"""Shapes that once broke something."""
