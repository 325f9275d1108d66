"""Values as they are compared: with their types, and without ids made by chance."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.types import Interrupt, Send
from pydantic import BaseModel

CHANCE = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}|\b[0-9a-f]{32}\b"
)
"""What is new with every run: a UUID, or the digest of one."""

ADDRESS = re.compile(r"0x[0-9a-f]{6,}")

TOOK = re.compile(r"elapsed: [0-9.]+s")


def masked(text: str) -> str:
    return TOOK.sub("elapsed: …", ADDRESS.sub("0x…", CHANCE.sub("…", text)))


def shape(value: Any) -> Any:
    """`value` made of lists and dicts that compare as equal only where the types are too."""
    match value:
        case None | bool():
            return value
        case Enum():
            return [_name(value), value.name]
        case str():
            return masked(value) if type(value) is str else [_name(value), masked(value)]
        case float():
            return repr(value) if not math.isfinite(value) or value == 0 else value
        case int() | bytes():
            return value if type(value) in (int, bytes) else [_name(value), repr(value)]
        case Send():
            return ["Send", value.node, shape(value.arg)]
        case Interrupt():
            return ["Interrupt", shape(value.value)]
        case BaseMessage():
            # The state's merge function gives one its id, and a saver may see it before or after.
            return [_name(value), shape({**dict(value), "id": value.id or "…"})]
        case BaseModel():
            return [_name(value), shape(dict(value))]
        case BaseException():
            return [_name(value), masked(str(value))]
        case Mapping():
            found = [[shape(key), shape(item)] for key, item in value.items()]
            return [_name(value), sorted(found, key=repr)]
        case list():
            return [shape(item) for item in value]
        case tuple():
            return [_name(value), *map(shape, value)]
        case set() | frozenset():
            return [_name(value), *sorted(map(shape, value), key=repr)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return [_name(value), shape(fields)]
    return [_name(value), masked(repr(value))]


def _name(value: Any) -> str:
    return type(value).__name__
