"""What a name of the state, an item of `each` or an expression will be: its shape, if known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ucop.graphs.definition import Definition, Merge, Node
from ucop.graphs.references import Readings
from ucop.graphs.shapes import Shape
from ucop.graphs.templates import Use

if TYPE_CHECKING:
    from ucop.agents.spec import Agent


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

    def of_name(self, name: str) -> Shape | None:
        """The shape of a name of the state."""
        channel = self.definition.channels[name]
        if channel.schema:
            return Shape.of(channel.schema)
        writers = list(self.definition.writers(name))
        if channel.merge is not Merge.replace or len(writers) != 1:
            return None
        return self.of_answer(writers[0])

    def of_answer(self, node: Node) -> Shape | None:
        """The shape of what a node writes."""
        schema, closed = self._answered(node)
        if schema is None:
            return None
        if node.each is None:
            return Shape(schema, schema, closed) if schema else None
        uses = self.readings.each[node.name]
        types = self.types_of(uses[0], None) if len(uses) == 1 else None
        if types is None or len(types - {"null"}) != 1:
            return None
        root = {"$defs": schema.get("$defs", {})}
        if node.catches:
            schema = {}  # null stands where an item failed
        if "array" in types:
            return Shape({"type": "array", "items": schema}, root, closed)
        return Shape({"type": "object", "additionalProperties": schema}, root, closed)

    def _answered(self, node: Node) -> tuple[Mapping[str, Any] | None, bool]:
        """The schema of one answer, and whether fields that it does not list do not exist."""
        if node.ask is not None:
            return node.answer, False
        agent = self.agents.get(node.agent)
        if agent is None:
            return None, False
        text: Mapping[str, Any] = {"type": "string"}
        return (text if agent.output_schema is None else agent.output_schema), agent.spec is None

    def of_item(self, node: Node) -> Shape | None:
        """The shape of one item of a node's `each`."""
        uses = self.readings.each[node.name]
        shape = self.of_use(uses[0], None) if len(uses) == 1 else None
        return shape.items() if shape else None

    def of_use(self, use: Use, item: Node | None) -> Shape | None:
        """The shape of what a plain path gives; `item` is the node whose item it may name."""
        if not use.expression.plain:
            return None
        (reference,) = use.expression.references
        if item is not None and item.each is not None and reference.name == item.item:
            shape = self.of_item(item)
        elif reference.name in self.definition.channels and reference.name not in self._open:
            self._open.add(reference.name)
            shape = self.of_name(reference.name)
            self._open.discard(reference.name)
        else:
            return None
        for step in reference.path[1:]:
            found = shape.field(step) if shape else None
            shape = found if isinstance(found, Shape) else None
        return shape

    def types_of(self, use: Use, item: Node | None) -> frozenset[str] | None:
        """The types that `use` may have; None if unknown."""
        shape = self.of_use(use, item)
        return shape.types if shape else None
