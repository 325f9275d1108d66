"""The parsed form of an expression, as far as types are to be followed through it.

`cel` compiles expressions but does not show its tree, so this reads the part of the language
that the checks understand. What it cannot read it leaves to `cel` alone: `tree` gives None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .tokens import KEYWORDS, Token, scan, take_path

_LEVELS = (("||",), ("&&",), ("<", "<=", ">", ">=", "==", "!=", "in"), ("+", "-"), ("*", "/", "%"))
"""Binary operators, those that bind least first."""
_WORDS = {"true": True, "false": False, "null": None}
DEEPEST = 30
LONGEST = 250
"""Words of an expression that is still read here: what follows a tree calls itself."""


@dataclass(frozen=True)
class Tree:
    """A part of an expression; `start` is where it begins in its text."""

    start: int


@dataclass(frozen=True)
class Literal(Tree):
    """A constant. A text with escapes is known to be a text, and no more."""

    value: Any


@dataclass(frozen=True)
class Place(Tree):
    """A plain path."""

    path: tuple[str | int, ...]


@dataclass(frozen=True)
class Several(Tree):
    """A list written out."""

    items: tuple[Tree, ...]


@dataclass(frozen=True)
class Operation(Tree):
    """An operator with one or two operands."""

    operator: str
    operands: tuple[Tree, ...]


@dataclass(frozen=True)
class Choice(Tree):
    """`condition ? yes : no`."""

    condition: Tree
    yes: Tree
    no: Tree


@dataclass(frozen=True)
class Call(Tree):
    """A function, or with `target` a method; `at` is where its name stands."""

    name: str
    target: Tree | None
    arguments: tuple[Tree, ...]
    at: int


@dataclass(frozen=True)
class Part(Tree):
    """A field or an item of something that is not a plain path."""

    target: Tree


class _Unreadable(Exception):
    """Not in the part of the language that is read here."""


class Opaque:
    """Stands for a text whose escapes are not read."""


def tree(source: str) -> Tree | None:
    """The tree of an expression that `cel` accepts; None if it is not understood."""
    reader = _Reader(scan(source))
    if len(reader.tokens) > LONGEST:
        return None
    try:
        found = reader.choice()
    except _Unreadable:
        return None
    return found if reader.at == len(reader.tokens) else None


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    @property
    def text(self) -> str:
        return self.tokens[self.at].text if self.at < len(self.tokens) else ""

    def take(self, *texts: str) -> Token | None:
        if self.at < len(self.tokens) and self.text in texts:
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def need(self, text: str) -> Token:
        found = self.take(text)
        if found is None:
            raise _Unreadable
        return found

    def choice(self) -> Tree:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _Unreadable
        condition = self.binary(0)
        if self.take("?"):
            yes = self.binary(0)
            self.need(":")
            condition = Choice(condition.start, condition, yes, self.choice())
        self.depth -= 1
        return condition

    def binary(self, level: int) -> Tree:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while operator := self.take(*_LEVELS[level]):
            right = self.binary(level + 1)
            left = Operation(left.start, operator.text, (left, right))
        return left

    def unary(self) -> Tree:
        if operator := self.take("!", "-"):
            self.depth += 1
            if self.depth > DEEPEST:
                raise _Unreadable
            operand = self.unary()
            self.depth -= 1
            if operator.text == "-" and _is_number(operand):
                return Literal(operator.start, -operand.value)  # type: ignore[attr-defined]
            return Operation(operator.start, operator.text, (operand,))
        return self.member()

    def member(self) -> Tree:
        value = self.primary()
        while True:
            if self.take("."):
                name = self.name()
                if self.take("("):
                    value = Call(value.start, name.text, value, self.listed(")"), name.start)
                else:
                    value = Part(value.start, value)
            elif self.take("["):
                self.choice()
                self.need("]")
                value = Part(value.start, value)
            else:
                return value

    def primary(self) -> Tree:
        if self.at >= len(self.tokens):
            raise _Unreadable
        token = self.tokens[self.at]
        path, end = take_path(self.tokens, self.at)
        if path is not None:
            self.at = end
            return Place(token.start, path)
        self.at += 1
        if token.text == "(":
            inner = self.choice()
            self.need(")")
            return inner
        if token.text == "[":
            return Several(token.start, self.listed("]"))
        if token.kind == "name" and token.text not in KEYWORDS and self.take("("):
            return Call(token.start, token.text, None, self.listed(")"), token.start)
        return Literal(token.start, _constant(token))

    def listed(self, closing: str) -> tuple[Tree, ...]:
        found: list[Tree] = []
        while not self.take(closing):
            if found:
                self.need(",")
            found.append(self.choice())
        return tuple(found)

    def name(self) -> Token:
        if self.at >= len(self.tokens) or self.tokens[self.at].kind != "name":
            raise _Unreadable
        self.at += 1
        return self.tokens[self.at - 1]


def _is_number(part: Tree) -> bool:
    return isinstance(part, Literal) and type(part.value) in (int, float)


def _constant(token: Token) -> Any:
    text = token.text
    if text in _WORDS:
        return _WORDS[text]
    if token.kind == "string":
        simple = text[0] in "'\"" and "\\" not in text and text[:3] not in ("'''", '"""')
        return text[1:-1] if simple else Opaque
    if token.kind == "number" and text.isdigit() and len(text) < 19:
        return int(text)
    if token.kind == "number" and not text.endswith(("u", "U")) and "." in text:
        return float(text)
    raise _Unreadable
