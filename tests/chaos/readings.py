"""What random graphs of both kinds must do, read in plain Python, with some of it edited.

For edits.py: a reading follows a job from checkpoint to checkpoint, tells what is due, and what
holds where an edit had a node say something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.chaos.graphs import Graph
from tests.support import shapes, weaves
from tests.support.shapes import FAILS
from tests.support.weaves import BROKEN, Moment, Weave
from ucop.agents.spec.function import agent


@agent("graph_step", description="Gives the first of its answers, or fails.")
def graph_step(answers: list[int], trips: str = "") -> int:
    if answers[0] < 0 or trips in BROKEN:
        raise ValueError("is told to fail")
    return answers[0]


class NotAllowed(Exception):
    """What happened is not what the reading says."""


@dataclass
class Told(Graph):
    """A random graph of which one node can be told to fail, and some ask, or have items."""

    trips: str = ""
    asks: set[str] = field(default_factory=set)
    each: set[str] = field(default_factory=set)

    def work(self, node: str) -> str:
        given = f"answers: {self.answers[node]}"
        if node == self.trips:
            return f"agent: graph_step, with: {{{given}, trips: {self.name}}}"
        if node in self.asks:
            return 'ask: "Yes?", answer: {yes: {type: boolean}}'
        if node in self.each:
            return f"agent: graph_step, each: '${{[1, 2, 3]}}', with: {{{given}}}"
        return super().work(node)

    def says(self, node: str) -> Any:
        """What the node writes."""
        answer = self.answers[node][0]
        if node in self.asks:
            return {"yes": True}
        return None if answer == FAILS else [answer] * 3 if node in self.each else answer


def told(graph: Graph, chance: Random) -> Told:
    """A random graph whose nodes say the same each time, with more kinds of nodes."""
    said = {node: answers[:1] for node, answers in graph.answers.items()}
    found = Told(**{**vars(graph), "answers": said})
    decide = {source for source, ways in graph.routes for way in ways if way.least is not None}
    free = [node for node in graph.nodes if said[node][0] != FAILS and node not in graph.errors]
    plain = [node for node in free if node not in graph.nested]
    if plain:
        found.trips = chance.choice(plain)
    for node in plain:
        if node not in decide and node != found.trips:
            match chance.randrange(6):
                case 0:
                    found.asks.add(node)
                case 1:
                    found.each.add(node)
    return found


# ---------------------------------------------------------------- the two kinds of graphs


class Woven:
    """A Python graph, and the reading of it."""

    def __init__(self, weave: Weave) -> None:
        self.weave, self.name = weave, weave.name
        self._reading = weaves.Reading(weave)

    @property
    def shares_threads(self) -> bool:
        return True

    def input(self, chance: Random) -> dict[str, Any]:
        return {"knob": chance.randrange(10), "log": []}

    def begin(self, input: Mapping[str, Any], earlier: Moment | None) -> Moment:
        return self._reading.begin(input, earlier)

    def follow(self, at: Moment, nodes: Sequence[str]) -> Moment:
        """The moment after these nodes ran. Raises NotAllowed."""
        due = sorted(name for name, _ in at.due)
        if sorted(nodes) != due:
            raise NotAllowed(f"{sorted(nodes)} ran where {due} were due")
        return self._reading.after(at)

    def left(self, at: Moment) -> list[str]:
        return ["the input"] if at.input is not None else sorted(name for name, _ in at.due)

    def output(self, at: Moment) -> Any:
        return _comparable(at.values)

    def given(self, output: Any) -> Any:
        return _comparable(output)

    def writers(self, at: Moment) -> list[str | None]:
        if at.input is not None or at.before is None or at.before.input is not None:
            return [None]
        return [*sorted({run.name for run in at.runs})]

    def edit(self, at: Moment, node: str | None, chance: Random, same: bool) -> dict[str, Any]:
        held = {**at.values, **(at.input or {})}
        if chance.random() < 0.5 or at.input is not None:
            return {"knob": held["knob"] if same else chance.randrange(10)}
        said = dict(held.get("said", {}))
        if not same:
            said[chance.choice(sorted(self.weave.knots))] = chance.randrange(10)
        return {"said": said}

    def edited(self, at: Moment, node: str | None, changed: Mapping[str, Any]) -> Moment:
        return self._reading.edited(at, node or "__start__", changed)

    def runs(self, steps: Sequence[Any]) -> Counter[str]:
        # What a graph inside a node ran is told by that node.
        own = (step for step in steps if "/" not in step.node)
        return Counter(step.node for step in own if step.status == "completed")


def _comparable(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "log": sorted(values.get("log", [])),
        "counts": values.get("counts", {}),
        "said": values.get("said", {}),
        "knob": values.get("knob"),
    }


@dataclass
class Place:
    """What a checkpoint of a YAML job holds."""

    reading: Reread
    values: dict[str, Any]
    before: Place | None = None
    ran: tuple[str, ...] = ()
    edits: dict[str, int] = field(default_factory=dict)
    """What edits had nodes say instead, whose superstep made it."""


class Reread(shapes.Reading):
    """Nodes that an edit had say something else."""

    def __init__(self, shape: Graph) -> None:
        self.instead: dict[str, int] = {}
        super().__init__(shape)

    def follow(self, node: str, answer: int) -> None:
        said = self.instead.get(node, answer)
        if answer == FAILS and node in self.shape.errors:
            said = FAILS  # it failed all the same
        super().follow(node, said)


class Drawn:
    """A workflow in YAML, and the reading of it."""

    def __init__(self, graph: Told) -> None:
        self.graph, self.name = graph, graph.name

    @property
    def shares_threads(self) -> bool:
        return True

    def input(self, chance: Random) -> dict[str, Any]:
        return {}

    def begin(self, input: Mapping[str, Any], earlier: Any) -> Place:
        values = {f"{node}_": None for node in self.graph.nodes}
        return Place(Reread(self.graph), values)

    def follow(self, at: Place, nodes: Sequence[str]) -> Place:
        return self._ran(at, tuple(nodes), {})

    def _ran(self, at: Place, nodes: tuple[str, ...], edits: Mapping[str, int]) -> Place:
        reading, values = deepcopy(at.reading), dict(at.values)
        reading.instead = dict(edits)
        for node in nodes:
            try:
                reading.ran(node)
            except AssertionError as error:
                raise NotAllowed(str(error)) from error
            values[f"{node}_"] = self.graph.says(node)
        reading.instead = {}
        return Place(reading, values, at, nodes, dict(edits))

    def left(self, at: Place) -> list[str]:
        return at.reading.left()

    def output(self, at: Place) -> Any:
        return at.values

    def given(self, output: Any) -> Any:
        return output

    def writers(self, at: Place) -> list[str | None]:
        return list(at.ran) or [None]

    def edit(self, at: Place, node: str | None, chance: Random, same: bool) -> dict[str, Any]:
        if node is None:
            any_ = chance.choice(self.graph.nodes)
            return {f"{any_}_": at.values[f"{any_}_"] if same else chance.randrange(10)}
        held = at.values[f"{node}_"]
        changes = not same and node not in (self.graph.asks | self.graph.each)
        return {f"{node}_": chance.randrange(10) if changes else held}

    def edited(self, at: Place, node: str | None, changed: Mapping[str, Any]) -> Place:
        if node is None or at.before is None:
            return replace(at, values={**at.values, **changed})
        said = changed[f"{node}_"]
        edits = {**at.edits, node: said if isinstance(said, int) else self.graph.answers[node][0]}
        place = self._ran(at.before, at.ran, edits)
        place.values = {**at.values, **changed}
        return place

    def runs(self, steps: Sequence[Any]) -> Counter[str]:
        done = (s for s in steps if s.status == "completed" or (s.error and s.error.caught))
        return Counter(step.node for step in done if step.node in self.graph.nodes)


Kind = Woven | Drawn
