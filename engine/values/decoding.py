"""Values as encoding.py wrote them, and as LangGraph's serializer did.

Nothing is called but the constructors of Python's own data types. An object of another class is
given what it held, without its class's code: `__init__` and validators do not run again.
"""

from __future__ import annotations

import dataclasses
import importlib
import ipaddress
import pathlib
import re
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import ormsgpack
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.store.base import Item
from langgraph.types import Send
from pydantic import BaseModel, RootModel

from .encoding import (
    ARRAY,
    ARRAYS,
    FACTORIES,
    METHOD,
    NAMED,
    PYDANTIC_1,
    PYDANTIC_2,
    SEVERAL,
    WHOLE,
    raised,
)
from .state_types import Name, StateTypes

Made = Callable[..., Any]

BUILTIN: Mapping[Name, Made] = {
    ("builtins", "tuple"): tuple,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "complex"): lambda parts: complex(*parts),
    ("builtins", "range"): lambda parts: range(*parts),
    ("builtins", "dict"): dict,
    ("builtins", "str"): str,
    ("builtins", "list"): list,
    ("builtins", "int"): int,
    ("builtins", "float"): float,
    ("builtins", "bytes"): bytes,
    ("collections", "deque"): deque,
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): lambda pairs: Counter(dict(pairs)),
    ("collections", "defaultdict"): lambda name, pairs: defaultdict(
        None if name is None else FACTORIES[name], pairs
    ),
    ("datetime", "datetime"): datetime,
    ("datetime", "date"): date,
    ("datetime", "time"): time,
    ("datetime", "timedelta"): timedelta,
    ("datetime", "timezone"): timezone,
    ("zoneinfo", "ZoneInfo"): ZoneInfo,
    ("uuid", "UUID"): UUID,
    ("decimal", "Decimal"): Decimal,
    ("re", "compile"): re.compile,
    ("langgraph.types", "Send"): lambda node, arg, timeout=None: (
        Send(node, arg) if timeout is None else Send(node, arg, timeout=timeout)
    ),
    ("langgraph.store.base", "Item"): Item,
    **{
        ("ipaddress", name): getattr(ipaddress, name)
        for name in (
            "IPv4Address",
            "IPv4Interface",
            "IPv4Network",
            "IPv6Address",
            "IPv6Interface",
            "IPv6Network",
        )
    },
    **{
        (module, name): getattr(pathlib, name)
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PurePath", "PosixPath", "PurePosixPath", "PureWindowsPath")
    },
}
"""Data types of Python and LangGraph: their constructors run no code of others."""

BASES: Mapping[str, Any] = {
    kind.__name__: kind for kind in (str, int, float, bytes, list, dict, tuple, set, frozenset)
}


class Decoder:
    """Makes values of the classes that `types` allows; of others remains what they held."""

    def __init__(self, types: StateTypes) -> None:
        self._types = types

    def unpack(self, data: bytes) -> Any:
        try:
            return ormsgpack.unpackb(data, ext_hook=self.made, option=ormsgpack.OPT_NON_STR_KEYS)
        except ValueError:
            own, raised.error = getattr(raised, "error", None), None
            if own is not None:
                raise own from None
            raise

    def made(self, code: int, data: bytes) -> Any:
        """An object, from its code and what it is made from."""
        try:
            return self._made(code, data)
        except BaseException as error:
            raised.error = error  # msgpack raises one of its own in its place
            raise

    def _made(self, code: int, data: bytes) -> Any:
        parts = self.unpack(data)
        if code == WHOLE:
            return _DeltaSnapshot(parts)
        if code == ARRAY:
            return _array(*parts)
        if not (isinstance(parts, list | tuple) and len(parts) >= 3):
            return parts
        module, name, given, *more = parts
        if code == METHOD:
            is_date = (module, name, more[:1]) == ("datetime", "datetime", ["fromisoformat"])
            return datetime.fromisoformat(given) if is_date else given
        if (build := BUILTIN.get((module, name))) is not None:
            return _built(build, code, given)
        kind = self._types.find((module, name)) if _are_texts(module, name) else None
        return given if kind is None else _object(kind, code, given, more, self._types)


def _are_texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _built(build: Made, code: int, given: Any) -> Any:
    try:
        if code == SEVERAL:
            return build(*given)
        return build(**given) if code == NAMED else build(given)
    except TypeError:  # LangGraph wrote it, for which a set of tuples is one of lists
        return given


