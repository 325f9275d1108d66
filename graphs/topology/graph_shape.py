"""What a graph of LangGraph looks like: its nodes, what leads where, and what goes in.

A StateGraph tells all of that. What `@entrypoint` makes, and a Pregel that was put together by
hand, have no edges: a node of theirs begins when a channel is written that it hears of.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import typing_extensions

from .reachability import targets_of
from .topology import reach
from .wiring import Wiring, wiring_of

START = "__start__"


class GraphShape:
    """Read from a compiled graph."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.builder = getattr(graph, "builder", None)

    @cached_property
    def wiring(self) -> Wiring:
        if self.builder is not None:
            return wiring_of(self.builder)
        nodes = frozenset({START, *self.graph.nodes})
        if self.is_function:
            (name,) = self.graph.nodes
            none: frozenset[Any] = frozenset()
            return Wiring(nodes=nodes, edges=frozenset({(START, name)}), joins=none, anywhere=none)
        return Wiring(nodes=nodes, edges=frozenset(), joins=frozenset(), anywhere=nodes)

    @property
    def is_function(self) -> bool:
        """Whether it is what `@entrypoint` makes of a function."""
        names = set(self.graph.channels)
        return (
            self.builder is None
            and len(self.graph.nodes) == 1
            and {START, "__end__", "__previous__"} <= names
        )

    def to_json(self) -> dict[str, Any]:
        """What the fingerprint is made of. Code inside nodes is not seen."""
        builder = self.builder
        if builder is None:
            return {
                "nodes": sorted(self.graph.nodes),
                "triggers": {n: sorted(node.triggers) for n, node in self.graph.nodes.items()},
                "wiring": self.wiring.to_json(),
                "channels": sorted(map(str, self.graph.channels)),
            }
        return {
            "nodes": sorted(builder.nodes),
            "edges": sorted(map(list, builder.edges)),
            "waiting": sorted([sorted(starts), end] for starts, end in builder.waiting_edges),
            "branches": sorted([node, sorted(named)] for node, named in builder.branches.items()),
            "wiring": self.wiring.to_json(),
            "channels": sorted(map(str, builder.channels)),
        }

    @cached_property
    def nodes(self) -> list[str]:
        """In an order that the edges allow."""
        if self.builder is None:
            return sorted(self.graph.nodes)
        joins = [(start, end) for starts, end in self.builder.waiting_edges for start in starts]
        edges = targets_of((*self.builder.edges, *joins))
        return sorted(self.builder.nodes, key=lambda node: -len(reach(node, edges)))

    @property
    def branches(self) -> Mapping[str, Any]:
        """The conditional edges by the node that they leave."""
        return self.builder.branches if self.builder is not None else {}

    @property
    def edges(self) -> Any:
        return self.builder.edges if self.builder is not None else set()

    @property
    def takes_values(self) -> bool:
        """Whether what goes in is an object with a name for each value."""
        if self.builder is not None:
            return "__root__" not in self.builder.schemas[self.builder.input_schema]
        return not isinstance(self.graph.input_channels, str)

    @cached_property
    def input_type(self) -> Any:
        """What its input is declared as; Any if that is not told."""
        if self.builder is not None:
            return self.builder.input_schema
        if not self.is_function:
            return Any
        (node,) = self.graph.nodes.values()
        declared = self.graph.channels[START].typ
        return _resolve(node.bound, declared) if isinstance(declared, str) else declared

    @cached_property
    def context_schema(self) -> Any:
        return getattr(self.graph, "context_schema", None)


def _resolve(bound: Any, declared: str) -> Any:
    """A type that was written as a text (`from __future__ import annotations`)."""
    function = getattr(bound, "func", None) or getattr(bound, "afunc", None)
    try:
        hints = typing_extensions.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001 - a name that is not there at run time
        return Any
    names = [name for name in hints if name != "return"]
    return hints[names[0]] if names else Any
