"""What is known of a value before it is there: its JSON Schema, as far as one is declared.

Never wrong, often silent: what a schema does not say in plain words is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ucop.agents.text.validation import Problem, validate

Schema = Mapping[str, Any]

_WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


@dataclass(frozen=True)
class Shape:
    """A schema, inside the one that holds its `$defs`."""

    schema: Schema
    root: Schema
    closed: bool = False
    """Whether fields that are not listed do not exist, even if the schema is silent: pydantic
    leaves them out of what a function returned."""

    @classmethod
    def of(cls, schema: Any) -> Shape | None:
        """The shape that a schema declares; None if it declares nothing."""
        return cls(schema, schema) if isinstance(schema, Mapping) and schema else None

    def resolved(self) -> Shape:
        """The shape that a `$ref` leads to."""
        shape, seen = self, 0
        while (target := shape._target()) is not None and seen < 20:
            shape, seen = Shape(target, self.root, self.closed), seen + 1
        return shape

    @property
    def types(self) -> frozenset[str] | None:
        """The names of the types it allows; None if it does not say."""
        schema = self.resolved().schema
        declared = schema.get("type")
        if isinstance(declared, str):
            return frozenset({declared})
        if isinstance(declared, list):
            return frozenset(name for name in declared if isinstance(name, str))
        choices = schema.get("anyOf") or schema.get("oneOf")
        if isinstance(choices, list) and "allOf" not in schema:
            return self._choices(choices)
        if isinstance(schema.get("enum"), list):
            return frozenset(map(type_of, schema["enum"]))
        return frozenset({type_of(schema["const"])}) if "const" in schema else None

    def field(self, name: str | int) -> Shape | str | None:
        """The shape of a field or item; a text that says why there is none; None if unknown."""
        shape = self.resolved()
        types = shape.types
        wanted = "array" if isinstance(name, int) else "object"
        if types is not None and wanted not in types:
            return f"is {words(types)}"
        if isinstance(name, int):
            return Shape.inside(shape, shape.schema.get("items"))
        if "anyOf" in shape.schema or "oneOf" in shape.schema or "allOf" in shape.schema:
            return None
        return shape._property(name)

    def items(self) -> Shape | None:
        """The shape of what `each` would go over."""
        shape = self.resolved()
        items = shape.schema.get("items")
        if items is None and shape.types == frozenset({"object"}):
            items = shape.schema.get("additionalProperties")
            if shape.schema.get("properties"):
                return None
        return Shape.inside(shape, items)

    def item(self) -> Shape | None:
        """The shape of a list's items."""
        return Shape.inside(self, self.schema.get("items"))

    def parts(self, keyword: str) -> list[Shape]:
        """The members under `anyOf`, `oneOf` or `allOf`; one that says nothing allows anything."""
        members = self.schema.get(keyword)
        if not isinstance(members, list):
            return []
        return [
            Shape(part if isinstance(part, Mapping) else {}, self.root, self.closed)
            for part in members
        ]

    def problems(self, value: Any) -> list[Problem]:
        """What in a value does not fit."""
        from referencing.exceptions import Unresolvable

        kept = {key: self.root[key] for key in ("$defs", "definitions") if key in self.root}
        try:
            return validate({**self.schema, **kept}, value)
        except Unresolvable:  # a $ref to elsewhere in the whole schema
            return []

    def among(self, kind: str) -> Shape:
        """The only member of a union that allows a type; itself where there is not just one."""
        members = self.parts("anyOf") or self.parts("oneOf")
        fit = [one for one in members if one.types is None or kind in one.types]
        return fit[0].resolved() if len(fit) == 1 else self

    @property
    def refuses_others(self) -> bool:
        """Whether a field that is not listed is an error here."""
        return self.resolved().schema.get("additionalProperties") is False

    @staticmethod
    def inside(shape: Shape, schema: Any) -> Shape | None:
        """The shape of a part of `shape`."""
        known = isinstance(schema, Mapping) and bool(schema)
        return Shape(schema, shape.root, shape.closed) if known else None

    def _property(self, name: str) -> Shape | str | None:
        properties = self.schema.get("properties")
        if isinstance(properties, Mapping) and name in properties:
            return Shape.inside(self, properties[name])
        additional = self.schema.get("additionalProperties")
        closed = additional is False or (additional is None and self.closed)
        closed = closed and "patternProperties" not in self.schema
        if closed and isinstance(properties, Mapping):
            return f"has no {name!r}"
        return Shape.inside(self, additional) if not properties else None

    def _choices(self, choices: Sequence[Any]) -> frozenset[str] | None:
        found: set[str] = set()
        for choice in choices:
            inner = Shape.inside(self, choice)
            types = inner.types if inner else None
            if types is None:
                return None
            found |= types
        return frozenset(found)

    def _target(self) -> Schema | None:
        reference = self.schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        target: Any = self.root
        for step in reference[2:].split("/"):
            if not isinstance(target, Mapping) or step not in target:
                return None
            target = target[step]
        return target if isinstance(target, Mapping) else None


def type_of(value: Any) -> str:
    """The name of a JSON value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "object")


def words(types: frozenset[str]) -> str:
    """Types as people say them."""
    return " or ".join(_WORDS.get(name, name) for name in sorted(types))


def can_fit(given: frozenset[str] | None, wanted: frozenset[str] | None) -> bool:
    """Whether a value of the given types may be one of the wanted ones."""
    if given is None or wanted is None:
        return True
    numbers = {"integer", "number"}
    return bool(given & wanted) or bool(given & numbers and wanted & numbers)