def _array(dtype: str, shape: Any, order: Any, data: bytes) -> Any:
    numpy: Any = importlib.import_module("numpy")
    kind = numpy.dtype(dtype)
    if kind.kind not in ARRAYS:
        return None
    # What comes out of bytes cannot be written to.
    return numpy.frombuffer(data, dtype=kind).reshape(shape, order=order).copy(order=order)


def _object(kind: type, code: int, given: Any, more: list[Any], types: StateTypes) -> Any:
    if issubclass(kind, Enum):
        return _member(kind, given, more)
    if code == PYDANTIC_2 and issubclass(kind, BaseModel):
        rest = more[1] if len(more) > 1 else None
        return _pydantic(_with_arguments(kind, rest, types), given, rest)
    if code == PYDANTIC_1 and hasattr(kind, "__fields__"):
        return _pydantic_1(kind, given, more[0] if more else given)
    if code == NAMED and issubclass(kind, tuple):
        fields = getattr(kind, "_fields", ())
        defaults = getattr(kind, "_field_defaults", {})
        return tuple.__new__(kind, [given.get(name, defaults.get(name)) for name in fields])
    if code == NAMED and (dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__")):
        return _with_fields(kind, {**_defaults(kind, given), **given, **(more[0] if more else {})})
    if code == SEVERAL and issubclass(kind, BaseException):
        error = kind.__new__(kind, *given)
        error.args = tuple(given)
        vars(error).update(more[0] if more else {})
        return error
    if len(more) > 1 and more[1] in BASES:
        return _subclass(kind, BASES[more[1]], given, more[0])
    return given


def _member(kind: type[Enum], value: Any, more: list[Any]) -> Any:
    name = more[0] if more else ""
    return kind.__members__[name] if name in kind.__members__ else kind(value)


def _with_arguments(kind: Any, rest: Any, types: StateTypes) -> Any:
    """`Box[int]` of `Box`."""
    if not (rest and "of" in rest):
        return kind
    found = [
        BASES.get(name) if at == "builtins" else types.find((at, name)) for at, name in rest["of"]
    ]
    return kind if None in found else kind[tuple(found)]


def _pydantic(kind: Any, given: dict[str, Any], rest: dict[str, Any] | None) -> Any:
    fields = kind.__pydantic_fields__
    if rest is None:  # as LangGraph wrote it, whose fields are those of `model_dump`
        try:
            return kind(**given)
        except Exception:  # noqa: BLE001 - what LangGraph does then
            return kind.model_construct(**given)
    held = dict(given)
    for name, each in fields.items():
        if name not in held and not each.is_required():  # it is new in the class
            held[name] = each.get_default(call_default_factory=True, validated_data=held)
    model = kind.__new__(kind)
    object.__setattr__(model, "__dict__", held)
    object.__setattr__(model, "__pydantic_fields_set__", set(rest.get("set", given)))
    if issubclass(kind, RootModel):  # has neither
        return model
    extra = rest.get("extra") or ({} if kind.model_config.get("extra") == "allow" else None)
    object.__setattr__(model, "__pydantic_extra__", extra)
    private = {n: a.get_default() for n, a in kind.__private_attributes__.items()}
    private.update(rest.get("private") or {})
    object.__setattr__(model, "__pydantic_private__", private or None)
    return model


def _pydantic_1(kind: Any, given: dict[str, Any], names: Any) -> Any:
    model = kind.__new__(kind)
    object.__setattr__(model, "__dict__", dict(given))
    object.__setattr__(model, "__fields_set__", set(names))
    model._init_private_attributes()
    return model


def _with_fields(kind: type, held: Mapping[str, Any]) -> Any:
    made: Any = object.__new__(kind)
    for name, value in held.items():
        object.__setattr__(made, name, value)
    return made


def _defaults(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of fields that are new in the class."""
    if not dataclasses.is_dataclass(kind):
        return {}
    found: dict[str, Any] = {}
    for each in dataclasses.fields(kind):
        if each.name in given:
            continue
        if each.default is not dataclasses.MISSING:
            found[each.name] = each.default
        elif each.default_factory is not dataclasses.MISSING:
            found[each.name] = each.default_factory()
    return found


def _subclass(kind: type, base: Any, given: Any, rest: Mapping[str, Any]) -> Any:
    if not issubclass(kind, base):
        return given
    made: Any = base.__new__(kind, given) if base not in (list, dict, set) else base.__new__(kind)
    match base.__name__:
        case "list":
            list.extend(made, given)
        case "set":
            set.update(made, given)
        case "dict":
            for key, value in given:
                dict.__setitem__(made, key, value)
    for name, value in rest.items():
        object.__setattr__(made, name, value)
    return made
