"""Values of a graph as they are stored: made once, where the node that gave them is known.

Whatever keeps a value from being stored is found here, before anything is written, and told as
Unstorable: an error of the node, and not of the database.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from langgraph.types import Send

from ucop.agents.text.plain import plain
from ucop.agents.text.raised import bounded, clean, text_of, type_of

from ..errors import Unstorable
from .json_text import to_json

MOST_BYTES = 1_000_000_000
"""Bytes of one value. PostgreSQL takes 1 GiB less what it adds, SQLite this by default."""

ROOM = 65_536
"""Bytes that a row needs beside the value."""

MOST_ERROR = 16_000
"""Bytes of an error that LangGraph keeps with its task."""

MOST_INLINE = 200_000_000
"""Characters of a text that PostgreSQL's JSON takes: LangGraph keeps texts of the state so."""

_DEEP = 20
"""Levels that are searched for the part of a value that cannot be stored."""

_WHY = 500
"""Characters of what a serializer says."""


class Serde(Protocol):
    """What turns a value into bytes."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """A value that was turned into bytes already: serializers pass it on as it is."""

    typed: tuple[str, bytes]


def stored(
    serde: Serde, value: Any, *, node: str | None, channel: str, most: int = MOST_BYTES
) -> Stored:
    """A value as bytes. Raises Unstorable, whatever the value's own code does."""
    try:
        typed = serde.dumps_typed(value)
    except Unstorable as error:
        raise error.at(node, channel) from error.__cause__
    except BaseException as error:
        kind, why = culprit(value, serde.dumps_typed, error)
        raise Unstorable(kind, why, node=node, channel=channel) from error
    if len(typed[1]) > most - ROOM:
        raise too_large(value, len(typed[1]), most, node, channel)
    return Stored(typed)


def too_large(value: Any, size: int, most: int, node: str | None, channel: str) -> Unstorable:
    """The error of a value that takes more than a database holds."""
    why = f"it takes {_size(size)}, and the database {_size(most - ROOM)} at most"
    return Unstorable(kind_of(value), why, node=node, channel=channel)


def stored_error(serde: Serde, error: Any) -> Stored:
    """What LangGraph keeps of a task's error: its `repr`, where that can be had and is short."""
    try:
        typed = serde.dumps_typed(repr(error) if isinstance(error, BaseException) else error)
        if len(typed[1]) <= MOST_ERROR:
            return Stored(typed)
    except BaseException:  # noqa: BLE001, S110 - the error's own code; its text tells below
        pass
    text = text_of(error) if isinstance(error, BaseException) else bounded(clean(str(error)))
    return Stored(serde.dumps_typed(f"{type_of(error)}({text!r})"))


def stored_json(value: Any, *, node: str | None, channel: str) -> str:
    """The JSON of a question, or of what a node tells while it runs. Raises Unstorable."""
    try:
        text = to_json(plain(value))
        size = len(text if text.isascii() else text.encode())
    except BaseException as error:
        kind, why = culprit(value, _json, error)
        raise Unstorable(kind, why, node=node, channel=channel) from error
    if size > MOST_BYTES - ROOM:
        raise too_large(value, size, MOST_BYTES, node, channel)
    return text


def kind_of(value: object) -> str:
    """The type of a value, with its module unless it is one of Python's own."""
    kind = type(value)
    own = kind.__module__ in ("builtins", "__main__")
    return clean(kind.__qualname__ if own else f"{kind.__module__}.{kind.__qualname__}")


def culprit(value: Any, dump: Callable[[Any], object], error: BaseException) -> tuple[str, str]:
    """The type of the innermost part of a value that `dump` refuses, and why it does."""
    path = ""
    part, why = value, error
    for _ in range(_DEEP):
        found = _refused_part(part, dump)
        if found is None:
            break
        key, part, why = found
        path += key
    place = f"at {path} of a {kind_of(value)}: " if path else ""
    said = "" if isinstance(why, Unstorable) else f"{type_of(why)}: "
    return kind_of(part), bounded(f"{place}{said}{text_of(why)}", _WHY)


def _refused_part(
    value: Any, dump: Callable[[Any], object]
) -> tuple[str, Any, BaseException] | None:
    """The first part of a value that `dump` refuses, how it is reached, and why."""
    try:
        for key, part in _parts(value):
            if (why := _refusal(part, dump)) is not None:
                return key, part, why
    except BaseException:  # noqa: BLE001, S110 - a value that cannot even be looked into
        pass
    return None


def _refusal(value: Any, dump: Callable[[Any], object]) -> BaseException | None:
    try:
        dump(value)
    except BaseException as error:  # noqa: BLE001 - the value's own code, whatever it raises
        return error
    return None


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value is made of, each with how it is reached."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield f" key {_key_text(key)}", key
            yield f"[{_key_text(key)}]", item
    elif isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        for index, item in enumerate(value):
            yield f"[{index}]", item
    elif isinstance(value, Send):
        yield ".arg", value.arg
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield f".{field.name}", getattr(value, field.name, None)
    elif isinstance(fields := getattr(type(value), "model_fields", None), Mapping):
        for name in fields:
            yield f".{name}", getattr(value, name, None)


def _key_text(key: object) -> str:
    return clean(repr(key)) if isinstance(key, str | int | float | bool | None) else kind_of(key)


def _json(value: Any) -> bytes:
    return to_json(plain(value)).encode()


def _size(count: int) -> str:
    return f"{count / 1_000_000:,.0f} MB" if count >= 10_000_000 else f"{count:,} bytes"
