"""Plain JSON out of whatever a graph holds in its state.

`plain` keeps everything (a job's output); `brief` cuts what is long (a step's input and
output), and does little work on large values: it never walks what it will not keep.
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ucop.agents.raised import clean

TEXT_LIMIT = 500
ITEM_LIMIT = 20
DEPTH_LIMIT = 5


def plain(value: Any) -> Any:
    """`value` as JSON holds it; what JSON has no form for becomes its `repr`."""
    return _plain(value, depth=0)


def brief(value: Any) -> Any:
    """`plain`, with long texts, lists and deep nesting cut and marked by "…".

    Never raises: what a node is given and gives is shown, and nothing depends on it.
    """
    try:
        return _brief(value, DEPTH_LIMIT)
    except BaseException as error:  # noqa: BLE001 - the value's own code, whatever it does
        return f"a {type(value).__name__} that cannot be shown ({type(error).__name__})"


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, Enum) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if depth > 100:
        return repr(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    return _plain_object(value, depth)


def _plain_object(value: Any, depth: int) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, depth + 1)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID | PurePath | Decimal):
        return str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if hasattr(value, "model_dump"):  # pydantic models, LangChain messages among them
        return _plain(value.model_dump(mode="json"), depth + 1)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _plain(getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)
        }
    return repr(value)


def _brief(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return clean(value if len(value) <= TEXT_LIMIT else value[:TEXT_LIMIT] + "…")
    if isinstance(value, Mapping):
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
        return _plain(value, 0)
    return _brief(_plain(value, 0), depth)


def _brief_items(items: Iterable[Any], length: int, depth: int) -> list[Any]:
    kept = [_brief(item, depth - 1) for item in islice(items, ITEM_LIMIT)]
    return kept if length <= ITEM_LIMIT else [*kept, f"… {length} items"]
