"""Whole numbers where a schema declares `integer`: JSON's `1000.0` and `1e3` are 1000.

JSON Schema takes them for integers, and Python does not: as floats they index no list, and read
`1000.0` in a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any

from .validation import Schema, validate


def with_whole_numbers(schema: Mapping[str, Any] | None, value: Any) -> Any:
    """`value` with an int in place of each whole float that `schema` declares as an integer.

    What the schema also takes as a number stays as it is. The value itself is not changed.
    """
    if not schema or not _holds_whole_float(value):
        return value
    return _Reading(schema).value(schema, value)


def _holds_whole_float(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    if isinstance(value, Mapping):
        return any(map(_holds_whole_float, value.values()))
    return isinstance(value, list | tuple) and any(map(_holds_whole_float, value))


class _Kind(IntEnum):
    """What a schema says of numbers; the first is the narrowest."""

    NONE = 0
    """It takes no numbers."""
    INTEGER = 1
    NUMBER = 2
    ANY = 3
    """It says nothing of them."""


class _Reading:
    """Reads a schema at the places of a value; `$ref` leads into the whole schema."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def value(self, schema: Any, value: Any) -> Any:
        if isinstance(value, float):
            whole = value.is_integer() and self._kind(schema, value) is _Kind.INTEGER
            return int(value) if whole else value
        if not _holds_whole_float(value):
            return value
        if isinstance(value, Mapping):
            return {
                key: self.value(self._at(schema, key, value), item) for key, item in value.items()
            }
        return [self.value(self._at(schema, i, value), item) for i, item in enumerate(value)]

    def _kind(self, schema: Any, value: float) -> _Kind:
        kinds = {_own_kind(part, value) for part in self._parts(schema)}
        for ways in self._choices(schema):
            found = {self._kind(way, value) for way in ways} - {_Kind.NONE}
            if found:
                kinds.add(max(found))
        return min(kinds, default=_Kind.ANY)

    def _at(self, schema: Any, key: str | int, value: Any) -> Schema:
        """The schema of one member of an object or a list."""
        found = [inner for part in self._parts(schema) for inner in _inside(part, key)]
        for ways in self._choices(schema):
            members = [self._at(way, key, value) for way in self._fitting(ways, value)]
            if members:
                found.append({"anyOf": members})
        return {"allOf": found}

    def _fitting(self, ways: list[Any], value: Any) -> list[Any]:
        """The choices that the whole value fits, or all where it fits none."""
        kept = {key: self._root[key] for key in ("$defs", "definitions") if key in self._root}
        known = [way for way in ways if isinstance(way, Mapping)]
        if len(known) < 2:
            return known
        return [way for way in known if not validate({**way, **kept}, value)] or known

    def _parts(self, schema: Any) -> Iterator[Mapping[str, Any]]:
        """The schema, and what `$ref` and `allOf` add to it; each once."""
        waiting, seen = [schema], set[int]()
        while waiting:
            part = waiting.pop()
            if not isinstance(part, Mapping) or id(part) in seen:
                continue
            seen.add(id(part))
            yield part
            waiting += part.get("allOf") or ()
            if isinstance(part.get("$ref"), str):
                waiting.append(self._target_of(part["$ref"]))

    def _choices(self, schema: Any) -> Iterator[list[Any]]:
        for part in self._parts(schema):
            for keyword in ("anyOf", "oneOf"):
                if isinstance(part.get(keyword), list):
                    yield part[keyword]

    def _target_of(self, reference: str) -> Any:
        found: Any = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                step = step.replace("~1", "/").replace("~0", "~")
                found = found.get(step) if isinstance(found, Mapping) else None
        return found


def _own_kind(schema: Mapping[str, Any], value: float) -> _Kind:
    """What a schema says by its own `type`, `enum` or `const`."""
    declared = schema.get("type")
    types = [declared] if isinstance(declared, str) else declared
    if isinstance(types, list):
        if "number" in types:
            return _Kind.NUMBER
        return _Kind.INTEGER if "integer" in types else _Kind.NONE
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(listed, list):
        return _Kind.ANY
    same = {type(one) for one in listed if not isinstance(one, bool) and one == value}
    if float in same:
        return _Kind.NUMBER
    return _Kind.INTEGER if int in same else _Kind.NONE


def _inside(schema: Mapping[str, Any], key: str | int) -> Iterator[Any]:
    """What one schema says of a member; nothing of one that it does not know."""
    if isinstance(key, int):
        first = schema.get("prefixItems") or []
        inner = first[key] if key < len(first) else schema.get("items")
        if inner is not None:
            yield inner
        return
    named = (schema.get("properties") or {}).get(key)
    found = [] if named is None else [named]
    for pattern, inner in (schema.get("patternProperties") or {}).items():
        if re.search(pattern, key):
            found.append(inner)
    other = schema.get("additionalProperties")
    if not found and other is not None:
        found.append(other)
    yield from found
