"""What is known of a value before there is one: the shapes that it may have, and whether it fails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .fits import values_of
from .shapes import Shape, type_of

Kinds = tuple[Shape, ...]
"""Shapes of which a value has one; none at all stands for anything."""


NUMBERS = frozenset({"integer", "number"})


LISTS = frozenset({"array", "object"})


MOST_VALUES = 50


@dataclass(frozen=True)
class Guess:
    """What a part of an expression can give."""

    kinds: Kinds = ()
    fails: bool = False
    """Whether it surely cannot be evaluated."""

    @cached_property
    def types(self) -> frozenset[str] | None:
        """The types that it can have; None if unknown."""
        types = [shape.types for shape in self.kinds]
        known = [one for one in types if one is not None]
        return frozenset().union(*known) if known and len(known) == len(types) else None

    @cached_property
    def values(self) -> list[Any] | None:
        """All values that it can have, if they are few and plain."""
        listed = [values_of(shape) for shape in self.kinds]
        found = [value for values in listed if values is not None for value in values]
        if not listed or any(values is None for values in listed) or len(found) > MOST_VALUES:
            return None
        return found if all(not isinstance(value, dict) for value in found) else None

    def may_be(self, truth: bool) -> bool:
        """Whether it can be true (or false) as a condition."""
        if self.fails:
            return False
        values = self.values
        if values is not None:
            return any(value is truth for value in values)
        return self.types is None or "boolean" in self.types


ANYTHING = Guess()


FAILURE = Guess(fails=True)


def typed(*types: str) -> Guess:
    """A guess of which only the types are known."""
    return Guess(tuple(Shape({"type": name}, {}) for name in types))


def constant(value: Any) -> Guess:
    """A guess of one value."""
    return Guess((Shape({"const": value}, {}),))


def truth(true: bool, false: bool) -> Guess:
    """A condition that can have the given outcomes; without any it fails."""
    if true and false:
        return typed("boolean")
    return constant(true) if true or false else FAILURE


def union(guesses: Iterable[Guess]) -> Guess:
    """Either of them; anything, where anything is known of one."""
    found = list(guesses)
    if any(not guess.kinds for guess in found):
        return ANYTHING
    return Guess(tuple(shape for guess in found for shape in guess.kinds))


def descend(kinds: Kinds, path: Sequence[str | int]) -> Kinds:
    """The kinds of a field; nothing is known if any of them does not tell."""
    for step in path:
        found = [shape.field(step) for shape in kinds]
        # A kind without the field fails when it is met, so that it adds no value.
        inner = [shape for shape in found if not isinstance(shape, str)]
        if not inner or any(shape is None for shape in inner):
            return ()
        kinds = tuple(shape for shape in inner if shape is not None)
    return kinds


def items_of(over: Guess) -> Kinds:
    if over.types != frozenset({"array"}):
        return ()
    found = [shape.resolved().item() for shape in over.kinds]
    return () if any(s is None for s in found) else tuple(s for s in found if s is not None)


def list_of(made: Guess) -> Guess:
    if len(made.kinds) != 1:
        return typed("array")
    (shape,) = made.kinds
    return Guess((Shape({"type": "array", "items": shape.schema}, shape.root, shape.closed),))


def without_null(kinds: Kinds) -> Kinds:
    """Kinds that are not null; unions keep theirs, which is no more than cautious."""
    return tuple(shape for shape in kinds if shape.types != frozenset({"null"})) or kinds


def only(guess: Guess, outcome: bool) -> bool:
    return guess.may_be(outcome) and not guess.may_be(not outcome)


def overlap(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one & other) or bool(one & NUMBERS and other & NUMBERS)


def same(one: Any, other: Any) -> bool:
    kinds = type_of(one), type_of(other)
    return overlap(frozenset({kinds[0]}), frozenset({kinds[1]})) and bool(one == other)


def bounds(guess: Guess) -> tuple[float, float] | None:
    """The least and the largest number that it can be."""
    if guess.types is None or not guess.types <= NUMBERS:
        return None
    if guess.values is not None:
        return min(guess.values), max(guess.values)
    low, high = [], []
    for shape in guess.kinds:
        schema = shape.resolved().schema
        low.append(_number(schema.get("minimum"), float("-inf")))
        high.append(_number(schema.get("maximum"), float("inf")))
    return min(low), max(high)


def _number(value: Any, other: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else other


def apart(one: Guess, other: Guess) -> bool:
    left, right = bounds(one), bounds(other)
    return bool(left and right and (left[1] < right[0] or right[1] < left[0]))
