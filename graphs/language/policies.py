"""What holds for the calls of a node: how often they are tried, how long they take, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from ucop.agents.text.places import Path

from .forms import DURATION, TEXT, Form, Key, Reader, count, either, one_of, only, ref, section


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often an agent's call is tried again; pauses are in seconds."""

    attempts: Annotated[int, Key(count(100), written=True)] = 3
    """Calls in all, the first one counted."""
    delay: Annotated[float, Key(DURATION, shown="500ms", written=True)] = 0.5
    """The pause before the second call; it doubles with each further one."""
    longest: Annotated[float, Key(DURATION, shown="60s", written=True)] = 60.0
    """The longest pause."""


@dataclass(frozen=True, kw_only=True)
class Timeout:
    """How long a call may take, in seconds."""

    whole: Annotated[float | None, Key(DURATION)] = None
    """How long the whole call may take."""
    idle: Annotated[float | None, Key(DURATION)] = None
    """How long it may be silent: without a token, or a word of progress."""


class OnError(Enum):
    """What an error of a node does."""

    fail = "fail"
    continue_ = "continue"


ERROR_FIELDS = ("node", "type", "message", "items")
"""What `errors.<node>` has; `items` only if the node has `each`."""

_TIMES = section(Timeout, "timeout")
_POLICY = one_of(OnError, "on_error is fail, continue or {node: NAME}")
_ERROR_NODE = only(
    "node", TEXT, "The node that an error leads to; it reads `errors.<node>`.", "needs 'node'"
)


def _read_timeout(reader: Reader, value: Any, path: Path) -> tuple[float | None, float | None]:
    """The seconds of a whole call, and those between two signs of progress."""
    if not isinstance(value, Mapping):
        return DURATION.read(reader, value, path), None
    if not value:
        reader.error("missing-key", "a timeout needs 'whole' or 'idle'", path)
    timeout = _TIMES.read(reader, value, path)
    return timeout.whole, timeout.idle


def _write_timeout(timeout: tuple[float | None, float | None]) -> Any:
    whole, idle = timeout
    return whole if idle is None else _TIMES.write(Timeout(whole=whole, idle=idle))


def _write_on_error(policy: OnError | str) -> Any:
    return (_POLICY if isinstance(policy, OnError) else _ERROR_NODE).write(policy)


RETRY = section(Retry, "retry")
TIMEOUT = Form(_read_timeout, {"anyOf": [DURATION.schema, _TIMES.schema]}, _write_timeout)
TTL = only("ttl", DURATION, "How long an answer is kept.", "needs a time, or 'ttl'")
CACHE = either(DURATION, TTL, ref("cache"))
_EITHER = either(_POLICY, _ERROR_NODE)
ON_ERROR = Form(_EITHER.read, _EITHER.schema, _write_on_error)
