"""The words of an expression, and the plain paths among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

KEYWORDS = frozenset({"true", "false", "null", "in"})
# fmt: off
RESERVED = KEYWORDS | {
    "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop",
    "package", "namespace", "return", "var", "void", "while",
}
"""Words that CEL does not take as names."""
MACROS = frozenset({"map", "filter", "exists", "exists_one", "existsOne", "all"})
FUNCTIONS = frozenset({
    "default", "has", "size", "contains", "startsWith", "endsWith", "matches", "int", "uint",
    "double", "string", "bytes", "timestamp", "duration", "type", "getFullYear", "getMonth",
    "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes",
    "getSeconds", "getMilliseconds",
})
# fmt: on

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>[rRbB]{0,2}(?:'{3}(?s:.*?)'{3}|\"{3}(?s:.*?)\"{3}
        |'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>&&|\|\||[=!<>]=|.)""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """One word of an expression."""

    kind: str
    text: str
    start: int


class BadExpression(Exception):
    """An expression that cannot be compiled; `offset` is where in its text."""

    def __init__(self, message: str, offset: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.offset, self.hint = offset, hint


def scan(source: str) -> list[Token]:
    """The words of an expression, without white space and comments."""
    found = [Token(str(m.lastgroup), m.group(), m.start()) for m in _TOKEN.finditer(source)]
    return [token for token in found if token.kind != "space"]


def take_path(tokens: Sequence[Token], start: int) -> tuple[tuple[str | int, ...] | None, int]:
    """The longest plain path at `start`, and where it ends; None if there is none."""
    if tokens[start].kind != "name" or tokens[start].text in KEYWORDS:
        return None, start
    path: list[str | int] = [tokens[start].text]
    at = start + 1
    if text_at(tokens, at) == "(":
        return None, start
    while True:
        if text_at(tokens, at) == "." and kind_at(tokens, at + 1) == "name":
            if text_at(tokens, at + 2) == "(":
                break
            path.append(tokens[at + 1].text)
            at += 2
        elif (key := literal_key(tokens, at)) is not None:
            path.append(key)
            at += 3
        else:
            break
    return tuple(path), at


def literal_key(tokens: Sequence[Token], at: int) -> str | int | None:
    """The key of `[0]` or `['name']` at `at`."""
    if text_at(tokens, at) != "[" or text_at(tokens, at + 2) != "]":
        return None
    text = tokens[at + 1].text
    if tokens[at + 1].kind == "number" and text.isdigit():
        return int(text)
    simple = tokens[at + 1].kind == "string" and text[0] in "'\"" and "\\" not in text
    return text[1:-1] if simple and text[:3] not in ("'''", '"""') else None


def text_at(tokens: Sequence[Token], at: int) -> str:
    """The text of a word; empty beyond the ends."""
    return tokens[at].text if 0 <= at < len(tokens) else ""


def kind_at(tokens: Sequence[Token], at: int) -> str:
    """The kind of a word; empty beyond the ends."""
    return tokens[at].kind if 0 <= at < len(tokens) else ""


def closing_of(tokens: Sequence[Token], opening: int) -> int:
    """The index of the bracket that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(tokens)):
        depth += (tokens[at].text in "([{") - (tokens[at].text in ")]}")
        if depth == 0:
            return at
    raise BadExpression("a bracket is not closed", tokens[opening].start)


def opening_of(tokens: Sequence[Token], closing: int) -> int:
    """The index of the bracket that opens the one at `closing`."""
    depth = 0
    for at in range(closing, -1, -1):
        depth += (tokens[at].text in ")]}") - (tokens[at].text in "([{")
        if depth == 0:
            return at
    raise BadExpression("a bracket is not opened", tokens[closing].start)
