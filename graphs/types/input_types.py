"""Values of JSON as the types that a graph's schemas declare: times, enums, messages and objects.

What JSON can say (texts, numbers, lists and objects) stays as it is, as LangGraph leaves it;
made into something else is only what JSON has no form for.
"""

from __future__ import annotations

import base64
import collections.abc
import dataclasses
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from pathlib import PurePath
from typing import Any
from uuid import UUID

import typing_extensions
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from ucop.agents.text.paths import path_text
from ucop.agents.text.plain import plain
from ucop.agents.text.raised import first_line

LEAVES = (datetime, date, time, timedelta, Decimal, UUID, PurePath)
"""Types that JSON writes as a text or a number, and pydantic reads back."""

Path = tuple[str | int, ...]

_UNIONS = (typing.Union, types.UnionType)
_MARKS = (
    typing_extensions.Required,
    typing_extensions.NotRequired,
    typing_extensions.ReadOnly,
    typing.Required,
    typing.NotRequired,
)
_LISTS = (list, collections.abc.Sequence, collections.abc.MutableSequence, collections.abc.Iterable)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_SETS: Mapping[Any, type] = {
    set: set,
    frozenset: frozenset,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
}


class Unfit(Exception):
    """A value that its declared type cannot be made of."""

    def __init__(self, path: Path, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"{path_text(path)}: {why}" if path else why)


def hints_of(schema: Any) -> dict[str, Any]:
    """The fields that a class declares and their types; of a class whose types cannot be read,
    none."""
    if not isinstance(schema, type):
        return {}
    try:
        return dict(_hints(schema))
    except Exception:  # noqa: BLE001 - names that are not there at run time, as under TYPE_CHECKING
        return {}


@lru_cache(maxsize=512)
def _hints(schema: type) -> Mapping[str, Any]:
    """Each job asks for those of its graph's input; to read them takes longer than to check it."""
    return typing_extensions.get_type_hints(schema, include_extras=True)


def is_object(schema: Any) -> bool:
    """Whether instances of a class have fields: a pydantic model or a dataclass."""
    return isinstance(schema, type) and (
        issubclass(schema, BaseModel) or dataclasses.is_dataclass(schema)
    )


def convert(annotation: Any, value: Any, path: Path = ()) -> Any:
    """`value` as `annotation` declares it. Raises Unfit."""
    origin = typing_extensions.get_origin(annotation)
    inner = typing_extensions.get_args(annotation)
    if origin is typing.Annotated:
        return _convert_annotated(inner, value, path)
    if origin in _MARKS or origin is typing_extensions.Final:
        return convert(inner[0], value, path)
    if isinstance(annotation, typing_extensions.TypeAliasType):
        return convert(annotation.__value__, value, path)
    if origin in _UNIONS:
        return _one_of(inner, value, path)
    if origin is not None:
        return _container(origin, inner, value, path)
    return _plain_type(annotation, value, path)


def _convert_annotated(inner: tuple[Any, ...], value: Any, path: Path) -> Any:
    if any(_merges_messages(mark) for mark in inner[1:]):
        # LangGraph's reducer makes messages of them; here it is only seen whether it can.
        _messages(value, path)
        return value
    return convert(inner[0], value, path)


def _merges_messages(mark: Any) -> bool:
    name = getattr(mark, "__name__", "") or getattr(getattr(mark, "func", None), "__name__", "")
    return name in ("add_messages", "_add_messages", "_messages_delta_reducer")


def _messages(value: Any, path: Path) -> None:
    from langchain_core.messages import BaseMessage, convert_to_messages

    for index, item in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(item, BaseMessage):
            continue
        try:
            convert_to_messages([item])
        except Exception as error:
            where = (*path, index) if isinstance(value, list) else path
            raise Unfit(where, f"no message can be made of it: {first_line(error)}") from error


def _one_of(arms: tuple[Any, ...], value: Any, path: Path) -> Any:
    if value is None and type(None) in arms:
        return None
    from langchain_core.messages import BaseMessage

    if any(_is_message(arm, BaseMessage) for arm in arms) and isinstance(value, dict | str):
        return _message(BaseMessage, value, path)
    if any(_takes(arm, value) for arm in arms):
        return value
    why: list[Unfit] = []
    for arm in arms:
        if arm is type(None):
            continue
        try:
            return convert(arm, value, path)
        except Unfit as error:
            why.append(error)
    raise why[0] if why else Unfit(path, "it fits none of the declared types")


def _takes(arm: Any, value: Any) -> bool:
    """Whether a value of JSON is just what an arm of a union declares."""
    if arm is Any:
        return True
    if typing_extensions.get_origin(arm) is typing.Literal:
        return value in typing_extensions.get_args(arm)
    return isinstance(arm, type) and type(value) is arm and not isinstance(value, dict | list)


