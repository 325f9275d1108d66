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
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UcopError
from .nearest import did_you_mean
from .source import DataPath


class TemplateError(UcopError):
    """A template cannot be read or filled; `offset` counts from 0 into its text."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset

    def __reduce__(self) -> tuple[type[TemplateError], tuple[str, int]]:
        return type(self), (str(self), self.offset)


@dataclass(frozen=True)
class Literal:
    """Text that stays as it is."""

    text: str


@dataclass(frozen=True)
class Reference:
    """What stands between `${` and `}`, trimmed; `offset` is where its text begins."""

    text: str
    offset: int

    @property
    def is_path(self) -> bool:
        return is_path(self.text)


Part = Literal | Reference
Lookup = Callable[[Reference], Any]


@dataclass(frozen=True)
class Template:
    """A text cut into literals and references."""

    text: str
    parts: tuple[Part, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(part for part in self.parts if isinstance(part, Reference))

    @property
    def whole(self) -> Reference | None:
        """The reference, where the text is one reference and nothing else."""
        match self.parts:
            case (Reference() as reference,):
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
            part.text if isinstance(part, Literal) else _as_text(lookup(part), part)
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


def is_path(text: str) -> bool:
    """Is this a plain path, such as `a`, `a.b` or `a.b[0].c`?"""
    return bool(_PATH.fullmatch(text)) and text not in _WORDS


def path_steps(text: str) -> DataPath:
    """The steps of a plain path: `a.b[0]` is ("a", "b", 0).

    Raises TemplateError for text that is no plain path.
    """
    if not is_path(text):
        raise TemplateError(f"{text!r} is not a plain path such as a.b or a.b[0]")
    return tuple(
        int(step[1:-1]) if step.startswith("[") else step.lstrip(".")
        for step in _STEP.findall(text)
    )


def resolve(text: str, names: Mapping[str, Any]) -> Any:
    """The value that a plain path leads to.

    Raises TemplateError, which names the step that does not exist.
    """
    steps = path_steps(text)
    value: Any = names
    for taken, step in enumerate(steps):
        value = _step(value, step, steps[:taken])
    return value


def path_lookup(names: Mapping[str, Any]) -> Lookup:
    """A lookup that knows plain paths into `names` and nothing else."""
    return lambda reference: resolve(reference.text, names)


def write_path(steps: DataPath) -> str:
    """The text of a path: ("a", "b", 0) is `a.b[0]`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,9}\])*")
_STEP = re.compile(r"\.?[A-Za-z_][A-Za-z0-9_]*|\[[0-9]+\]")
_WORDS = frozenset(("true", "false", "null", "in"))


def _append_literal(parts: list[Part], literal: list[str]) -> None:
    if text := "".join(literal):
        parts.append(Literal(text))
    literal.clear()


def _reference(text: str, start: int, end: int) -> Reference:
    inside = text[start:end]
    if not inside.strip():
        raise TemplateError("nothing stands between ${ and }", start - 2)
    return Reference(inside.strip(), start + len(inside) - len(inside.lstrip()))


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


def _as_text(value: Any, reference: Reference) -> str:
    if value is None:
        raise TemplateError(
            f"{reference.text} is null, which cannot stand inside text", reference.offset
        )
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _step(value: Any, step: str | int, before: DataPath) -> Any:
    place = write_path(before)
    if isinstance(step, int):
        if not isinstance(value, list | tuple):
            raise TemplateError(f"{place} is {_kind(value)}, not a list")
        if step >= len(value):
            raise TemplateError(f"{place} has {len(value)} items, so there is no [{step}]")
        return value[step]
    if not isinstance(value, Mapping):
        raise TemplateError(f"{place} is {_kind(value)}, so it has no field {step!r}")
    if step not in value:
        owner = f"{place} has no field" if before else "there is no value named"
        raise TemplateError(f"{owner} {step!r}{_meant(step, value)}")
    return value[step]


def _meant(name: str, names: Mapping[str, Any]) -> str:
    known = ", ".join(list(names)[:10])
    return did_you_mean(name, names, "; ") or (f"; there is {known}" if known else "")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds: dict[type, str] = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        tuple: "a list",
    }
    return kinds.get(type(value), "an object")
