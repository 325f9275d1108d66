"""Values as LangGraph's serialiser wrote them, taken apart and put together again without making
any object of them: nothing that stands in a file or a database is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..jobs.redaction import REDACTED

KINDS = frozenset({"msgpack", "json", "null", "empty", "bytes", "bytearray"})
"""How values are written; `pickle` is none of them."""


_WHOLE = 7
"""LangGraph's code of a value that is no object: a snapshot of a DeltaChannel. Its codes of objects
say what follows their module and name: 0 one argument, 1 several, 2 named ones, 3 one for a method,
4 and 5 the fields of a pydantic model, 6 an array; see its `checkpoint/serde/jsonplus.py`."""


@dataclass(frozen=True)
class Packed:
    """An object of a type of its own: what LangGraph would make it from, in msgpack."""

    code: int
    data: bytes


def unpack(data: bytes) -> Any:
    """Raises ValueError for what is no msgpack."""
    import ormsgpack

    return ormsgpack.unpackb(data, ext_hook=Packed, option=ormsgpack.OPT_NON_STR_KEYS)


def pack(value: Any) -> bytes:
    import ormsgpack

    # A dataclass would be written as its fields.
    option = ormsgpack.OPT_NON_STR_KEYS | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    return ormsgpack.packb(value, default=_extended, option=option)


def _extended(value: Any) -> Any:
    import ormsgpack

    if isinstance(value, Packed):
        return ormsgpack.Ext(value.code, value.data)
    raise TypeError(type(value).__name__)


Change = Callable[[str | None, str], str]
"""From the key under which a text stands, and the text, to another text."""


def mapped(value: Any, change: Change, *, named: str | None = None) -> Any:
    """`value` with every text in it changed, inside objects too. Keys, and what names a type or a
    node, stay."""
    if isinstance(value, str):
        return value if named in _IDS else change(named, value)
    if isinstance(value, dict):
        return {key: mapped(inner, change, named=_text(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mapped(inner, change, named=named) for inner in value]
    if isinstance(value, Packed):
        return _mapped_object(value, change)
    return value


_IDS = frozenset({"id", "ns", "checkpoint_ns", "task_id", "job_id"})


def _text(key: Any) -> str | None:
    return key if isinstance(key, str) else None


def _mapped_object(value: Packed, change: Change) -> Any:
    try:
        made = unpack(value.data)
    except ValueError:
        return value
    if value.code == _WHOLE:
        return Packed(value.code, pack(mapped(made, change)))
    if not (isinstance(made, list) and len(made) >= 3 and isinstance(made[1], str)):
        return value
    module, name, given, *rest = made
    match value.code, module:
        case 0, _ if "Secret" in name:
            given = REDACTED
        case 0, _ if isinstance(given, list):  # a set, say
            given = mapped(given, change)
        case 1, "langgraph.types" if isinstance(given, list):  # a node to send to, and its input
            given = [*given[:1], *mapped(given[1:], change)]
        case 0, _ if rest[1:] == ["str"]:  # a text of a class of its own
            given = mapped(given, change)
        case (1, "pathlib") | ((2 | 4 | 5), _):
            given = mapped(given, change)
        case 1, _ if rest and isinstance(rest[0], dict):  # an error
            given = mapped(given, change)
        case _:
            return value  # a date, a pattern, an array: their texts are no words
    # What an object holds beside its fields; see encoding.py.
    rest = [mapped(each, change) if isinstance(each, dict) else each for each in rest]
    return Packed(value.code, pack([module, name, given, *rest]))