def _container(origin: Any, inner: tuple[Any, ...], value: Any, path: Path) -> Any:
    if origin in _SETS and isinstance(value, list):
        made = _SETS[origin]
        try:
            return made(_items(inner[0] if inner else Any, value, path))
        except TypeError as error:
            raise Unfit(path, f"a set cannot be made of it: {error}") from error
    if origin is tuple and isinstance(value, list):
        return _tuple(inner, value, path)
    if origin in _LISTS and isinstance(value, list):
        return _items(inner[0] if inner else Any, value, path)
    if origin in _MAPS and isinstance(value, dict) and len(inner) == 2:
        return {
            convert(inner[0], key, (*path, key)): convert(inner[1], item, (*path, key))
            for key, item in value.items()
        }
    if is_object(origin) and isinstance(value, dict):
        return _read(typing_extensions.Annotated[origin, ...], value, path)
    return value


def _items(item: Any, values: list[Any], path: Path) -> list[Any]:
    return [convert(item, each, (*path, index)) for index, each in enumerate(values)]


def _tuple(inner: tuple[Any, ...], values: list[Any], path: Path) -> Any:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(_items(inner[0], values, path))
    if inner and len(inner) != len(values):
        raise Unfit(path, f"it must have {len(inner)} items, not {len(values)}")
    kinds = inner or (Any,) * len(values)
    return tuple(
        convert(kind, each, (*path, index))
        for index, (kind, each) in enumerate(zip(kinds, values, strict=True))
    )


def _plain_type(annotation: Any, value: Any, path: Path) -> Any:
    if not isinstance(annotation, type) or value is None:
        return value
    if annotation in _SETS or annotation is tuple:
        return _container(annotation, (), value, path)
    from langchain_core.messages import BaseMessage

    if _is_message(annotation, BaseMessage):
        return _message(annotation, value, path)
    if typing_extensions.is_typeddict(annotation):
        return convert_fields(annotation, value, path)
    if is_object(annotation):
        return _read(annotation, value, path) if isinstance(value, dict) else value
    if issubclass(annotation, bytes) and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError as error:
            raise Unfit(path, f"bytes are given in base64: {error}") from error
    if issubclass(
        annotation, Enum | PurePath | Decimal | UUID | datetime | date | time | timedelta
    ):
        already = isinstance(value, annotation) and not isinstance(value, str)
        if annotation is datetime and isinstance(value, str):
            with suppress(ValueError):  # pydantic reads more, into zones of a class of its own
                return datetime.fromisoformat(value)
        return value if already else _read(annotation, value, path)
    return value


def _is_message(annotation: Any, base: type) -> bool:
    if typing_extensions.get_origin(annotation) is typing.Annotated:
        annotation = typing_extensions.get_args(annotation)[0]
    return isinstance(annotation, type) and issubclass(annotation, base)


def _message(annotation: type, value: Any, path: Path) -> Any:
    from langchain_core.messages import convert_to_messages

    if isinstance(value, annotation):
        return value
    try:
        (made,) = convert_to_messages([value])
    except Exception as error:
        raise Unfit(path, f"no message can be made of it: {first_line(error)}") from error
    if not isinstance(made, annotation):
        raise Unfit(path, f"it must be a {annotation.__name__}, not a {type(made).__name__}")
    return made


def convert_fields(schema: Any, value: Any, path: Path = ()) -> Any:
    """An object whose fields are as a class declares them, but not made an instance of it."""
    if not isinstance(value, dict):
        return value
    hints = hints_of(schema)
    return {
        name: convert(hints[name], item, (*path, name)) if name in hints else item
        for name, item in value.items()
    }


def _read(annotation: Any, value: Any, path: Path) -> Any:
    if typing_extensions.get_origin(annotation) is typing.Annotated:
        annotation = typing_extensions.get_args(annotation)[0]
    reader = reader_of(annotation)
    if reader is None:
        return value
    try:
        return reader.validate_json(to_json(value))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Unfit((*path, *first["loc"]), str(first["msg"])) from error
    except Exception as error:  # code of the project: a validator, a constructor
        raise Unfit(path, f"{type(error).__name__}: {first_line(error)}") from error


@cache
def reader_of(annotation: Any) -> TypeAdapter[Any] | None:
    """What reads JSON of a type; None if pydantic has no way to read it."""
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, TypeError, NameError):
        return None


def is_json(value: Any) -> bool:
    """Whether a value is JSON as it stands: of its very types."""
    if type(value) is dict:
        return all(type(key) is str and is_json(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_json, value))
    return value is None or type(value) in (str, int, float, bool)


def as_json(value: Any) -> Any:
    """JSON that shows `value` to people; what numbers and texts JSON cannot hold stay, to be
    refused."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Enum):
        return as_json(value.value)
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(key): as_json(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    if isinstance(value, str | int | float):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    try:
        return plain(value)
    except Exception:  # noqa: BLE001 - code of the project's own types
        return f"<{type(value).__name__}>"
