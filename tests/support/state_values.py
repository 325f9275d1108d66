"""Classes and values of all kinds that a project's states may hold."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import math
import pathlib
import re
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, field_validator


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Kind(enum.StrEnum):
    NOTE = "note"


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Point(NamedTuple):
    x: int
    y: Any = 0


class Inner(BaseModel):
    text: str


class Wider(Inner):
    """A subclass of what a field declares."""

    more: int = 0


class Plan(BaseModel):
    title: str
    parts: list[Inner] = []
    when: datetime | None = None
    given: str = Field(default="x", alias="givenName")
    hidden: int = Field(default=0, exclude=True)
    any: Any = None
    _count: int = PrivateAttr(default=0)

    @field_validator("title")
    @classmethod
    def shout(cls, value: str) -> str:
        """Would change the value each time that it runs."""
        return value + "!"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    inside: T


class Ids(RootModel[list[int]]):
    pass


@dataclasses.dataclass
class Task:
    name: str
    tags: tuple[str, ...] = ()
    made: int = dataclasses.field(init=False, default=0)
    point: Point | None = None

    def __post_init__(self) -> None:
        self.made += 1

    @cached_property
    def upper(self) -> str:
        return self.name.upper()


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: Any


class Text(str):
    """A text of a class of its own."""


class Row(dict[str, Any]):
    """A dict of a class of its own."""


class Trouble(Exception):
    def __init__(self, what: str, code: int) -> None:
        super().__init__(what)
        self.code = code


def plan() -> Plan:
    made = Plan.model_construct(
        title="a", parts=[Wider(text="b", more=2)], any=Point(1, (2, 3)), hidden=4
    )
    made._count = 5
    return made


def task() -> Task:
    made = Task("a", tags=("x", "y"), point=Point(1, 2))
    _ = made.upper
    return made


VALUES: dict[str, Any] = {
    "none": None,
    "text": "a\0bé",
    "integer": 2**64 - 1,
    "float": 1e22,
    "minus zero": -0.0,
    "nan": math.nan,
    "infinity": math.inf,
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "bytearray inside": {"a": [bytearray(b"ab"), b"ab", "Ä"]},
    "tuple": (1, (2, [3, ()])),
    "set": {1, (2, 3)},
    "frozenset": frozenset({"a"}),
    "integer keys": {1: "a", 2: {3: (4,)}},
    "odd keys": {(1, "a"): 1, None: 2, 1.5: 3, True: 4, b"x": 5},
    "keys of classes": {Color.RED: 1, Kind.NOTE: 2, date(2026, 1, 1): 3, Point(1, 2): 4},
    "complex": 1 + 2j,
    "range": range(1, 9, 2),
    "deque": deque([1, 2], maxlen=3),
    "ordered": OrderedDict(b=1, a=2),
    "counter": Counter("abca"),
    "defaultdict": defaultdict(list, a=[1]),
    "datetime": datetime(2026, 1, 2, 3, 4, 5, 6),
    "datetime with offset": datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))),
    "datetime with named offset": datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2), "X")),
    "datetime with zone": datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    "utc": datetime(2026, 1, 2, tzinfo=UTC),
    "date": date(2026, 1, 2),
    "time": time(1, 2, 3, tzinfo=UTC, fold=1),
    "timedelta": timedelta(days=-1, microseconds=3),
    "zone": ZoneInfo("Asia/Tokyo"),
    "decimal": Decimal("1.10"),
    "uuid": uuid.UUID(int=7),
    "path": pathlib.Path("/a/b.txt"),
    "pure path": pathlib.PurePosixPath("a/b"),
    "pattern": re.compile("a+", re.IGNORECASE),
    "address": ipaddress.ip_address("::1"),
    "network": ipaddress.ip_network("10.0.0.0/8"),
    "enum": Color.RED,
    "integer enum": Level.LOW,
    "text enum": Kind.NOTE,
    "flags": Rights.READ | Rights.WRITE,
    "named tuple": Point(1, Point(2)),
    "model": plan(),
    "subclass of a model": Wider(text="a", more=1),
    "open model": Open(a=1, b=(2,)),  # type: ignore[call-arg]
    "root model": Ids([1, 2]),
    "generic model": Box[int](inside=1),
    "generic model of a class": Box[Inner](inside=Inner(text="a")),
    "dataclass": task(),
    "frozen dataclass": Frozen([Frozen(1)]),
    "text of its own class": Text("a"),
    "dict of its own class": Row(a=1),
    "error": ValueError("a", 1),
    "error of its own class": Trouble("a", 7),
    "message": HumanMessage("hi", id="1", additional_kwargs={"point": Point(1)}),
    "tool message": ToolMessage("x", tool_call_id="1", artifact=plan()),
    "answer": AIMessage("x", tool_calls=[{"name": "a", "args": {"b": 1}, "id": "1"}]),
    "document": Document("text", metadata={"at": date(2026, 1, 2)}),
}


def told(value: Any) -> Any:
    """All that a value is, as something that can be compared: NaN is not itself, and 1 is True."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, enum.Enum):
        return kind, repr(value)
    if isinstance(value, BaseException):
        return kind, told(value.args), told(vars(value))
    if isinstance(value, BaseModel):
        private = value.__pydantic_private__
        parts = (vars(value), value.__pydantic_extra__, private, value.__pydantic_fields_set__)
        return kind, *map(told, parts)
    if isinstance(value, dict):
        made = getattr(value, "default_factory", None)
        return kind, made, [(told(k), told(v)) for k, v in value.items()], _attributes(value)
    if isinstance(value, set | frozenset):
        return kind, sorted(map(repr, map(told, value)))
    if isinstance(value, list | tuple | deque):
        return kind, [told(each) for each in value], getattr(value, "maxlen", None)
    if dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        return kind, [(name, told(getattr(value, name))) for name in names]
    if isinstance(value, datetime | time):
        return kind, repr(value), value.fold
    return kind, repr(value)


def _attributes(value: Any) -> Any:
    return sorted(vars(value)) if hasattr(value, "__dict__") else None
