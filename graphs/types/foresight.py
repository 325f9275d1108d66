"""What of a run's state is known before it runs: its inputs, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ExpressionError
from ..expressions.templates import compile_template, inspect
from ..language.definition import Definition, Node


@dataclass(frozen=True)
class Foresight:
    """The names of a definition's state whose values are known."""

    definition: Definition
    known: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, definition: Definition, given: Mapping[str, Any]) -> Foresight:
        """What is known where `given` inputs are: those, and defaults, unless a node writes them."""
        known = {
            name: given[name] if name in given else channel.schema.get("default")
            for name, channel in definition.inputs.items()
            if (name in given or "default" in channel.schema) and not definition.writers(name)
        }
        return cls(definition, known)

    def items(self, node: Node) -> int | None:
        """Over how many items `node` runs; None if that is not known."""
        if node.each is None or not self._foresees(node.each):
            return None
        try:
            found = compile_template(node.each)(self.known)
        except ExpressionError:
            return None
        return len(found) if isinstance(found, list | Mapping) else None

    def given_by(self, node: Node) -> dict[str, Any]:
        """Those inputs of `node` that are known; the same for every item, if it has items."""
        unknown = () if node.each is None else (node.item,)
        found = {}
        for name, value in node.inputs.items():
            if self._foresees(value, unknown):
                try:
                    found[name] = compile_template(value)(self.known)
                except ExpressionError:
                    continue
        return found

    def _foresees(self, value: Any, unknown: Iterable[str] = ()) -> bool:
        uses, _ = inspect(value, ())
        names = {each.name for use in uses for each in use.expression.references}
        return names <= self.known.keys() and names.isdisjoint(unknown)
