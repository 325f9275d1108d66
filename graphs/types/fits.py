"""Whether a value of one shape can ever be one of another.

Sound, not complete: a misfit is told only if nothing that the one allows is allowed by the
other (of lists: nothing but the empty one). What is not said in plain words is no misfit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ucop.agents.text.places import Path

from .shapes import Shape, can_fit, type_of, words

MOST_COMPARISONS = 2_000
"""Unions multiply; past this nothing more is said."""
DEEPEST = 20
"""Schemas may refer to themselves."""


class Misfit(NamedTuple):
    """Why no value fits, and at which field or item."""

    path: Path
    why: str


def misfit(given: Sequence[Shape], wanted: Shape) -> Misfit | None:
    """Why nothing that any of `given` allows is allowed by `wanted`."""
    comparison = _Comparison()
    found = [comparison.compare(shape, wanted, ()) for shape in given]
    return found[0] if found and all(found) else None


def values_of(shape: Shape) -> list[Any] | None:
    """All values that it allows, where it lists them."""
    schema = shape.resolved().schema
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    return None


@dataclass
class _Comparison:
    left: int = MOST_COMPARISONS
    rules: tuple[Callable[[Shape, Shape, Path], Misfit | None], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.rules = (_types, _values, _lengths, self.members, self.items, self.fields)

    def compare(self, given: Shape, wanted: Shape, path: Path) -> Misfit | None:
        self.left -= 1
        if self.left < 0 or len(path) > DEEPEST:
            return None
        given, wanted = given.resolved(), wanted.resolved()
        return next((found for rule in self.rules if (found := rule(given, wanted, path))), None)

    def members(self, given: Shape, wanted: Shape, path: Path) -> Misfit | None:
        """Unions: no member of the one may fit a member of the other."""
        for every in (given.parts("anyOf"), given.parts("oneOf")):
            found = [self.compare(part, wanted, path) for part in every]
            if found and all(found):
                return found[0]
        for every in (wanted.parts("anyOf"), wanted.parts("oneOf")):
            found = [self.compare(given, part, path) for part in every]
            if found and all(found):
                return _common(found, given, wanted, path)
        pairs = [(part, wanted) for part in given.parts("allOf")]
        pairs += [(given, part) for part in wanted.parts("allOf")]
        return self.first((one, other, path) for one, other in pairs)

    def items(self, given: Shape, wanted: Shape, path: Path) -> Misfit | None:
        if not (_is_only("array", given) and _is_only("array", wanted)):
            return None
        most, least = given.schema.get("maxItems"), wanted.schema.get("minItems")
        if _below(most, least):
            return Misfit(path, f"has at most {most} items, and at least {least} are needed")
        if most == 0 or "prefixItems" in given.schema or "prefixItems" in wanted.schema:
            return None
        one, other = given.item(), wanted.item()
        return self.compare(one, other, (*path, 0)) if one and other else None

    def fields(self, given: Shape, wanted: Shape, path: Path) -> Misfit | None:
        if not (_is_only("object", given) and _is_only("object", wanted)):
            return None
        needed = _required_names(wanted)
        for name in needed:
            if "default" in _property(wanted, name):
                continue
            if isinstance(given.field(name), str):
                return Misfit(path, f"has no {name!r}, which is needed")
        for name in _required_names(given):
            if isinstance(wanted.field(name), str) and wanted.refuses_others:
                return Misfit(path, f"has a {name!r}, which is not expected")
        common = dict.fromkeys([*needed, *_required_names(given)])
        return self.first(
            (one, other, (*path, name))
            for name in common
            if isinstance(one := given.field(name), Shape)
            and isinstance(other := wanted.field(name), Shape)
        )

    def first(self, pairs: Iterator[tuple[Shape, Shape, Path]]) -> Misfit | None:
        return next((found for pair in pairs if (found := self.compare(*pair))), None)


def _types(given: Shape, wanted: Shape, path: Path) -> Misfit | None:
    one, other = given.types, wanted.types
    if one is None or other is None or can_fit(one, other):
        return None
    return Misfit(path, f"must be {words(other)}, and this is {words(one)}")


def _values(given: Shape, wanted: Shape, path: Path) -> Misfit | None:
    values = values_of(given)
    if values is not None:
        problems = [wanted.problems(value) for value in values]
        if problems and all(problems):
            said = problems[0][0]
            return Misfit((*path, *said.path), said.message)
        return None
    allowed = values_of(wanted)
    if allowed is None:
        return None
    types = frozenset(map(type_of, allowed))
    if can_fit(given.types, types):
        return None
    return Misfit(
        path, f"must be one of {_values_text(allowed)}, and this is {words(given.types or types)}"
    )


_BOUNDS = (
    ({"string"}, "minLength", "maxLength", "characters"),
    ({"integer", "number"}, "minimum", "maximum", ""),
)


def _lengths(given: Shape, wanted: Shape, path: Path) -> Misfit | None:
    for types, low, high, unit in _BOUNDS:
        if not given.types or not given.types <= types or not wanted.types:
            continue
        least, most = given.schema.get(low), wanted.schema.get(high)
        if _below(most, least):
            return Misfit(
                path, f"is at least {least} {unit}".rstrip() + f", and at most {most} fit"
            )
        most, least = given.schema.get(high), wanted.schema.get(low)
        if _below(most, least):
            return Misfit(path, f"is at most {most} {unit}".rstrip() + f", and {least} are needed")
    return None


def _common(
    found: Sequence[Misfit | None], given: Shape, wanted: Shape, path: Path
) -> Misfit | None:
    """What to say if nothing of a union fits: all types, or the one that comes nearest."""
    if (by_type := _types(given, wanted, path)) is not None:
        return by_type
    return max((one for one in found if one), key=lambda one: len(one.path), default=None)


def _required_names(shape: Shape) -> list[str]:
    named = shape.schema.get("required")
    return [name for name in named if isinstance(name, str)] if isinstance(named, list) else []


def _property(shape: Shape, name: str) -> Mapping[str, Any]:
    properties = shape.schema.get("properties")
    found = properties.get(name) if isinstance(properties, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_only(name: str, shape: Shape) -> bool:
    return shape.types is not None and shape.types == frozenset({name})


def _below(one: Any, other: Any) -> bool:
    """Whether both are numbers, and the first is less."""
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (one, other))
    return numbers and bool(one < other)


def _values_text(values: Sequence[Any]) -> str:
    shown = [repr(value) for value in values[:8]] + (["…"] if len(values) > 8 else [])
    return ", ".join(shown)
