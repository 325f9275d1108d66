"""Random graphs, composed of the parts that graphs of the corpus are made of.

A graph is a row of layers. Nodes of one layer run in one superstep, so that what runs at the same
time is known; only where a node is alone may it fail, for who else had finished would be chance.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt
from typing_extensions import TypedDict

from tests.twins.nodes import Log, adoes, does, merged
from tests.twins.twin import Twin
from tests.twins.witness import asaw, saw

QUICK = RetryPolicy(
    initial_interval=0.001, max_interval=0.002, jitter=False, max_attempts=3, retry_on=Exception
)

QUIET = (
    "does",
    "adoes",
    "asks",
    "asks twice",
    "asks in sync",
    "inside",
    "invokes",
    "invokes in sync",
    "is retried",
    "is handled",
)
"""Kinds of nodes that may run beside others."""

ALONE = (*QUIET, "writes", "fails once", "fails twice")
"""Those of a superstep that may fail: nothing else runs then."""

CALLED_IN_SYNC = ("does", "inside", "asks in sync", "invokes in sync")
"""Kinds of nodes of a graph that is called by `invoke`."""

BATCH = 100
"""Recipes that are drawn at once: Hypothesis varies what it drew before."""


class Merged(TypedDict, total=False):
    """What several graphs may give at the same time."""

    log: Annotated[list[str], operator.add]
    said: Annotated[dict[str, Any], merged]
    total: Annotated[int, operator.add]


@dataclass(frozen=True)
class Part:
    """A node."""

    kind: str
    inside: tuple[Layer, ...] = ()
    """The graph that it is or calls, where it does."""


@dataclass(frozen=True)
class Layer:
    parts: tuple[Part, ...]
    entry: str
    """How the layer before leads here: `edges` (each to each), `join` (a waiting edge),
    `condition` (of the state), `sends` (each part once for each item), `commands`."""
    items: int = 1
    """Of a fan-out."""
    defer: bool = False


@dataclass(frozen=True)
class Recipe:
    layers: tuple[Layer, ...]
    loop: int = 0
    """How often it goes back from the last layer to the first."""
    stop: str = ""
    """`before` or `after`: a breakpoint at the middle layer's first node."""


def _layers(depth: int, alone: bool, in_sync: bool = False) -> st.SearchStrategy[tuple[Layer, ...]]:
    """`alone`: nothing runs beside this graph; `in_sync`: it is called by `invoke`."""
    layers = _layer(depth, alone, in_sync)
    return st.lists(layers, min_size=1, max_size=3 if depth == 0 else 2).map(tuple)


@st.composite
def _layer(draw: Any, depth: int, alone: bool, in_sync: bool) -> Layer:
    width = draw(st.sampled_from([1, 1, 1, 2, 2, 3]))
    entry = draw(st.sampled_from(["edges", "edges", "join", "condition", "sends", "commands"]))
    single = alone and width == 1 and entry != "sends"
    kinds = set(CALLED_IN_SYNC if in_sync else QUIET)
    if single:
        kinds.update(ALONE)
    elif alone and not in_sync:
        kinds.add("writes")  # two at once fail when all of them have ended
    parts = tuple(draw(_part(depth, single, in_sync, kinds)) for _ in range(width))
    defer = entry in ("edges", "join") and draw(st.integers(0, 5)) == 0
    return Layer(parts, entry, draw(st.integers(0, 3)) if entry == "sends" else 1, defer)


@st.composite
def _part(draw: Any, depth: int, alone: bool, in_sync: bool, kinds: set[str]) -> Part:
    if depth == 2:
        kinds = {kind for kind in kinds if not kind.startswith(("inside", "invokes"))}
    kind = draw(st.sampled_from(sorted(kinds)))
    nested = kind.startswith(("inside", "invokes"))
    in_sync = in_sync or kind == "invokes in sync"
    return Part(kind, draw(_layers(depth + 1, alone, in_sync)) if nested else ())


@st.composite
def recipes(draw: Any) -> Recipe:
    """Recipes of graphs."""
    layers = draw(_layers(0, True))
    loop = draw(st.sampled_from([0, 0, 0, 1, 2]))
    return Recipe(layers, loop, draw(st.sampled_from(["", "", "", "before", "after"])))


def twin_of(recipe: Recipe, name: str) -> Twin:
    return Twin(
        name=name,
        build=lambda: built(recipe),
        feature="generated",
        input={"log": [], "count": 0, "total": 0},
        retries=4,
        rests=16,
        parallel=True,
    )


def drawn(number: int, at: int) -> Iterator[list[Recipe]]:
    """So many recipes in batches, the same ones for the same seed."""
    for first in range(0, number, BATCH):
        yield _batch(min(number - first, BATCH), at + first)


