"""What a name of the state, an item of `each` or an expression will be: its shapes, if known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ucop.agents.text.schema import fields_schema

from ..expressions.templates import Use
from ..language.definition import Channel, Definition, Merge, Node
from .deduction import Deduction
from .guess import Guess, Kinds, descend
from .references import Readings
from .shapes import Shape

if TYPE_CHECKING:
    from ucop.agents.spec.agent import Agent

NULL = Shape({"const": None}, {})
DEEPEST = 25
"""Names whose shapes follow from one another; past this nothing more is said."""


class Deduced(NamedTuple):
    """An expression, followed through its types."""

    guess: Guess
    told: Deduction


class Inference:
    """Follows types along the references of one definition."""

    def __init__(
        self, definition: Definition, readings: Readings, agents: Mapping[str, Agent]
    ) -> None:
        self.definition = definition
        self.readings = readings
        self.agents = agents
        self._open: set[str] = set()
        """Names whose shape is being found: a loop's node may go over its own answer."""
        self._known: dict[str, Shape | None] = {}
        self._deduced: dict[tuple[str, str | None], Deduced] = {}

    def of_name(self, name: str) -> Shape | None:
        """The shape of a name of the state, once something was written."""
        if name in self._known:
            return self._known[name]
        if name in self._open or len(self._open) > DEEPEST:
            return None
        self._open.add(name)
        found = self._shape(self.definition.channels[name])
        self._open.discard(name)
        if not self._open:
            self._known[name] = found
        return found

    def _shape(self, channel: Channel) -> Shape | None:
        if channel.schema:
            return Shape.of(_kept_by(channel))
        writers = list(self.definition.writers(channel.name))
        if channel.merge is not Merge.replace or len(writers) != 1:
            return None
        return self.of_answer(writers[0])

    def of_answer(self, node: Node) -> Shape | None:
        """The shape of what a node writes."""
        schema, closed = self._schema_of_answer(node)
        if schema is None:
            return None
        if node.each is None:
            return Shape(schema, schema, closed) if schema else None
        types = self.types_of_each(node)
        if types is None or len(types - {"null"}) != 1:
            return None
        root = {"$defs": schema.get("$defs", {})}
        if node.catches:
            schema = {}  # null stands where an item failed
        if "array" in types:
            return Shape({"type": "array", "items": schema}, root, closed)
        return Shape({"type": "object", "additionalProperties": schema}, root, closed)

    def types_of_each(self, node: Node) -> frozenset[str] | None:
        """The types of what a node's `each` goes over; None if unknown."""
        uses = self.readings.each[node.name]
        return self.types_of(uses[0], None) if len(uses) == 1 else None

    def _schema_of_answer(self, node: Node) -> tuple[Mapping[str, Any] | None, bool]:
        """The schema of one answer, and whether fields that it does not list do not exist."""
        if node.ask is not None:
            return node.answer, False
        if node.mesh is not None:
            return self._schema_of_mesh(node), False
        agent = self.agents.get(node.agent)
        if agent is None:
            return None, False
        text: Mapping[str, Any] = {"type": "string"}
        return (text if agent.output_schema is None else agent.output_schema), agent.spec is None

    def _schema_of_mesh(self, node: Node) -> Mapping[str, Any]:
        first = self.called(node)
        answer: Mapping[str, Any] = {}
        if first is not None:
            told = first.output_schema
            answer = {"type": "string"} if told is None else told
        shared = {key: answer[key] for key in ("$defs",) if key in answer}
        hops = {"type": "integer", "minimum": 1}
        path = {"type": "array", "items": {"type": "object"}}
        return {
            **fields_schema({"answer": dict(answer), "hops": hops, "path": path}),
            **shared,
        }

    def called(self, node: Node) -> Agent | None:
        """The agent that a node gives its inputs to; None if it is another kind of node, or where
        a router chooses among several."""
        if node.mesh is None:
            return self.agents.get(node.agent)
        if node.mesh.entry_capability is None:
            return self.agents.get(node.mesh.entry)
        able = [
            self.agents[name]
            for name in node.mesh.agents
            if node.mesh.entry_capability in self.agents[name].capabilities
        ]
        return able[0] if len(able) == 1 else None

    def of_item(self, node: Node) -> Shape | None:
        """The shape of one item of a node's `each`."""
        uses = self.readings.each[node.name]
        kinds = self.of_use(uses[0], None) if len(uses) == 1 else ()
        return kinds[0].items() if len(kinds) == 1 else None

    def of_use(self, use: Use, item: Node | None) -> Kinds:
        """The kinds of what an expression gives; `item` is the node whose item it may name."""
        if not use.expression.plain:
            return self.deduce(use, item).guess.kinds
        (reference,) = use.expression.references
        return self._look_up(item, reference.path)

    def types_of(self, use: Use, item: Node | None) -> frozenset[str] | None:
        """The types that an expression may have; None if unknown."""
        return Guess(self.of_use(use, item)).types

    def deduce(self, use: Use, item: Node | None) -> Deduced:
        """Follow the types through an expression."""
        source, name = use.expression.source, item.name if item else None
        if (known := self._deduced.get((source, name))) is not None:
            return known
        told = Deduction(source, partial(self._look_up, item, nullable=True))
        found = Deduced(told.run(), told)
        if not self._open:
            self._deduced[(source, name)] = found
        return found

    def _look_up(
        self, item: Node | None, path: tuple[str | int, ...], *, nullable: bool = False
    ) -> Kinds:
        """The kinds of a path; `nullable` counts what is there before anything is written."""
        name = str(path[0])
        if item is not None and item.each is not None and name == item.item:
            shape = self.of_item(item)
        elif name in self.definition.channels:
            shape = self.of_name(name)
        else:
            return ()
        if shape is None:
            return ()
        if nullable and len(path) == 1 and self._may_be_null(name):
            return (shape, NULL)
        return descend((shape,), path[1:])

    def _may_be_null(self, name: str) -> bool:
        if name not in self.definition.channels:
            return False
        return name not in self.definition.inputs or bool(self.definition.writers(name))


def _kept_by(channel: Channel) -> Mapping[str, Any]:
    """What surely holds of a channel's value: a merge does not heed bounds, unless it is the
    project's own, whose results are checked."""
    if channel.merge in (Merge.replace, Merge.custom):
        return channel.schema
    heeded = ("type", "items", "$defs", "definitions")
    return {key: channel.schema[key] for key in heeded if key in channel.schema}
