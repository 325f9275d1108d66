"""`${…}` in text: references to values, and how a text is filled with them.

    ${topic}                      a plain path: the value, with its type
    ${outline.sections[0].text}   fields and items
    About ${topic} for ${who}     inside longer text: written as text
    $${topic}                     the text "${topic}" itself

A filled-in value is never looked at again, so text that comes from a person or a model can
hold `${…}` without any effect. What a reference means is decided by the caller's `lookup`:
here plain paths (`path_lookup`); `graphs/expressions/cel.py` adds CEL on the same parser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UcopError
from .paths import PathError, follow, is_path, path_steps
from .source import DataPath


class TemplateError(UcopError):
    """A template cannot be read or filled; `offset` counts from 0 into its text."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset

    def __reduce__(self) -> tuple[type[TemplateError], tuple[str, int]]:
        return type(self), (str(self), self.offset)


@dataclass(frozen=True)
class PlainText:
    """Text that stays as it is."""

    text: str


@dataclass(frozen=True)
class Hole:
    """What stands between `${` and `}`, trimmed; `offset` is where its text begins."""

    text: str
    offset: int

    @property
    def is_path(self) -> bool:
        return is_path(self.text)


Part = PlainText | Hole
Lookup = Callable[[Hole], Any]


@dataclass(frozen=True)
class Template:
    """A text cut into literals and references."""

    text: str
    parts: tuple[Part, ...]

    @property
    def references(self) -> tuple[Hole, ...]:
        return tuple(part for part in self.parts if isinstance(part, Hole))

    @property
    def whole(self) -> Hole | None:
        """The reference, where the text is one reference and nothing else."""
        match self.parts:
            case (Hole() as reference,):
                return reference
        return None

    def render(self, lookup: Lookup) -> Any:
        """The value of a whole reference with its type; else the text with all filled in.

        Raises TemplateError for a null inside longer text, and what `lookup` raises.
        """
        if self.whole is not None:
            return lookup(self.whole)
        return self.render_text(lookup)

    def render_text(self, lookup: Lookup) -> str:
        """As `render`, but always text: for prompts."""
        return "".join(
            part.text if isinstance(part, PlainText) else _as_text(lookup(part), part)
            for part in self.parts
        )


def parse(text: str) -> Template:
    """Cut a text into literals and references.

    Raises TemplateError for a reference that is empty or has no end.
    """
    parts: list[Part] = []
    literal: list[str] = []
    at = 0
    while (opening := text.find("${", at)) >= 0:
        if opening > at and text[opening - 1] == "$":
            literal.append(text[at : opening - 1] + "${")
            at = opening + 2
            continue
        literal.append(text[at:opening])
        end = _end(text, opening)
        _append_literal(parts, literal)
        parts.append(_reference(text, opening + 2, end))
        at = end + 1
    literal.append(text[at:])
    _append_literal(parts, literal)
    return Template(text, tuple(parts))


def fill(value: Any, lookup: Lookup) -> Any:
    """A copy of plain data in which every text was rendered as a template; keys stay."""
    if isinstance(value, str):
        return parse(value).render(lookup) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: fill(item, lookup) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill(item, lookup) for item in value]
    return value


def templates(value: Any, path: DataPath = ()) -> Iterator[tuple[DataPath, Template]]:
    """Every text with references in plain data, parsed, with the path that leads to it."""
    if isinstance(value, str):
        if "${" in value:
            yield path, parse(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from templates(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from templates(item, (*path, index))


def resolve(text: str, names: Mapping[str, Any]) -> Any:
    """The value that a plain path leads to.

    Raises TemplateError, which names the step that does not exist.
    """
    try:
        return follow(path_steps(text), names)
    except PathError as error:
        raise TemplateError(str(error)) from error


def path_lookup(names: Mapping[str, Any]) -> Lookup:
    """A lookup that knows plain paths into `names` and nothing else."""
    return lambda reference: resolve(reference.text, names)


def _append_literal(parts: list[Part], literal: list[str]) -> None:
    if text := "".join(literal):
        parts.append(PlainText(text))
    literal.clear()


def _reference(text: str, start: int, end: int) -> Hole:
    inside = text[start:end]
    if not inside.strip():
        raise TemplateError("nothing stands between ${ and }", start - 2)
    return Hole(inside.strip(), start + len(inside) - len(inside.lstrip()))


def _end(text: str, opening: int) -> int:
    """Where the reference that begins at `opening` ends; braces and quotes inside count."""
    depth = 0
    at = opening + 2
    while at < len(text):
        character = text[at]
        if character in "\"'":
            at = _quote_end(text, at)
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return at
            depth -= 1
        at += 1
    raise TemplateError("this ${ has no closing }; write $${ for the two characters", opening)


def _quote_end(text: str, start: int) -> int:
    """The index of the quote that closes the one at `start`."""
    quote = text[start]
    at = start + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    return at


def _as_text(value: Any, reference: Hole) -> str:
    if value is None:
        raise TemplateError(
            f"{reference.text} is null, which cannot stand inside text", reference.offset
        )
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
