"""Parts of a stream as bytes, and back: the same objects for every reader, in every process.

JSON's values, tuples, sets, dates, numbers of any size and LangChain's messages come back as they
were. Objects of other classes come back as what they hold: a pydantic model or a dataclass as a
dict, an enum as its value, an array of numpy as a list, an exception as its `repr`. A reader need
not be able to import a graph's classes, and no row can make it import anything. What can be sent
in no form is replaced by an `Omitted` that says why.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from enum import Enum
from typing import Any

import ormsgpack
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Interrupt, Overwrite, Send
from pydantic import BaseModel

from ucop.graphs.pregel.strict_msgpack import SAFE_TYPES

PART_LIMIT = 1 << 20
"""Bytes of one part. Of a larger one the largest values are left out."""

DEPTH = 50
"""Levels of a value that are looked into, where it cannot be packed as it is."""

_OPTIONS = (
    ormsgpack.OPT_NON_STR_KEYS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

_TUPLE, _SET, _FROZEN, _DEQUE, _LEAF, _OBJECT, _OMITTED, _BIG = range(1, 9)

_KNOWN: dict[str, type] = {kind.__name__: kind for kind in (Interrupt, Send, Command, Overwrite)}
"""LangGraph's own, whose parts may be anything."""

_strict = JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)


@dataclasses.dataclass(frozen=True, slots=True)
class Omitted:
    """Stands in a part for a value that was not sent."""

    reason: str


def pack(value: Any) -> bytes:
    """Any value, at most PART_LIMIT bytes of it. Raises nothing."""
    packed = _pack(value)
    for depth in (4, 3, 2, 1, 0):
        if len(packed) <= PART_LIMIT:
            break
        packed = _pack(_trim(value, depth, len(packed)))
    return packed


def unpack(data: bytes) -> Any:
    """What `pack` was given, as far as it could be sent."""
    return ormsgpack.unpackb(data, ext_hook=_unpack, option=ormsgpack.OPT_NON_STR_KEYS)


def _pack(value: Any) -> bytes:
    try:
        return ormsgpack.packb(value, default=_form, option=_OPTIONS)
    except Exception:  # noqa: BLE001 - a value of the user's: what of it cannot be sent, is marked
        return ormsgpack.packb(_walk(value, DEPTH), default=_form, option=_OPTIONS)


def _form(value: Any) -> Any:
    """The form of a value that msgpack has none for."""
    try:
        return _form_of(value)
    except Exception as error:  # noqa: BLE001 - code of the user's class
        return _omission(f"a value of {_name(value)} cannot be sent: {type(error).__name__}")


def _form_of(value: Any) -> Any:
    kind = type(value)
    if isinstance(value, tuple):
        return ormsgpack.Ext(_TUPLE, _inner(list(value)))
    if isinstance(value, BaseMessage | Document) and _is_safe(kind):
        return ormsgpack.Ext(_LEAF, _strict.dumps_typed(value)[1])
    if kind in (Interrupt, Send, Command, Overwrite):
        return ormsgpack.Ext(_OBJECT, _inner([kind.__name__, _parts(value)]))
    if isinstance(value, Omitted):
        return _omission(value.reason)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int):
        return ormsgpack.Ext(_BIG, format(value, "x").encode())
    if isinstance(value, deque):
        return ormsgpack.Ext(_DEQUE, _inner([list(value), value.maxlen]))
    for family, code in ((set, _SET), (frozenset, _FROZEN)):
        if isinstance(value, family):
            return ormsgpack.Ext(code, _inner(list(value)))
    if hasattr(value, "get_secret_value"):
        return _omission("a secret is not sent")
    if isinstance(value, BaseModel):
        return {**{name: getattr(value, name) for name in kind.model_fields}, **_extra(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, BaseException):
        return repr(value)
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if _is_safe(kind):
        return ormsgpack.Ext(_LEAF, _strict.dumps_typed(value)[1])
    return _omission(f"a value of {_name(value)} cannot be sent")


def _inner(value: Any) -> bytes:
    return ormsgpack.packb(value, default=_form, option=_OPTIONS)


def _omission(reason: str) -> ormsgpack.Ext:
    return ormsgpack.Ext(_OMITTED, reason.encode("utf-8", "replace"))


def _parts(value: Any) -> dict[str, Any]:
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _extra(value: BaseModel) -> dict[str, Any]:
    return value.__pydantic_extra__ or {}


def _is_safe(kind: type) -> bool:
    if kind.__module__ == "re":
        return kind.__name__ == "Pattern"
    return (kind.__module__, kind.__name__) in SAFE_TYPES


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _unpack(code: int, data: bytes) -> Any:
    match code:
        case 5:
            return _strict.loads_typed(("msgpack", data))
        case 7:
            return Omitted(data.decode())
        case 8:
            return int(data, 16)
    inner = unpack(data)
    match code:
        case 1:
            return tuple(inner)
        case 2:
            return set(inner)
        case 3:
            return frozenset(inner)
        case 4:
            items, longest = inner
            return deque(items, longest)
        case 6:
            name, parts = inner
            return _KNOWN[name](**parts)
    return Omitted(f"a form that this version does not know ({code})")


def _walk(value: Any, depth: int) -> Any:
    """`value` without what msgpack refuses: texts that are no Unicode, keys of odd kinds, endless
    nesting."""
    if isinstance(value, str):
        return value if _is_text(value) else Omitted("a text that is not valid Unicode")
    if depth == 0:
        return Omitted("nested too deep")
    if isinstance(value, Mapping):
        return {_key(key): _walk(item, depth - 1) for key, item in list(value.items())}
    if isinstance(value, list):
        return [_walk(item, depth - 1) for item in list(value)]
    if isinstance(value, tuple):
        return tuple(_walk(item, depth - 1) for item in value)
    try:
        ormsgpack.packb(value, default=_form, option=_OPTIONS)
    except Exception as error:  # noqa: BLE001 - as above
        return Omitted(f"a value of {_name(value)} cannot be sent: {type(error).__name__}")
    return value


def _key(key: Any) -> Any:
    if isinstance(key, bool | int | float) or key is None:
        return key
    text = key if isinstance(key, str) else repr(key)
    return text.encode("utf-8", "backslashreplace").decode()


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _trim(value: Any, depth: int, size: int) -> Any:
    """`value` without what is large in it, looked for `depth` levels deep."""
    if depth and isinstance(value, Mapping):
        return {key: _fitting(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple) and len(value) <= 10:
        return [_fitting(item, depth - 1) for item in value]
    return Omitted(f"{size} bytes are more than one part may have ({PART_LIMIT})")


def _fitting(item: Any, depth: int) -> Any:
    size = len(_pack(item))
    return item if size <= PART_LIMIT // 8 else _trim(item, depth, size)
