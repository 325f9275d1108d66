"""Random LangGraph graphs as data, and an independent reading of how they run.

Plain edges, edges that wait for several nodes, conditional edges, nodes that choose by a Command,
Sends, deferred nodes, graphs inside nodes, bounded loops. A `Moment` is what a checkpoint holds, in
plain Python; nothing here reads a checkpoint.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from tests.support.graphs import Node

MOST_RUNS = 60
MOST_TURNS = 25

Target = tuple[str, int | None]
"""A node, and what it is sent with, where it is sent."""


def merged(old: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    return {**(old or {}), **new}


def added(old: dict[str, int], new: dict[str, int]) -> dict[str, int]:
    return dict(Counter(old or {}) + Counter(new))


class Woven(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    counts: Annotated[dict[str, int], added]
    said: Annotated[dict[str, int], merged]
    knob: int
    sent: int


@dataclass(frozen=True)
class Fork:
    """A conditional edge: where what is read is at least `least` it leads to `yes`, else to `no`.
    With `rounds`, only until its node has run so often."""

    reads: str
    least: int
    yes: tuple[Target, ...]
    no: tuple[Target, ...]
    rounds: int | None = None

    def choose(self, node: str, values: Mapping[str, Any]) -> tuple[Target, ...]:
        if self.rounds is not None and values.get("counts", {}).get(node, 0) >= self.rounds:
            return self.no
        found = values.get("knob", 0) if self.reads == "knob" else _said(values, self.reads)
        return self.yes if found >= self.least else self.no


def _said(values: Mapping[str, Any], node: str) -> int:
    found: int = (values.get("said") or {}).get(node, 0)
    return found


@dataclass(frozen=True)
class Knot:
    """A node: what it says comes from what others said, and the knob."""

    name: str
    gives: int
    reads: tuple[str, ...] = ()
    goes: tuple[Target, ...] = ()
    """Where its Command leads, where it says at least `least`."""
    least: int = 0
    defer: bool = False
    inside: bool = False
    """Whether a graph inside does its work."""
    asks: bool = False
    """Whether a person has to say yes first."""

    def says(self, values: Mapping[str, Any]) -> int:
        heard = sum(_said(values, name) for name in self.reads)
        return (self.gives + heard + int(values.get("knob", 0)) + int(values.get("sent", 0))) % 10

    def writes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        sent = values.get("sent")
        told = self.name if sent is None else f"{self.name}:{sent}"
        found = {"log": [told], "counts": {self.name: 1}}
        return found if sent is not None else {**found, "said": {self.name: self.says(values)}}

    def goes_to(self, values: Mapping[str, Any]) -> tuple[Target, ...]:
        return self.goes if self.says(values) >= self.least else ()


@dataclass
class Weave:
    """A graph."""

    name: str
    knots: dict[str, Knot] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    joins: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    forks: list[tuple[str, Fork]] = field(default_factory=list)
    trips: str = ""
    """The node that raises while the graph is in `BROKEN`."""

    def graph(self) -> StateGraph[Any]:
        graph = StateGraph(Woven)
        for knot in self.knots.values():
            graph.add_node(knot.name, self._node(knot), defer=knot.defer)
        for source, target in self.edges:
            graph.add_edge(source, target)
        for sources, target in self.joins:
            graph.add_edge(list(sources), target)
        for number, (source, fork) in enumerate(self.forks):
            graph.add_conditional_edges(source, _chooser(source, fork, number))
        return graph

    def _node(self, knot: Knot) -> Node:
        inner = _inner() if knot.inside else None

        async def node(state: Woven) -> Any:
            if knot.name == self.trips and self.name in BROKEN:
                raise ValueError("is told to fail")
            if knot.asks:
                assert interrupt(f"{knot.name}?") == "yes"
            writes = knot.writes(state)
            if inner is not None:
                assert (await inner.ainvoke({"x": knot.gives}))["x"] == knot.gives + 2
            goes = knot.goes_to(state)
            return Command(update=writes, goto=_led(goes)) if goes else writes

        return node


BROKEN: set[str] = set()
"""Graphs whose `trips` raises."""


def _led(targets: Sequence[Target]) -> list[Any]:
    return [node if sent is None else Send(node, {"sent": sent}) for node, sent in targets]


def _chooser(source: str, fork: Fork, number: int) -> Callable[[Any], Any]:
    def choose(state: Woven) -> Any:
        return _led(fork.choose(source, state)) or END

    choose.__name__ = f"fork_{number}"
    return choose


class Inner(TypedDict):
    x: int


def _inner() -> Any:
    graph = StateGraph(Inner)
    graph.add_node("one", lambda state: {"x": state["x"] + 1})
    graph.add_node("two", lambda state: {"x": state["x"] + 1})
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    return graph.compile()


# ---------------------------------------------------------------- the reading


@dataclass(frozen=True)
class Run:
    """A node that ran in a superstep."""

    name: str
    sent: int | None
    wrote: Mapping[str, Any]
    edits: tuple[Mapping[str, Any], ...]
    """What edits wrote as this node."""
    chose: tuple[Target, ...]
    """By its Command."""
    led: tuple[Target, ...]
    """By its conditional edges."""


@dataclass(frozen=True)
class Moment:
    """What a checkpoint holds."""

    values: Mapping[str, Any]
    due: tuple[Target, ...]
    heard: Mapping[int, frozenset[str]]
    """By the number of a waiting edge: who has arrived."""
    deferred: frozenset[str]
    before: Moment | None = None
    runs: tuple[Run, ...] = ()
    input: Mapping[str, Any] | None = None
    """While nothing but the input is held."""


class Reading:
    """How a weave runs."""

    def __init__(self, weave: Weave) -> None:
        self.weave = weave

    def begin(self, input: Mapping[str, Any], earlier: Moment | None = None) -> Moment:
        """A job's first checkpoint, on a thread that may hold what an earlier one left."""
        if earlier is None:
            return Moment({}, (), {}, frozenset(), input=input)
        return Moment(earlier.values, (), earlier.heard, frozenset(), input=input)

    def after(self, at: Moment) -> Moment:
        """The next checkpoint."""
        if at.input is not None:
            begun = _with(at.values, at.input)
            run = Run(START, None, at.input, (), (), self._led(START, begun))
            return self._commit(at, (run,), begun)
        runs: list[Run] = []
        values = at.values
        for name, sent in sorted(at.due, key=lambda due: due[1] is not None):
            knot = self.weave.knots[name]
            given = at.values if sent is None else {"sent": sent}
            wrote = knot.writes(given)
            values = _with(values, wrote)
            led = self._led(name, _with(at.values, wrote))
            runs.append(Run(name, sent, wrote, (), knot.goes_to(given), led))
        return self._commit(at, tuple(runs), values)

    def edited(self, at: Moment, node: str, changed: Mapping[str, Any]) -> Moment:
        """A checkpoint whose `changed` were replaced, as `node`. What is as it was is no change."""
        if at.input is not None:
            return replace(at, input={**at.input, **changed})
        assert at.before is not None
        changed = {name: value for name, value in changed.items() if at.values.get(name) != value}
        runs = tuple(
            self._rerun(at.before, run, changed) if changed and run.name == node else run
            for run in at.runs
        )
        return self._commit(at.before, runs, {**at.values, **changed})

    def _rerun(self, before: Moment, run: Run, changed: Mapping[str, Any]) -> Run:
        seen = _with(before.values, run.wrote)
        for each in (*run.edits, changed):
            seen = {**seen, **each}
        return replace(run, edits=(*run.edits, changed), led=self._led(run.name, seen))

    def _led(self, node: str, seen: Mapping[str, Any]) -> tuple[Target, ...]:
        forks = (fork for source, fork in self.weave.forks if source == node)
        return tuple(target for fork in forks for target in fork.choose(node, seen))

    def _commit(self, before: Moment, runs: tuple[Run, ...], values: Mapping[str, Any]) -> Moment:
        ran = {run.name for run in runs if run.sent is None}
        heard = dict(before.heard)
        for number, (sources, target) in enumerate(self.weave.joins):
            if target in ran and heard.get(number) == frozenset(sources):
                heard[number] = frozenset()
        waits = before.deferred - ran
        called: set[str] = set()
        sent: list[Target] = []
        for run in runs:
            plain = [(target, None) for source, target in self.weave.edges if source == run.name]
            for target, given in (*run.chose, *plain, *run.led):
                if given is not None:
                    sent.append((target, given))
                else:
                    called.add(target)
            for number, (sources, _) in enumerate(self.weave.joins):
                if run.name in sources:
                    heard[number] = heard.get(number, frozenset()) | {run.name}
        for number, (sources, target) in enumerate(self.weave.joins):
            if heard.get(number) == frozenset(sources):
                called.add(target)
        late = {name for name in called if self.weave.knots[name].defer} | waits
        now = sorted(called - late)
        if not now:  # what is only sent keeps no deferred node waiting
            now, late = sorted(late), set()
        due = (*((name, None) for name in now), *sent)
        return Moment(values, due, heard, frozenset(late), before, runs)


