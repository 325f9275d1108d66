"""Expressions over the state: plain paths, `default(path, value)` and CEL.

A plain path (`a.b`, `a.b[0]`) is followed in Python and keeps its value as it is. Everything
else is CEL. Before CEL sees an expression, every path of the state, `default(…)` and `has(…)` in
it is replaced by a variable that Python resolves, because `cel`

- converts every variable it is given, so it gets only what the expression refers to;
- loses the order of maps, at random per process: a comprehension over a map gets the list of
  its keys, and objects in a result are exchanged for the ones that came from the state;
- has no type for "may be null", and says little about the path that was.

A path that cannot be followed leaves its variable undefined, so that `a != null && a.b > 1`
decides as CEL does. CEL has no time limit: nested comprehensions are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.paths import PathError, path_text
from ucop.agents.text.paths import follow as follow_path

from ..errors import ExpressionError
from .evaluation import Scope, evaluator
from .tokens import (
    FUNCTIONS,
    KEYWORDS,
    MACROS,
    BadExpression,
    Token,
    closing_of,
    kind_at,
    literal_key,
    opening_of,
    scan,
    take_path,
    text_at,
)

if TYPE_CHECKING:
    import cel

LONGEST = 2_000
"""Characters of an expression: what stands in a file by hand is far shorter."""
MOST_COMPREHENSIONS = 4
"""In one expression, one after the other: each may double the size of a value."""


@dataclass(frozen=True)
class Reference:
    """A path of the state that an expression names."""

    path: tuple[str | int, ...]
    offset: int
    guarded: bool = False
    """Whether null is provided for, by `default` or `has`."""

    @property
    def name(self) -> str:
        """The name of the state it begins with."""
        return str(self.path[0])

    @property
    def text(self) -> str:
        """The path as it is written."""
        return path_text(self.path)


@dataclass(frozen=True)
class Expression:
    """A compiled expression. Called with a scope it gives a JSON value.

    Raises ExpressionError if the scope does not hold what it needs.
    """

    source: str
    references: tuple[Reference, ...]
    plain: bool
    """Whether it is a path and nothing more."""
    evaluate: Callable[[Scope], Any]

    def __call__(self, scope: Scope) -> Any:
        return self.evaluate(scope)


@lru_cache(maxsize=4096)
def compile_expression(source: str) -> Expression:
    """Compile the text inside `${…}`, or of a `when`. Raises BadExpression."""
    if len(source) > LONGEST:
        raise BadExpression(f"an expression has at most {LONGEST} characters", 0)
    tokens = scan(source)
    if not tokens:
        raise BadExpression("the expression is empty", 0)
    path, end = take_path(tokens, 0)
    if path is not None and end == len(tokens):
        return _path_expression(source, path, tokens[0].start)
    return _Rewriter(source, tokens).expression()


def follow(path: Sequence[str | int], scope: Scope) -> Any:
    """The value at `path`. Raises ExpressionError naming the part that is not there."""
    try:
        return follow_path(path, scope)
    except PathError as error:
        if not error.position:
            raise ExpressionError(f"there is no {path[0]!r} in the state") from None
        raise ExpressionError(f"{path_text(path)}: {error}") from None


def follow_or_none(path: Sequence[str | int], scope: Scope) -> Any:
    """The value at `path`; None if any part of it is null or missing."""
    try:
        return follow(path, scope)
    except ExpressionError:
        return None


def _path_expression(source: str, path: tuple[str | int, ...], offset: int) -> Expression:
    return Expression(source, (Reference(path, offset),), True, lambda scope: follow(path, scope))


@dataclass(frozen=True)
class _Binding:
    """A comprehension's own name, and the tokens it holds for."""

    name: str
    first: int
    last: int


