"""A state's values as msgpack, in the layouts of LangGraph's own serializer, so that its tools read
them; what those leave out (a tuple's type, a field's own class, private attributes) is added where
they do not look.

A value that could not come back as it is, is refused here: it is never changed.
"""

from __future__ import annotations

import dataclasses
import gc
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from functools import cached_property
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import PurePath
from re import Pattern
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Send
from pydantic import BaseModel

from ucop.agents.text.raised import text_of, type_of

from ..errors import Unstorable
from .state_types import StateTypes

ONE, SEVERAL, NAMED, METHOD, PYDANTIC_1, PYDANTIC_2, ARRAY, WHOLE = range(8)
"""LangGraph's codes; see its `checkpoint/serde/jsonplus.py`."""

FACTORIES: Mapping[str, Any] = {
    kind.__name__: kind for kind in (list, dict, set, int, float, str, bool, tuple)
}
"""What a defaultdict may make."""

ARRAYS = "biufcSUmM"
"""Kinds of numpy's arrays that are their bytes."""

PLAIN_KEYS = (str, int, float, bool, bytes, type(None))

AS_PLAIN = frozenset(
    {
        ("langchain_core.messages.base", "TextAccessor"),
        ("langchain_core.runnables.utils", "AddableDict"),
    }
)
"""Libraries' own texts and maps that nobody takes for more."""

