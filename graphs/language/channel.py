"""Names of the state with their types, and how writes to them meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

from ucop.agents.text.nearest import did_you_mean
from ucop.agents.text.places import Path
from ucop.agents.text.schema import check_schema, normalise
from ucop.agents.text.validation import validate

from .forms import MAPPING, TEXT, Form, Key, Reader, keys_of, only, ref
from .names import check_value_name


class Merge(Enum):
    """How a write to a channel meets what is there."""

    replace = "replace"
    append = "append"
    extend = "extend"
    union = "union"
    sum = "sum"
    max = "max"
    custom = "custom"


_MERGES = [merge.value for merge in Merge if merge is not Merge.custom]
"""How writes can meet without a function of the project."""
_CUSTOM = only(
    "custom",
    TEXT,
    "A Python function of the project that is marked with @merge, by name.",
    "needs a name or 'custom'",
    examples=["newest"],
)


def _read_merge(reader: Reader, value: Any, path: Path) -> tuple[Merge, str] | None:
    """The merge, and the function that it is if it is the project's own."""
    if isinstance(value, Mapping):
        return Merge.custom, _CUSTOM.read(reader, value, path) or ""
    if value in _MERGES:
        return Merge(value), ""
    what = f"there is no merge {value!r}; there is {', '.join(_MERGES)}, {{custom: NAME}}"
    hint = did_you_mean(value, _MERGES)
    if value == Merge.custom.value:
        what, hint = "merge: custom needs a function", "write merge: {custom: NAME}"
    reader.error("bad-merge", what, path, hint or None)
    return None


def _write_merge(merge: tuple[Merge, str]) -> Any:
    return _CUSTOM.write(merge[1]) if merge[1] else merge[0].value


_MERGE = Form(_read_merge, {"anyOf": [{"enum": _MERGES}, _CUSTOM.schema]}, _write_merge)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One name of the state."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the value; empty if nothing is declared."""
    merge: Annotated[Merge, Key(_MERGE, also="function")] = Merge.replace
    """How a write meets what is there."""
    function: str = ""
    """The project's `@merge` function, by name, if `merge` is custom."""
    path: Path = field(default=(), compare=False)


MERGE = keys_of(Channel)["merge"]


def _read_inputs(reader: Reader, value: Any, path: Path) -> dict[str, Channel]:
    declared = MAPPING.read(reader, value, path) or {}
    return {name: _channel(reader, name, one, (*path, name)) for name, one in declared.items()}


def _read_state(reader: Reader, value: Any, path: Path) -> dict[str, Channel]:
    channels: dict[str, Channel] = {}
    for name, one in (MAPPING.read(reader, value, path) or {}).items():
        here, merge = (*path, name), {}
        if isinstance(one, Mapping) and "merge" in one:
            merge = MERGE.values(reader, one["merge"], (*here, "merge"))
            one = {key: part for key, part in one.items() if key != "merge"}
        channels[name] = _channel(reader, name, one, here, **merge)
    return channels


def _channel(reader: Reader, name: str, declared: Any, path: Path, **merge: Any) -> Channel:
    check_value_name(reader, name, path, key=True)
    return Channel(name=name, schema=_type(reader, declared, path), path=path, **merge)


def _type(reader: Reader, declared: Any, path: Path) -> Mapping[str, Any]:
    """The JSON Schema of a declared type; empty if it is wrong, which is reported."""
    schema = normalise(declared)
    if not isinstance(schema, dict):
        reader.error("bad-type", "a type is a name or a JSON Schema", path)
        return {}
    problems = check_schema(schema)
    for problem in problems:
        reader.error("bad-type", problem.message, (*path, *problem.path))
    if problems:
        return {}
    for problem in validate(schema, schema["default"]) if "default" in schema else ():
        reader.error("bad-default", f"default: {problem}", (*path, "default"))
    return schema


INPUTS = Form(
    _read_inputs,
    ref("inputs"),
    lambda channels: {name: dict(one.schema) for name, one in channels.items()},
)
STATE = Form(
    _read_state,
    ref("state"),
    lambda channels: {
        name: {**one.schema, "merge": _write_merge((one.merge, one.function))}
        for name, one in channels.items()
    },
)
