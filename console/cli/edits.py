"""A state, edited as it is typed: `--set path=value`, or a file."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ucop.console.cli.exits import UsageProblem
from ucop.console.cli.inputs import pairs, read_object


def edited(values: Mapping[str, Any], typed: Sequence[str], file: str | None) -> dict[str, Any]:
    """The names of a state that are edited, with their new values. Raises UsageProblem."""
    changed = read_object(file, "--from-file") if file else {}
    for path, text in pairs(typed, "--set").items():
        name, *inner = path.split(".")
        if name not in changed:
            changed[name] = copy.deepcopy(values.get(name))
        changed[name] = _with(changed[name], inner, _value(text), path)
    return changed


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _with(value: Any, path: Sequence[str], new: Any, whole: str) -> Any:
    """`value` with something new at a path inside it."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return [
            _with(item, rest, new, whole) if index == int(key) else item
            for index, item in enumerate(value)
        ]
    if value is None or isinstance(value, dict):
        inner = (value or {}).get(key)
        return {**(value or {}), key: _with(inner, rest, new, whole)}
    raise UsageProblem(f"--set {whole}: there is no {key!r} in {json.dumps(value)[:80]}")