def _batch(number: int, at: int) -> list[Recipe]:
    found: list[Recipe] = []

    @seed(at)
    @settings(
        max_examples=number,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(recipes())
    def every(recipe: Recipe) -> None:
        found.append(recipe)

    every()
    return found


def built(recipe: Recipe) -> Any:
    graph = StateGraph(Log)
    rows = _wired(graph, recipe.layers, "")
    last = rows[-1]
    if recipe.loop:
        graph.add_node("turn", lambda state: {"count": state.get("count", 0) + 1})
        for name in last:
            graph.add_edge(name, "turn")

        def back(state: Any) -> Any:
            return "again" if state["count"] <= recipe.loop else END

        graph.add_node("again", lambda state: {"text": "again"})
        graph.add_conditional_edges("turn", back, ["again", END])
        _lead(graph, ["again"], recipe.layers[0], rows[0])
    middle = rows[len(rows) // 2][:1]
    stops: dict[str, Any] = {f"interrupt_{recipe.stop}": middle} if recipe.stop else {}
    return graph.compile(**stops)


def _wired(graph: StateGraph[Any], layers: Sequence[Layer], path: str) -> list[list[str]]:
    """The names of each layer's nodes, which are there and wired up then."""
    rows = []
    before: list[str] = [START]
    for depth, layer in enumerate(layers):
        names = [f"n{depth}{'abc'[number]}" for number in range(len(layer.parts))]
        for name, part in zip(names, layer.parts, strict=True):
            terms: dict[str, Any] = {"retry_policy": QUICK} if part.kind == "is retried" else {}
            if part.kind == "is handled":
                terms["error_handler"] = does(f"{path}{name} handler")
            node = _node(part, f"{path}{name}")
            graph.add_node(name, node, defer=layer.defer, **terms)
        _lead(graph, before, layer, names)
        rows.append(names)
        before = names
    return rows


def _lead(graph: StateGraph[Any], before: list[str], layer: Layer, names: list[str]) -> None:
    match layer.entry:
        case "join" if len(before) > 1:
            for name in names:
                graph.add_edge(before, name)
        case "condition":
            for source in before:
                graph.add_conditional_edges(source, _chooser(names), names)
        case "sends":
            graph.add_conditional_edges(before[0], _fan_out(names, layer.items), names)
        case "commands" if before != [START] and before != ["again"]:
            go = f"go {names[0]}"
            graph.add_node(go, lambda state: Command(goto=names), destinations=tuple(names))
            for source in before:
                graph.add_edge(source, go)
        case _:
            for source in before:
                for name in names:
                    graph.add_edge(source, name)


def _fan_out(names: list[str], items: int) -> Callable[[Any], list[Send]]:
    """Items of a fan-out inside another one name both, so that no two questions read alike: it
    would be chance which of them is answered first."""

    def sends(state: Any) -> list[Send]:
        around = state.get("item")
        within = "" if around is None else f"{around}."
        return [Send(n, {"item": f"{within}{i}", "log": []}) for i in range(items) for n in names]

    return sends


def _chooser(names: list[str]) -> Callable[[Any], list[str]]:
    def choose(state: Any) -> list[str]:
        return names if len(state.get("log", [])) % 2 else names[:1]

    return choose


def _node(part: Part, label: str) -> Any:
    match part.kind:
        case "does":
            return does(label, total=1)
        case "adoes":
            return adoes(label, said={label: True})
        case "writes":
            return adoes(label, items=[label, {"a": [1, None]}])
        case "asks" | "asks twice":
            return _asks(label, 2 if part.kind == "asks twice" else 1)
        case "asks in sync":
            return _asks_in_sync(label)
        case "inside":
            return _inner(part, label)
        case "invokes":
            return _invokes(_inner(part, label), label)
        case "invokes in sync":
            return _invokes_in_sync(_inner(part, label), label)
        case "fails once" | "is retried":
            return _fails(label, 1)
        case "fails twice":
            return _fails(label, 2)
        case "is handled":
            return _fails(label, 99)
    raise AssertionError(part.kind)


def _inner(part: Part, label: str) -> Any:
    graph = StateGraph(Log, output_schema=Merged)
    _wired(graph, part.inside, f"{label}/")
    return graph.compile()


def _asks(label: str, times: int) -> Any:
    async def node(state: Any) -> dict[str, Any]:
        await asaw(label)
        item = state.get("item")
        answers = [interrupt(f"{label} {item} {n}?") for n in range(times)]
        await asaw(f"{label} answered")
        return {"log": [f"{label} {answers}"]}

    return node


def _asks_in_sync(label: str) -> Any:
    def node(state: Any) -> dict[str, Any]:
        saw(label)
        item = state.get("item")
        return {"log": [f"{label} {interrupt(f'{label} {item}?')}"]}

    return node


def _invokes(inner: Any, label: str) -> Any:
    async def node(state: Any) -> dict[str, Any]:
        await asaw(label)
        found = await inner.ainvoke({"log": [], "item": state.get("item")})
        await asyncio.sleep(0)
        return {"log": [label, *found["log"]]}

    return node


def _invokes_in_sync(inner: Any, label: str) -> Any:
    def node(state: Any) -> dict[str, Any]:
        saw(label)
        given = {"log": [], "item": state.get("item")}
        return {"log": [label, *inner.invoke(given)["log"]]}

    return node


def _fails(label: str, times: int) -> Any:
    async def node(state: Any) -> dict[str, Any]:
        if await asaw(label) <= times:
            raise OSError(f"{label} fails")
        return {"log": [label]}

    return node