def _with(values: Mapping[str, Any], wrote: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(values)
    for name, value in wrote.items():
        match name:
            case "log":
                found[name] = [*found.get(name, []), *value]
            case "counts":
                found[name] = added(found.get(name, {}), value)
            case "said":
                found[name] = merged(found.get(name, {}), value)
            case _:
                found[name] = value
    return found


def is_bounded(weave: Weave) -> bool:
    """Whether a run of it ends soon, whatever the knob says."""
    return all(_ends(weave, knob) for knob in range(10))


def _ends(weave: Weave, knob: int) -> bool:
    reading, runs = Reading(weave), 0
    moment = reading.after(reading.begin({"knob": knob, "log": []}))
    for _ in range(MOST_TURNS):
        if not moment.due:
            return True
        runs += len(moment.due)
        if runs > MOST_RUNS:
            return False
        moment = reading.after(moment)
    return False


# ---------------------------------------------------------------- drawing one


def weaves(count: int, chance: Random) -> Iterator[Weave]:
    """Random graphs that end."""
    found = 0
    while found < count:
        weave = _weave(f"w{found}", chance)
        if is_bounded(weave):
            found += 1
            yield weave


def _weave(name: str, chance: Random) -> Weave:
    weave = Weave(name)
    layers: list[list[str]] = []
    for depth in range(chance.randint(2, 4)):
        layers.append([f"{'abcd'[depth]}{n}" for n in range(chance.randint(1, 3))])
    goes: dict[str, list[Target]] = {}
    for depth, layer in enumerate(layers):
        earlier = [knot for each in layers[:depth] for knot in each]
        for knot in layer:
            goes[knot] = []
            _lead_to(weave, knot, earlier, goes, chance)
    for depth, layer in enumerate(layers):
        earlier = [knot for each in layers[:depth] for knot in each]
        for knot in layer:
            weave.knots[knot] = Knot(
                knot,
                chance.randrange(10),
                tuple(chance.sample(earlier, min(len(earlier), chance.randrange(3)))),
                tuple(goes[knot]),
                chance.choice([0, 0, 4, 7]),
                depth > 0 and chance.random() < 0.15,
                chance.random() < 0.15,
                chance.random() < 0.1,
            )
    if len(layers) > 1 and chance.random() < 0.6:
        source, target = chance.choice(layers[-1]), chance.choice(layers[chance.randrange(2)])
        back = Fork(chance.choice(["knob", source]), chance.randrange(8), ((target, None),), (), 2)
        weave.forks.append((source, back))
    weave.trips = chance.choice(layers[chance.randrange(len(layers))])
    return weave


def _lead_to(
    weave: Weave,
    knot: str,
    earlier: Sequence[str],
    goes: dict[str, list[Target]],
    chance: Random,
) -> None:
    """One or two ways to a node."""
    if not earlier:
        if chance.random() < 0.25:
            weave.forks.append((START, Fork("knob", chance.randrange(8), ((knot, None),), ())))
            weave.edges.append((START, "a0"))
        else:
            weave.edges.append((START, knot))
        return
    for _ in range(chance.choice([1, 1, 2])):
        source = chance.choice(earlier)
        match chance.choice(["plain", "plain", "join", "fork", "fork", "goes", "send", "sends"]):
            case "join" if len(earlier) > 1:
                sources = tuple(sorted(chance.sample(earlier, 2)))
                if (sources, knot) not in weave.joins:
                    weave.joins.append((sources, knot))
            case "fork":
                reads = chance.choice(["knob", source, chance.choice(earlier)])
                other = chance.choice([(), (), ((chance.choice([knot, *goes]), None),)])
                ways = [((knot, None),), other]
                if other and other[0][0] in earlier:
                    ways[1] = ()
                weave.forks.append((source, Fork(reads, chance.randrange(1, 9), ways[0], ways[1])))
            case "goes":
                goes[source].append((knot, None))
            case "send":
                goes[source].append((knot, chance.randrange(5)))
            case "sends":
                sent = tuple((knot, n) for n in range(chance.randint(1, 3)))
                weave.forks.append((source, Fork("knob", chance.randrange(6), sent, sent[:1])))
            case _:
                weave.edges.append((source, knot))
    weave.edges[:] = list(dict.fromkeys(weave.edges))
