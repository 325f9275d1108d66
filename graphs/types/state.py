"""Values of the state: JSON with the declared types, and how a write meets what is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ucop.agents.text.paths import kind_of, path_text
from ucop.agents.text.validation import validate
from ucop.agents.text.whole_numbers import with_whole_numbers

from ..errors import StateError
from ..language.definition import Channel, Merge

if TYPE_CHECKING:
    from ucop.agents.spec.merging import MergeFunction

Schema = Mapping[str, Any]
Reducer = Callable[[Any, Any], Any]

SMALLEST, LARGEST = -(2**63), 2**63 - 1


def _extend(old: Any, new: list[Any]) -> list[Any]:
    return [*(old or []), *new]


def _union(old: Any, new: list[Any]) -> list[Any]:
    merged = list(old or [])
    for item in new:
        if not any(_same(item, other) for other in merged):
            merged.append(item)
    return merged


def _sum(old: Any, new: Any) -> Any:
    return new if old is None else old + new


def _max(old: Any, new: Any) -> Any:
    return new if old is None else max(old, new)


REDUCERS: Mapping[Merge, Reducer] = {
    # An appended item is written as a list of one: a bare object could look like
    # LangGraph's own overwrite marker.
    Merge.append: _extend,
    Merge.extend: _extend,
    Merge.union: _union,
    Merge.sum: _sum,
    Merge.max: _max,
}
"""How written values meet; `replace` has no reducer, and `custom` a function of the project."""


def reducer_of(
    channel: Channel, merges: Mapping[str, MergeFunction] = MappingProxyType({})
) -> Reducer | None:
    """How writes to `channel` meet; None if the last one stands."""
    if channel.merge is Merge.custom:
        return _custom(channel, merges[channel.function])
    return REDUCERS.get(channel.merge)


def _custom(channel: Channel, merge: MergeFunction) -> Reducer:
    """The project's function, whose result must be what the channel declares.

    It gets copies: what it changes in place must not reach the state, which it may be asked about
    twice, once for the conditions at the edges.
    """
    where = f"merge {merge.name} ({merge.origin})"

    def reduce(old: Any, new: list[Any]) -> Any:
        try:
            value = merge.function(deepcopy(old), deepcopy(new[0]))
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise StateError(f"{where}: {channel.name} cannot be merged: {why}") from error
        return _fitting(channel, normalise(value, None, where), where)

    return reduce


def write(channel: Channel, value: Any, schema: Schema, where: str) -> Any:
    """What to write so that `value` reaches `channel`; `schema` is what its writer declares.

    Raises StateError, beginning with `where`, for a value that the channel cannot hold.
    """
    value = normalise(value, schema, where)
    match channel.merge:
        case Merge.replace:
            return _fitting(channel, value, where)
        case Merge.append:
            return [normalise(value, _items_of(channel.schema), where)]
        case Merge.extend | Merge.union:
            if not isinstance(value, list):
                raise StateError(_cannot(channel, "a list", value, where))
            return normalise(value, channel.schema, where)
        case Merge.sum:
            if not _is_number(value):
                raise StateError(_cannot(channel, "a number", value, where))
            return normalise(value, channel.schema, where)
        case Merge.max:
            if not (_is_number(value) or isinstance(value, str)):
                raise StateError(_cannot(channel, "a number or a text", value, where))
            return normalise(value, channel.schema, where)
        case Merge.custom:
            return [value]  # in a list, as with append


def normalise(value: Any, schema: Schema | None, where: str) -> Any:
    """A copy of a JSON value, with whole numbers made floats where `schema` says number, and
    integers where it says integer.

    Raises StateError, beginning with `where`, for what JSON or a checkpoint cannot hold.
    """
    if not isinstance(schema, Mapping):
        return _normalise(value, {}, (), where)
    return _normalise(with_whole_numbers(schema, value), schema, (), where)


def _normalise(value: Any, schema: Schema, path: tuple[str | int, ...], where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, path, where)
    if isinstance(value, int):
        return _integer(value, schema, path, where)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise StateError(_refusal(where, path, f"{value} is not a JSON number"))
    if isinstance(value, Mapping):
        return {
            _key(key, path, where): _normalise(item, _field(schema, key), (*path, key), where)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = _items_of(schema)
        return [_normalise(x, items, (*path, i), where) for i, x in enumerate(value)]
    raise StateError(_refusal(where, path, f"a {type(value).__name__} is not JSON"))


def _text(value: str, path: tuple[str | int, ...], where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise StateError(_refusal(where, path, "the text is not valid Unicode")) from None
    if "\0" in value:
        # PostgreSQL stores no NUL: the checkpoint, and every resume, would fail.
        raise StateError(_refusal(where, path, "the text holds a NUL character"))
    return value


def _integer(value: int, schema: Schema, path: tuple[str | int, ...], where: str) -> int | float:
    if schema.get("type") == "number" and abs(value) <= 2**53:
        return float(value)
    if SMALLEST <= value <= LARGEST:
        return int(value)
    raise StateError(_refusal(where, path, "the number does not fit into 64 bits"))


def _key(key: Any, path: tuple[str | int, ...], where: str) -> str:
    if isinstance(key, str):
        return _text(key, path, where)
    raise StateError(_refusal(where, path, f"the key {key!r} is not a text"))


def _field(schema: Schema, key: Any) -> Schema:
    properties = schema.get("properties")
    found = properties.get(key) if isinstance(properties, Mapping) else None
    if found is None:
        found = schema.get("additionalProperties")
    return found if isinstance(found, Mapping) else {}


def _items_of(schema: Schema) -> Schema:
    items = schema.get("items")
    return items if isinstance(items, Mapping) else {}


def _fitting(channel: Channel, value: Any, where: str) -> Any:
    if not channel.schema:
        return value
    value = normalise(value, channel.schema, where)
    problems = validate(channel.schema, value)
    if problems:
        raise StateError(f"{where}: {channel.name} cannot be written: {problems[0]}")
    return value


def _refusal(where: str, path: tuple[str | int, ...], why: str) -> str:
    return f"{where}: {path_text(path)}: {why}" if path else f"{where}: {why}"


def _cannot(channel: Channel, wanted: str, value: Any, where: str) -> str:
    return (
        f"{where}: {channel.name} is merged with {channel.merge.value}, which needs {wanted}, "
        f"not {kind_of(value)}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