_OPTION = (
    ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
_ANY_KEY = _OPTION | ormsgpack.OPT_NON_STR_KEYS

raised = threading.local()
"""What the code that msgpack called has raised, by thread."""


class _Pairs:
    """A dict whose keys are no texts."""

    def __init__(self, pairs: list[list[Any]]) -> None:
        self.pairs = pairs


class Encoder:
    """Writes values of the classes that `types` allows."""

    def __init__(self, types: StateTypes) -> None:
        self._types = types

    def pack(self, value: Any) -> bytes:
        """Raises Unstorable."""
        try:
            data = ormsgpack.packb(value, default=self._default, option=_OPTION)
        except Exception as error:  # noqa: BLE001 - whatever the value's own code raises
            return self._packed_anyhow(value, error)
        # What begins bytes in msgpack; it may be a part of other values as well.
        may_hold = b"\xc4" in data or b"\xc5" in data or b"\xc6" in data
        if may_hold and _holds_buffer(value):
            return ormsgpack.packb(_walk(value), default=self._default, option=_ANY_KEY)
        return data

    def _packed_anyhow(self, value: Any, error: BaseException) -> bytes:
        """A value with keys that are no texts. Raises Unstorable where that is not all."""
        if "key must be str" not in str(error) or getattr(raised, "error", None) is not None:
            raise _refusal(value, error) from None
        try:
            return ormsgpack.packb(_walk(value), default=self._default, option=_ANY_KEY)
        except Exception as another:  # noqa: BLE001
            raise _refusal(value, another) from None

    # ------------------------------------------------------------ what msgpack has no form for

    def _default(self, value: Any) -> ormsgpack.Ext:
        try:
            return self._ext_of(value)
        except BaseException as error:
            raised.error = error  # msgpack raises one of its own in its place
            raise

    def _ext_of(self, value: Any) -> ormsgpack.Ext:
        kind = type(value)
        write = _WRITERS.get(kind)
        if write is not None:
            return write(self, value)
        if isinstance(value, Enum):
            return self._enum(value)
        if isinstance(value, BaseModel):
            return self._pydantic(value)
        if hasattr(kind, "get_secret_value"):
            raise Unstorable(
                _type_name(kind), "secrets are not stored; give it by the job's context"
            )
        if hasattr(kind, "__fields_set__") or hasattr(kind, "__validators__"):
            return self._pydantic_1(value)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            fields: Any = kind._fields
            return self._made(NAMED, kind, dict(zip(fields, value, strict=True)))
        if isinstance(value, PurePath):
            name = [kind.__module__, kind.__name__]
            return self._ext(SEVERAL, [*name, list(value.parts)])
        if dataclasses.is_dataclass(value):
            names = [each.name for each in dataclasses.fields(value)]
            return self._fields(value, names)
        if hasattr(kind, "__attrs_attrs__"):
            return self._fields(value, [each.name for each in kind.__attrs_attrs__])
        if isinstance(value, BaseException):
            return self._made(SEVERAL, kind, list(value.args), _rest(value, ()))
        return self._odd(value, kind)

    def _odd(self, value: Any, kind: type) -> ormsgpack.Ext:
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray):
            return self._array(value)
        if numpy is not None and isinstance(value, numpy.generic):
            raise Unstorable(_type_name(kind), "give the plain number: value.item()")
        for base in (str, int, float, bytes, list, dict, tuple, set, frozenset):
            if isinstance(value, base):
                return self._subclass(value, kind, base)
        raise Unstorable(
            _type_name(kind),
            "states hold JSON's types, dates, sets, dataclasses, pydantic models and the like",
        )

    def _subclass(self, value: Any, kind: type, base: type) -> ormsgpack.Ext:
        """A text, number or collection of a class of its own."""
        if (kind.__module__, kind.__qualname__) in AS_PLAIN:
            return self._ext(ONE, ["builtins", base.__name__, base(value)])
        whole: Any = base(value) if base is not dict else [[k, v] for k, v in value.items()]
        if base in (tuple, set, frozenset):
            whole = list(whole)
        return self._made(ONE, kind, whole, _rest(value, ()), base.__name__)

    def _made(self, code: int, kind: type, given: Any, *more: Any) -> ormsgpack.Ext:
        module, name = self._types.name_of(kind)
        return self._ext(code, [module, name, given, *more])

    def _ext(self, code: int, parts: Any) -> ormsgpack.Ext:
        return ormsgpack.Ext(code, self.pack(parts))

    def _enum(self, value: Enum) -> ormsgpack.Ext:
        name = None if isinstance(value, Flag) else value.name
        plain: Any = value.value
        return self._made(ONE, type(value), plain, name)

    def _pydantic(self, value: Any) -> ormsgpack.Ext:
        """By its fields as they are: `model_dump` takes apart what stands in them."""
        fields = type(value).__pydantic_fields__
        held = value.__dict__
        given = {name: held[name] for name in fields if name in held}
        rest: dict[str, Any] = {}
        if len(given) != len(value.__pydantic_fields_set__):
            rest["set"] = sorted(value.__pydantic_fields_set__)
        if extra := value.__pydantic_extra__:
            rest["extra"] = extra
        if private := value.__pydantic_private__:
            rest["private"] = {name: each for name, each in private.items() if _is_value(each)}
        kind: Any = type(value)
        generic = kind.__pydantic_generic_metadata__
        if generic["origin"] is not None:
            rest["of"] = [self._argument(kind, each) for each in generic["args"]]
            kind = generic["origin"]
        return self._made(PYDANTIC_2, kind, given, "model_validate_json", rest)

    def _argument(self, kind: type, argument: Any) -> list[str]:
        """What stands in the brackets of `Box[int]`."""
        if not isinstance(argument, type):
            raise Unstorable(_type_name(kind), "make it a class of its own: `class Name(Box[...])`")
        if argument.__module__ == "builtins":
            return ["builtins", argument.__name__]
        return list(self._types.name_of(argument))

    def _pydantic_1(self, value: Any) -> ormsgpack.Ext:
        given = {name: value.__dict__[name] for name in type(value).__fields__}
        return self._made(PYDANTIC_1, type(value), given, sorted(value.__fields_set__))

    def _fields(self, value: Any, names: list[str]) -> ormsgpack.Ext:
        given = {name: getattr(value, name) for name in names if hasattr(value, name)}
        rest = _rest(value, names)
        return self._made(NAMED, type(value), given, *([rest] if rest else []))

    def _array(self, value: Any) -> ormsgpack.Ext:
        kind = type(value)
        if (kind.__module__, kind.__name__) != ("numpy", "ndarray"):
            raise Unstorable(_type_name(kind), "store the plain array, or value.tolist()")
        if value.dtype.kind not in ARRAYS or value.dtype.metadata:
            raise Unstorable(
                f"numpy.ndarray of {value.dtype}", "its elements are objects; use value.tolist()"
            )
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        parts = [value.dtype.str, list(value.shape), order, value.tobytes(order=order)]
        return self._ext(ARRAY, parts)


