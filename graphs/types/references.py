"""Which expressions a definition has, where each is evaluated, and the edges that follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..expressions.cel import Reference
from ..expressions.templates import Fault, Use, inspect, inspect_expression
from ..language.definition import END, ERRORS, START, Definition, Entry, Node, Route


class Condition(NamedTuple):
    """A `when`, with the edge it stands at."""

    route: Route
    entry: Entry
    use: Use


@dataclass(frozen=True)
class Readings:
    """Everything that a definition reads."""

    inputs: Mapping[str, Sequence[Use]]
    """By node, the expressions of its `with` or its question."""
    each: Mapping[str, Sequence[Use]]
    """By node, the expression of its `each`."""
    conditions: Sequence[Condition]
    output: Sequence[Use]
    faults: Sequence[Fault]

    def of_node(self, node: str) -> Iterator[Use]:
        """All expressions of one node."""
        yield from self.each.get(node, ())
        yield from self.inputs.get(node, ())

    @property
    def names(self) -> frozenset[str]:
        """Every name that anything refers to."""
        uses = [use for node in self.inputs for use in self.of_node(node)]
        uses += [condition.use for condition in self.conditions] + list(self.output)
        return frozenset(r.name for use in uses for r in use.expression.references)


def read_references(definition: Definition) -> Readings:
    """Compile every expression of the definition."""
    faults: list[Fault] = []
    inputs: dict[str, list[Use]] = {}
    each: dict[str, list[Use]] = {}
    for node in definition.nodes.values():
        inputs[node.name], wrong = inspect(node.inputs, (*node.path, "with"))
        faults += wrong
        asked, wrong = inspect(node.ask, (*node.path, "ask"))
        inputs[node.name] += asked
        faults += wrong
        each[node.name], wrong = inspect(node.each, (*node.path, "each"))
        faults += wrong
    conditions = list(_conditions(definition, faults))
    output, wrong = inspect(definition.output, ("output",))
    return Readings(inputs, each, conditions, output, [*faults, *wrong])


def derive_routes(
    definition: Definition, readings: Readings
) -> tuple[tuple[Route, ...], list[tuple[Node, str]]]:
    """The edges that references make, and the names that have no single writer.

    A node runs after the writers of what it reads; one that reads nothing runs at the start,
    and one that nobody reads leads to END.
    """
    ambiguous = [
        (node, name) for name in definition.written for node in list(definition.writers(name))[1:]
    ]
    routes: list[Route] = []
    read: set[str] = set()
    for node in definition.nodes.values():
        before = dict.fromkeys(
            (source, use.path)
            for use in readings.of_node(node.name)
            for reference in use.expression.references
            if not (node.each is not None and reference.name == node.item)
            for source in _sources(definition, reference)
        )
        sources = dict(reversed(before))
        read.update(sources)
        for source, path in sources.items() or [(START, node.path)]:
            routes.append(Route(source=source, entries=(Entry(target=node.name, path=path),)))
    last = [name for name in definition.nodes if name not in read]
    routes += [Route(source=name, entries=(Entry(target=END),)) for name in last]
    return tuple(routes), ambiguous


def _sources(definition: Definition, reference: Reference) -> Iterator[str]:
    """The nodes that must have run before `reference` can be read."""
    yield from (writer.name for writer in definition.writers(reference.name))
    if reference.name == ERRORS and len(reference.path) > 1:
        yield from (name for name in definition.catching if name == reference.path[1])


def _conditions(definition: Definition, faults: list[Fault]) -> Iterator[Condition]:
    for route in definition.routes:
        for entry in route.entries:
            if entry.when is None:
                continue
            uses, wrong = inspect_expression(entry.when, (*entry.path, "when"))
            faults += wrong
            for use in uses:
                yield Condition(route, entry, use)
