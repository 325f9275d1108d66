"""Plain JSON out of whatever a graph holds in its state.

`plain` keeps everything (a job's output); `brief` cuts what is long (a step's input and
output), and does little work on large values: it never walks what it will not keep.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from itertools import islice
from pathlib import PurePath
from re import Pattern
from typing import Any
from uuid import UUID

from ..errors import NotJson
from .raised import clean, text_of

TEXT_LIMIT = 500
ITEM_LIMIT = 20
DEPTH_LIMIT = 5


def plain(value: Any) -> Any:
    """`value` as JSON holds it. Raises NotJson for what has no form there.

    Models, dataclasses and errors become objects; tuples, sets, deques, ranges and arrays lists;
    enums their value; dates and times ISO 8601, spans of time seconds; bytes base64; UUIDs, paths,
    decimals, addresses, zones and patterns texts; NaN and infinities "NaN", "Infinity", "-Infinity".
    """
    return _plain(value, 0, _refuse)


def shown(value: Any) -> Any:
    """`plain`, for people: what JSON has no form for is told by its type. Never raises."""
    try:
        return _plain(value, 0, _type_of)
    except BaseException:  # noqa: BLE001 - the value's own code, whatever it does
        return _type_of(value)


def brief(value: Any) -> Any:
    """`plain`, with long texts, lists and deep nesting cut and marked by "…".

    Never raises: what a node is given and gives is shown, and nothing depends on it.
    """
    try:
        return _brief(value, DEPTH_LIMIT)
    except BaseException as error:  # noqa: BLE001 - the value's own code, whatever it does
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"


Otherwise = Callable[[Any], Any]
"""What becomes of a value that JSON has no form for."""

AS_TEXT = (
    UUID,
    PurePath,
    Decimal,
    tzinfo,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)


def _refuse(value: Any) -> Any:
    raise NotJson(
        f"a {_name_of(value)} has no form in JSON; give it as text, a number, a list or an object"
    )


def _type_of(value: Any) -> str:
    return f"… ({_name_of(value)})"


def _name_of(value: Any) -> str:
    kind = type(value)
    own = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"


def _plain(value: Any, depth: int, otherwise: Otherwise) -> Any:
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if depth > 100:
        return otherwise(value)
    if isinstance(value, Enum):
        return _plain(value.value, depth + 1, otherwise)
    if isinstance(value, str | int):
        return str(value) if isinstance(value, str) else int(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return _object(value, depth, otherwise)
    if isinstance(value, list | tuple | set | frozenset | deque | range):
        return [_plain(item, depth + 1, otherwise) for item in value]
    return _plain_object(value, depth, otherwise)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _object(value: Mapping[Any, Any], depth: int, otherwise: Otherwise) -> dict[str, Any]:
    made = {_key(key): _plain(item, depth + 1, otherwise) for key, item in value.items()}
    if len(made) < len(value):
        raise NotJson("two keys of a dict are one text in JSON, such as 1 and '1'")
    return made


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        return _key(key.value)
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    if isinstance(key, str | int | float):
        return str(key)
    made = _plain(key, 1, _refuse)
    return made if isinstance(made, str) else json.dumps(made, ensure_ascii=False)


def _plain_object(value: Any, depth: int, otherwise: Otherwise) -> Any:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, AS_TEXT):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Pattern):
        return _plain(value.pattern, depth + 1, otherwise)
    if isinstance(value, BaseException):
        return {"type": type(value).__name__, "message": text_of(value)}
    if isinstance(value, type):
        return otherwise(value)
    if hasattr(value, "model_dump"):  # pydantic models, LangChain messages among them
        return _plain(_dump(value), depth + 1, otherwise)
    names = _fields(value)
    if names is not None:
        return {name: _plain(getattr(value, name), depth + 1, otherwise) for name in names}
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return _plain(value.tolist(), depth + 1, otherwise)
    return otherwise(value)


def _dump(model: Any) -> Any:
    try:
        return model.model_dump(mode="json", serialize_as_any=True)
    except Exception:  # noqa: BLE001 - a field of a class that pydantic does not know
        return model.model_dump(serialize_as_any=True)


def _fields(value: Any) -> list[str] | None:
    if dataclasses.is_dataclass(value):
        return [each.name for each in dataclasses.fields(value)]
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else [each.name for each in attributes]


def _brief(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind is int or isinstance(value, int):
        return value
    if kind is str or isinstance(value, str):
        return clean(value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT] + "…")
    if kind is dict or isinstance(value, Mapping):
        if depth == 0:
            return "…"
        kept = {clean(str(k)): _brief(v, depth - 1) for k, v in islice(value.items(), ITEM_LIMIT)}
        return kept if len(value) <= ITEM_LIMIT else {**kept, "…": f"{len(value)} entries"}
    if isinstance(value, list | tuple):
        if depth == 0:
            return "…"
        return _brief_items(value, len(value), depth)
    if isinstance(value, set | frozenset):
        return _brief_items(value, len(value), depth)
    if isinstance(value, float):
        return _number(value)
    return _brief(_plain(value, 0, _type_of), depth)


def _brief_items(items: Iterable[Any], length: int, depth: int) -> list[Any]:
    kept = [_brief(item, depth - 1) for item in islice(items, ITEM_LIMIT)]
    return kept if length <= ITEM_LIMIT else [*kept, f"… {length} items"]
