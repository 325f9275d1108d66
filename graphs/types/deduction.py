"""What an expression gives, deduced from the types that it reads, without evaluating it.

Every answer is sound: `faults` are operations that fail with every value of the declared types,
and the shapes of a Guess cover every value that the expression can have. What is not known is
said to be anything.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.paths import path_text

from ..expressions.syntax import (
    Call,
    Choice,
    Literal,
    Opaque,
    Operation,
    Part,
    Place,
    Several,
    Tree,
    tree,
)
from .guess import (
    ANYTHING,
    FAILURE,
    LISTS,
    NUMBERS,
    Guess,
    Kinds,
    apart,
    bounds,
    constant,
    descend,
    items_of,
    list_of,
    only,
    overlap,
    same,
    truth,
    typed,
    union,
    without_null,
)
from .shapes import words

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Fault:
    """An operation that fails whatever the values are."""

    start: int
    message: str
    hint: str | None = None


@dataclass
class Deduction:
    """Deduces one expression. `look_up` gives the kinds of a path of the state."""

    source: str
    look_up: Callable[[tuple[str | int, ...]], Kinds]
    faults: list[Fault] = field(default_factory=list)
    remarks: list[Fault] = field(default_factory=list)
    """Comparisons whose outcome is known beforehand."""
    mixed: list[Fault] = field(default_factory=list)
    """Arithmetic on whole numbers and floats, which do not mix."""
    _bound: dict[str, Kinds] = field(default_factory=dict)

    def run(self) -> Guess:
        """What the whole expression can give."""
        root = tree(self.source)
        # Who asks for types at run time knows more than the declarations.
        return ANYTHING if root is None or "type(" in self.source else self.of(root)

    def of(self, part: Tree) -> Guess:
        match part:
            case Literal(value=value):
                return typed("string") if value is Opaque else constant(value)
            case Place(path=path):
                return Guess(self._kinds(path))
            case Several(items=items):
                return self._several(items)
            case Choice():
                return self._choice(part)
            case Operation(operands=(operand,)):
                return self._unary(part, operand)
            case Operation(operands=(left, right)):
                return self._binary(part, left, right)
            case Call():
                return self._call(part)
            case Part(target=target):
                return FAILURE if self.of(target).fails else ANYTHING
        return ANYTHING

    def _kinds(self, path: tuple[str | int, ...]) -> Kinds:
        if path[0] not in self._bound:
            return self.look_up(path)
        return descend(self._bound[str(path[0])], path[1:])

    def _several(self, items: Sequence[Tree]) -> Guess:
        guesses = [self.of(item) for item in items]
        if any(guess.fails for guess in guesses):
            return FAILURE
        values = [guess.values for guess in guesses]
        if all(one is not None and len(one) == 1 for one in values):
            return constant([one[0] for one in values if one])
        return typed("array")

    def _choice(self, part: Choice) -> Guess:
        condition = self._condition(part.condition)
        if condition.fails:
            return FAILURE
        branches = []
        for wanted, branch in ((True, part.yes), (False, part.no)):
            if condition.may_be(wanted):
                branches.append(self.of(branch))
        live = [guess for guess in branches if not guess.fails]
        return union(live) if live else FAILURE

    def _condition(self, part: Tree) -> Guess:
        """A part that must be true or false."""
        guess = self.of(part)
        if not guess.fails and guess.types is not None and "boolean" not in guess.types:
            self._fault(
                part.start, f"{self._text(part)} is {words(guess.types)}, not true or false"
            )
            return FAILURE
        return guess

    def _unary(self, part: Operation, operand: Tree) -> Guess:
        if part.operator == "!":
            guess = self._condition(operand)
            return truth(guess.may_be(False), guess.may_be(True))
        guess = self.of(operand)
        if guess.fails:
            return FAILURE
        if guess.types is None or "boolean" in guess.types:  # cel takes -true for false
            return ANYTHING
        if not guess.types & NUMBERS:
            self._fault(part.start, f"'-' needs a number, and this is {words(guess.types)}")
            return FAILURE
        return typed("number")

    def _binary(self, part: Operation, left: Tree, right: Tree) -> Guess:
        if part.operator in ("&&", "||"):
            return self._logic(part.operator, left, right)
        one, other = self.of(left), self.of(right)
        if one.fails or other.fails:
            return FAILURE
        if part.operator in ("==", "!="):
            found = self._equal(part, one, other)
            return (
                found if part.operator == "==" else truth(found.may_be(False), found.may_be(True))
            )
        if part.operator in _ORDER:
            return self._comparison(part, one, other)
        if part.operator == "in":
            return self._within(part, one, other)
        return self._arithmetic(part, one, other)

    def _logic(self, name: str, left: Tree, right: Tree) -> Guess:
        """CEL decides by either side, even if the other one fails."""
        before = len(self.faults)
        one = self._condition(left)
        middle = len(self.faults)
        other = self._condition(right)
        decides = name == "||"
        if only(one, decides):
            del self.faults[middle:]
        elif only(other, decides):
            del self.faults[before:middle]
        if decides:
            return truth(
                one.may_be(True) or other.may_be(True), one.may_be(False) and other.may_be(False)
            )
        return truth(
            one.may_be(True) and other.may_be(True), one.may_be(False) or other.may_be(False)
        )

    def _equal(self, part: Operation, one: Guess, other: Guess) -> Guess:
        if one.values is not None and other.values is not None:
            outcomes = {same(a, b) for a in one.values for b in other.values}
            if outcomes == {False}:
                self._remark_values(part, one, other)
            return truth(True in outcomes, False in outcomes)
        if one.types is None or other.types is None:
            return typed("boolean")
        if not overlap(one.types, other.types):
            said = f"{words(one.types)} is never equal to {words(other.types)}"
            self.remarks.append(Fault(part.start, said))
            return constant(False)
        if apart(one, other):
            self.remarks.append(Fault(part.start, "the declared bounds leave no such number"))
            return constant(False)
        return typed("boolean")

    def _remark_values(self, part: Operation, one: Guess, other: Guess) -> None:
        possible, wanted = one.values or [], other.values or []
        if len(possible) < len(wanted):
            possible, wanted = wanted, possible
        if len(wanted) != 1 or len(possible) < 2:
            return
        names = [value for value in possible if isinstance(value, str)]
        listed = ", ".join(map(repr, possible[:8]))
        hint = did_you_mean(wanted[0], names) or None
        self.remarks.append(Fault(part.start, f"{wanted[0]!r} is none of {listed}", hint))

    def _comparison(self, part: Operation, one: Guess, other: Guess) -> Guess:
        if one.types is not None and other.types is not None:
            numbers = one.types & NUMBERS and other.types & NUMBERS
            if not numbers and not one.types & other.types & {"string", "boolean"}:
                self._fault(
                    part.start,
                    f"{words(one.types)} cannot be compared with {words(other.types)} by "
                    f"{part.operator}",
                )
                return FAILURE
        compare = _ORDER[part.operator]
        if (ours := bounds(one)) and (theirs := bounds(other)):
            (low, high), (least, most) = ours, theirs
            outcomes = {compare(a, b) for a in (low, high) for b in (least, most)}
            if outcomes == {False}:
                self.remarks.append(Fault(part.start, "the declared bounds leave no such number"))
            return truth(True in outcomes, False in outcomes)
        return typed("boolean")

    def _within(self, part: Operation, one: Guess, other: Guess) -> Guess:
        if other.types is not None and not other.types & LISTS:
            hint = "write text.contains('part')" if "string" in other.types else None
            said = f"'in' needs a list or a map, and this is {words(other.types)}"
            self._fault(part.operands[1].start, said, hint)
            return FAILURE
        lists = other.values
        if one.values is not None and lists is not None and len(lists) == 1:
            outcomes = {any(same(v, item) for item in lists[0]) for v in one.values}
            if outcomes == {False}:
                said = f"the list holds none of {', '.join(map(repr, one.values[:8]))}"
                self.remarks.append(Fault(part.start, said))
            return truth(True in outcomes, False in outcomes)
        return typed("boolean")

    def _arithmetic(self, part: Operation, one: Guess, other: Guess) -> Guess:
        if one.types is None or other.types is None:
            return ANYTHING
        kinds: list[str] = []
        if one.types & NUMBERS and other.types & NUMBERS:
            kinds += ["integer", "number"]
        if part.operator == "+":
            kinds += sorted(one.types & other.types & {"string", "array"})
        if not kinds:
            self._fault(
                part.start,
                f"{words(one.types)} and {words(other.types)} do not go together with "
                f"{part.operator}",
                "write string(x)" if "string" in one.types | other.types else None,
            )
            return FAILURE
        if {one.types, other.types} == {frozenset({"integer"}), frozenset({"number"})}:
            self.mixed.append(Fault(part.start, "whole numbers and floats do not mix"))
        whole = one.types == other.types == frozenset({"integer"})
        return typed("integer") if whole else typed(*kinds)

    # ---- functions ----

    def _call(self, call: Call) -> Guess:
        if call.name == "default" and call.target is None and len(call.arguments) == 2:
            return self._default(call)
        if call.name == "has":
            return typed("boolean")
        if call.target is not None and len(call.arguments) >= 2:
            return self._comprehension(call, call.target)
        target = call.target
        values = [*([target] if target is not None else []), *call.arguments]
        guesses = [self.of(value) for value in values]
        if any(guess.fails for guess in guesses):
            return FAILURE
        takes, gives = _FUNCTIONS.get(call.name, ((), None))
        for value, guess, types in zip(values, guesses, takes, strict=False):
            if guess.types is not None and not guess.types & types:
                self._unfit(call, value, guess.types, types)
                return FAILURE
        return typed(gives) if gives else ANYTHING

    def _unfit(
        self, call: Call, value: Tree, given: frozenset[str], wanted: frozenset[str]
    ) -> None:
        hint = None
        if call.name == "contains" and "array" in given:
            hint = f"write x in {self._text(value)}"
        said = f"{call.name}() needs {words(wanted)}, and this is {words(given)}"
        self._fault(value.start, said, hint)

    def _default(self, call: Call) -> Guess:
        value, fallback = (self.of(argument) for argument in call.arguments)
        if fallback.fails:
            return Guess(value.kinds)
        if not value.kinds:
            return ANYTHING
        return union([Guess(without_null(value.kinds)), fallback])

    def _comprehension(self, call: Call, target: Tree) -> Guess:
        over = self.of(target)
        name, *body = call.arguments
        if over.fails or not isinstance(name, Place) or len(name.path) != 1:
            return FAILURE if over.fails else ANYTHING
        if over.types is not None and not over.types & LISTS:
            self._fault(
                target.start,
                f"{call.name}() needs a list or a map, and this is {words(over.types)}",
            )
            return FAILURE
        self._bound[str(name.path[0])] = items_of(over)
        conditions = body if call.name != "map" else body[:-1]
        for condition in conditions:
            self._condition(condition)
        made = self.of(body[-1]) if call.name == "map" else ANYTHING
        del self._bound[str(name.path[0])]
        if call.name == "map":
            return list_of(made)
        if call.name == "filter":
            return list_of(Guess(items_of(over)))
        return typed("boolean")

    # ---- words ----

    def _fault(self, start: int, message: str, hint: str | None = None) -> None:
        self.faults.append(Fault(start, message, hint))

    def _text(self, part: Tree) -> str:
        return path_text(part.path) if isinstance(part, Place) else "this"


_TEXT = frozenset({"string"})
_SIZED = frozenset({"string", "array", "object"})
_NUMERIC = NUMBERS | {"string"}
_FUNCTIONS: Mapping[str, tuple[tuple[frozenset[str], ...], str | None]] = {
    "size": ((_SIZED,), "integer"),
    "int": ((_NUMERIC,), "integer"),
    "double": ((_NUMERIC,), "number"),
    "string": ((NUMBERS | {"string", "boolean"},), "string"),
    "contains": ((_TEXT, _TEXT), "boolean"),
    "startsWith": ((_TEXT, _TEXT), "boolean"),
    "endsWith": ((_TEXT, _TEXT), "boolean"),
    "matches": ((_TEXT, _TEXT), "boolean"),
}
"""What the arguments may be, a method's target first, and what comes out."""
