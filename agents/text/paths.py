"""Paths into plain data, such as `a.b[0]`: read, written and followed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UcopError
from .nearest import did_you_mean
from .source import DataPath

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(rf"\$?{_NAME.pattern}")
"""A step that is written without quotes: a name, or a keyword of JSON Schema such as `$ref`."""
_PATH = re.compile(rf"{_NAME.pattern}(\.{_NAME.pattern}|\[[0-9]{{1,9}}\])*")
_STEP = re.compile(rf"{_NAME.pattern}|\[[0-9]+\]")
_WORDS = frozenset(("true", "false", "null", "in"))


class PathError(UcopError):
    """A path leads nowhere: its text is none, or a part of it is not there."""

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position
        """Which step of the path is not there."""

    def __reduce__(self) -> tuple[type[PathError], tuple[str, int]]:
        return type(self), (str(self), self.position)


def is_path(text: str) -> bool:
    """Is this a plain path, such as `a`, `a.b` or `a.b[0].c`?"""
    return bool(_PATH.fullmatch(text)) and text not in _WORDS


def path_steps(text: str) -> DataPath:
    """The steps of a plain path: `a.b[0]` is ("a", "b", 0). Raises PathError for other text."""
    if not is_path(text):
        raise PathError(f"{text!r} is not a plain path such as a.b or a.b[0]")
    steps = _STEP.findall(text)
    return tuple(int(step[1:-1]) if step.startswith("[") else step for step in steps)


def path_text(steps: Sequence[str | int]) -> str:
    """A path as people write it: ("a", "b", 0, "c-d") is `a.b[0]["c-d"]`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not text or _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text


def follow(path: Sequence[str | int], data: Any) -> Any:
    """The value at `path`. Raises PathError, which names the step that is not there."""
    value = data
    for position, step in enumerate(path):
        inside: Any = Mapping if isinstance(step, str) else _LISTS
        if not isinstance(value, inside):
            raise PathError(_missing(path, position, value), position)
        try:
            value = value[step]
        except LookupError:
            raise PathError(_missing(path, position, value), position) from None
    return value


_LISTS: Any = (list, tuple)


def _missing(path: Sequence[str | int], position: int, value: Any) -> str:
    step, before = path[position], path_text(path[:position])
    if isinstance(value, Mapping) and isinstance(step, str):
        names = [name for name in value if isinstance(name, str)]
        listed = f"; there is {', '.join(names[:10])}" if names else ""
        meant = did_you_mean(step, names, "; ") or listed
        owner = f"{before} has no" if position else "there is no value named"
        return f"{owner} {step!r}{meant}"
    if isinstance(value, _LISTS) and isinstance(step, int):
        return f"{before} has only {len(value)} items"
    if value is None:
        return f"{before} is null"
    wanted = "not a list" if isinstance(step, int) else f"so it has no field {step!r}"
    return f"{before} is {kind_of(value)}, {wanted}"


def kind_of(value: Any) -> str:
    """What a JSON value is, in a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, _LISTS) else "an object"