class _Rewriter:
    """Puts variables in the place of what Python resolves, and compiles the rest as CEL."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self.source, self.tokens = source, tokens
        self.references: list[Reference] = []
        self.holes: dict[str, Callable[[Scope], Any]] = {}
        self.bindings: list[_Binding] = []
        self.pieces: list[str] = []

    def expression(self) -> Expression:
        _parse(self.source)
        self._bind()
        at = 0
        while at < len(self.tokens):
            at = self._next(at)
        if self._is_one_hole():
            (value,) = self.holes.values()
            return Expression(self.source, tuple(self.references), False, value)
        program = _parse(" ".join(self.pieces))
        evaluate = evaluator(program, dict(self.holes))
        return Expression(self.source, tuple(self.references), False, evaluate)

    def _is_one_hole(self) -> bool:
        return len(self.pieces) == 1 and self.pieces[0] in self.holes

    def _bind(self) -> None:
        """Find the comprehensions; refuse those that are nested or over what may be a map."""
        for at, token in enumerate(self.tokens):
            if not (self._is_method(at) and token.text in MACROS):
                continue
            last = closing_of(self.tokens, at + 1)
            if any(b.first <= at <= b.last for b in self.bindings):
                raise BadExpression(
                    f"{token.text}() inside another comprehension is not allowed: "
                    "it has no bound on its time",
                    token.start,
                    "let an agent written in Python do this",
                )
            if kind_at(self.tokens, at + 2) != "name" or text_at(self.tokens, at + 3) != ",":
                raise BadExpression(f"{token.text}() needs a name first: (x, …)", token.start)
            self._check_range(at)
            self.bindings.append(_Binding(self.tokens[at + 2].text, at + 2, last))
        if len(self.bindings) > MOST_COMPREHENSIONS:
            raise BadExpression(
                f"at most {MOST_COMPREHENSIONS} comprehensions in one expression",
                self.tokens[self.bindings[MOST_COMPREHENSIONS].first].start,
            )

    def _check_range(self, at: int) -> None:
        """A comprehension goes over a path, a list literal, or the result of a call."""
        before = self.tokens[at - 2]
        if before.kind in ("name", "string"):
            return
        if before.text in (")", "]"):
            opening = opening_of(self.tokens, at - 2)
            called = kind_at(self.tokens, opening - 1) == "name"
            after_value = called or text_at(self.tokens, opening - 1) in (")", "]")
            path_index = before.text == "]" and literal_key(self.tokens, opening) is not None
            if called if before.text == ")" else not after_value or path_index:
                return
        raise BadExpression(
            f"{self.tokens[at].text}() needs a plain path or a list before it",
            self.tokens[at].start,
        )

    def _next(self, at: int) -> int:
        """Handle the token at `at`; return the index of the next one."""
        token = self.tokens[at]
        if token.text == "{":
            raise BadExpression(
                "objects cannot be written in an expression", token.start, "write them in YAML"
            )
        if token.kind != "name" or token.text in KEYWORDS:
            return self._keep(at)
        if text_at(self.tokens, at - 1) == ".":
            self._check_function(at)
            return self._keep(at)
        if text_at(self.tokens, at + 1) == "(":
            return self._call(at)
        if self._is_bound(token.text, at):
            return self._keep(at)
        path, end = take_path(self.tokens, at)
        if path is None:
            return self._keep(at)
        self.references.append(Reference(path, token.start))
        self._hole(lambda scope: follow(path, scope), end)
        return end

    def _call(self, at: int) -> int:
        token = self.tokens[at]
        self._check_function(at)
        if token.text not in ("default", "has"):
            return self._keep(at)
        path, end = self._argument(at)
        if path is None:
            return self._keep(at)
        self.references.append(Reference(path, self.tokens[at + 2].start, guarded=True))
        if token.text == "has":
            self._hole(lambda scope: _has(path, scope), end + 1)
            return end + 1
        last = closing_of(self.tokens, at + 1)
        fallback = self._fallback(end, last)
        self._hole(lambda scope: _default(path, fallback, scope), last + 1)
        return last + 1

    def _argument(self, at: int) -> tuple[tuple[str | int, ...] | None, int]:
        """The path that `default` or `has` is given; None if CEL is to see it itself."""
        call = self.tokens[at]
        wanted = "," if call.text == "default" else ")"
        path, end = take_path(self.tokens, at + 2) if at + 2 < len(self.tokens) else (None, at)
        own = path is not None and self._is_bound(str(path[0]), at)
        if own and call.text == "has":
            return None, at
        if path is None or own or text_at(self.tokens, end) != wanted:
            needs = "(path, value)" if call.text == "default" else "(path)"
            raise BadExpression(
                f"{call.text}{needs} takes a plain path of the state, as in {call.text}(a.b"
                + (", '')" if call.text == "default" else ")"),
                call.start,
            )
        return path, end

    def _fallback(self, comma: int, last: int) -> Expression:
        start = self.tokens[comma].start + 1
        text = self.source[start : self.tokens[last].start]
        try:
            fallback = compile_expression(text)
        except BadExpression as error:
            raise BadExpression(str(error), error.offset + start, error.hint) from None
        for reference in fallback.references:
            if self._is_bound(reference.name, comma):
                raise BadExpression(
                    "default() cannot use a comprehension's own name", self.tokens[comma].start
                )
            moved = Reference(reference.path, reference.offset + start, reference.guarded)
            self.references.append(moved)
        return fallback

    def _hole(self, value: Callable[[Scope], Any], end: int) -> None:
        name = f"v{len(self.holes)}_"
        macro = text_at(self.tokens, end + 1) in MACROS and self._is_method(end + 1)
        self.holes[name] = (lambda scope: _items(value(scope))) if macro else value
        self.pieces.append(name)

    def _keep(self, at: int) -> int:
        self.pieces.append(self.tokens[at].text)
        return at + 1

    def _is_bound(self, name: str, at: int) -> bool:
        return any(b.name == name and b.first <= at <= b.last for b in self.bindings)

    def _is_method(self, at: int) -> bool:
        return text_at(self.tokens, at - 1) == "." and text_at(self.tokens, at + 1) == "("

    def _check_function(self, at: int) -> None:
        token = self.tokens[at]
        known = FUNCTIONS | MACROS
        if text_at(self.tokens, at + 1) != "(" or token.text in known:
            return
        raise BadExpression(
            f"there is no function {token.text!r}",
            token.start,
            did_you_mean(token.text, sorted(known)) or None,
        )


def _parse(source: str) -> cel.Program:
    """Compile CEL; the error's first complaint becomes ours."""
    import cel

    try:
        return cel.compile(source)
    except ValueError as error:
        raise _syntax_error(source, str(error)) from None


def _syntax_error(source: str, message: str) -> BadExpression:
    found = re.search(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)", message)
    if found is None:
        return BadExpression(message.splitlines()[0], 0)
    line, column, what = int(found[1]), int(found[2]), found[3]
    start = sum(len(text) + 1 for text in source.split("\n")[: line - 1])
    what = re.sub(r" expecting .*", "", what)
    if "<EOF>" in what:
        what = "it ends too early"
    elif "token recognition error" in what:
        what = "this cannot be read; is a quote missing?"
    elif unexpected := re.match(r"(?:mismatched|extraneous) input ('.*')", what):
        what = f"{unexpected[1]} does not belong here"
    return BadExpression(f"bad expression: {what}", min(start + column - 1, len(source)))


def _has(path: Sequence[str | int], scope: Scope) -> bool:
    try:
        follow(path, scope)
    except ExpressionError:
        return False
    return True


def _default(path: Sequence[str | int], fallback: Expression, scope: Scope) -> Any:
    value = follow_or_none(path, scope)
    return fallback(scope) if value is None else value


def _items(value: Any) -> Any:
    """What a comprehension goes over: of a map its keys, in their order."""
    return list(value) if isinstance(value, Mapping) else value