def _is_value(value: Any) -> bool:
    return type(value).__name__ != "PydanticUndefinedType"


def _rest(value: Any, names: Any) -> dict[str, Any]:
    """What an object holds beside its fields. What it can compute again is left out."""
    held = getattr(value, "__dict__", None)
    if not held:
        return {}
    known = set(names)
    return {
        name: each
        for name, each in held.items()
        if name not in known and not isinstance(_on_class(value, name), cached_property)
    }


def _on_class(value: Any, name: str) -> Any:
    return next((vars(k)[name] for k in type(value).__mro__ if name in vars(k)), None)


Writer = Callable[[Encoder, Any], ormsgpack.Ext]


def _one(module: str, name: str, given: Callable[[Any], Any]) -> Writer:
    return lambda encoder, value: encoder._ext(ONE, [module, name, given(value)])


def _several(module: str, name: str, given: Callable[[Any], list[Any]]) -> Writer:
    return lambda encoder, value: encoder._ext(SEVERAL, [module, name, given(value)])


def _deque(encoder: Encoder, value: deque[Any]) -> ormsgpack.Ext:
    if value.maxlen is None:
        return encoder._ext(ONE, ["collections", "deque", list(value)])
    return encoder._ext(SEVERAL, ["collections", "deque", [list(value), value.maxlen]])


def _defaultdict(encoder: Encoder, value: defaultdict[Any, Any]) -> ormsgpack.Ext:
    made = value.default_factory
    if made is not None and made not in FACTORIES.values():
        raise Unstorable(
            "collections.defaultdict", "what it makes by default is a function; use a dict"
        )
    name = None if made is None else getattr(made, "__name__", None)
    return encoder._ext(SEVERAL, ["collections", "defaultdict", [name, _pairs_of(value)]])


def _datetime(encoder: Encoder, value: datetime) -> ormsgpack.Ext:
    _check_zone(value.tzinfo)
    if not value.fold and _is_offset(value.tzinfo):
        parts = ["datetime", "datetime", value.isoformat(), "fromisoformat"]
        return encoder._ext(METHOD, parts)
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond", "tzinfo", "fold")
    given = {name: getattr(value, name) for name in names}
    return encoder._ext(NAMED, ["datetime", "datetime", given])


def _time(encoder: Encoder, value: time) -> ormsgpack.Ext:
    _check_zone(value.tzinfo)
    names = ("hour", "minute", "second", "microsecond", "tzinfo", "fold")
    return encoder._ext(NAMED, ["datetime", "time", {n: getattr(value, n) for n in names}])


def _is_offset(zone: Any) -> bool:
    """Whether a zone is all that its hours and minutes say."""
    if zone is None or zone is UTC:
        return True
    return type(zone) is timezone and len(zone.__getinitargs__()) == 1  # type: ignore[attr-defined]


def _check_zone(zone: Any) -> None:
    if zone is not None and type(zone) not in (timezone, ZoneInfo):
        raise Unstorable(_type_name(type(zone)), "use datetime.timezone or zoneinfo.ZoneInfo")


def _zone(encoder: Encoder, value: ZoneInfo) -> ormsgpack.Ext:
    if value.key is None:
        raise Unstorable("zoneinfo.ZoneInfo", "it has no key")
    return encoder._ext(ONE, ["zoneinfo", "ZoneInfo", value.key])


def _pattern(encoder: Encoder, value: Pattern[Any]) -> ormsgpack.Ext:
    return encoder._ext(SEVERAL, ["re", "compile", [value.pattern, value.flags]])


def _send(encoder: Encoder, value: Send) -> ormsgpack.Ext:
    given = [value.node, value.arg]
    timeout = getattr(value, "timeout", None)
    parts = given if timeout is None else [*given, timeout]
    return encoder._ext(SEVERAL, ["langgraph.types", "Send", parts])


def _item(encoder: Encoder, value: Item) -> ormsgpack.Ext:
    given = {name: getattr(value, name) for name in value.__slots__}
    return encoder._ext(NAMED, ["langgraph.store.base", "Item", given])


def _pairs_of(value: Mapping[Any, Any]) -> list[list[Any]]:
    return [[key, each] for key, each in value.items()]


_WRITERS: dict[type, Writer] = {
    tuple: _one("builtins", "tuple", list),
    set: _one("builtins", "set", list),
    frozenset: _one("builtins", "frozenset", list),
    bytearray: _one("builtins", "bytearray", bytes),
    complex: _one("builtins", "complex", lambda value: [value.real, value.imag]),
    range: _one("builtins", "range", lambda value: [value.start, value.stop, value.step]),
    _Pairs: _one("builtins", "dict", lambda value: value.pairs),
    deque: _deque,
    OrderedDict: _one("collections", "OrderedDict", _pairs_of),
    Counter: _one("collections", "Counter", _pairs_of),
    defaultdict: _defaultdict,
    datetime: _datetime,
    date: _several("datetime", "date", lambda day: [day.year, day.month, day.day]),
    time: _time,
    timedelta: _several(
        "datetime", "timedelta", lambda each: [each.days, each.seconds, each.microseconds]
    ),
    timezone: _several("datetime", "timezone", lambda zone: list(zone.__getinitargs__())),
    ZoneInfo: _zone,
    UUID: _one("uuid", "UUID", lambda value: value.hex),
    Decimal: _one("decimal", "Decimal", str),
    Pattern: _pattern,
    Send: _send,
    Item: _item,
    _DeltaSnapshot: lambda encoder, value: encoder._ext(WHOLE, value.value),
    **{
        kind: _one("ipaddress", kind.__name__, str)
        for kind in (
            IPv4Address,
            IPv4Interface,
            IPv4Network,
            IPv6Address,
            IPv6Interface,
            IPv6Network,
        )
    },
}


# ---------------------------------------------------------------- what needs a second look


def _holds_buffer(value: Any) -> bool:
    """Whether a bytearray is somewhere inside: msgpack takes it for bytes. Level by level, because
    that leaves the work to C."""
    level = [value]
    while True:
        kinds = set(map(type, level))
        if not kinds.isdisjoint((bytearray, memoryview)):
            return True
        if kinds.isdisjoint((dict, list)):
            return False
        level = gc.get_referents(*[each for each in level if type(each) in (dict, list)])


class _Buffer:
    def __init__(self, value: bytearray) -> None:
        self.value = value


_WRITERS[_Buffer] = _one("builtins", "bytearray", lambda each: bytes(each.value))


def _walk(value: Any) -> Any:
    """A copy, with dicts that msgpack would change, and bytearrays, marked."""
    kind = type(value)
    if kind is dict:
        if all(type(key) in PLAIN_KEYS for key in value):
            return {key: _walk(each) for key, each in value.items()}
        return _Pairs([[_walk(key), _walk(each)] for key, each in value.items()])
    if kind is list:
        return [_walk(each) for each in value]
    if kind is bytearray:
        return _Buffer(value)
    if kind is memoryview:
        raise Unstorable("memoryview", "use bytes")
    return value


def _refusal(value: Any, error: BaseException) -> Unstorable:
    """What msgpack's error means."""
    own, raised.error = getattr(raised, "error", None), None
    if isinstance(own, Unstorable):
        return own
    if own is not None:
        return Unstorable(_type_name(type(value)), f"{type_of(own)}: {text_of(own)}")
    text = str(error)
    if "64-bit" in text:
        return Unstorable("int", "it has more than 64 bits; store it as text")
    if "surrogates" in text:
        return Unstorable("str", "it holds lone surrogates, which no UTF-8 has")
    if "ecursion" in text:
        return Unstorable(_type_name(type(value)), "it holds itself, or is nested too deeply")
    return Unstorable(_type_name(type(value)), f"{type(error).__name__}: {text}")


def _type_name(kind: type) -> str:
    own = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}"
