"""What an agent asked other agents of its mesh, and was given."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import AgentOutputError

ANSWER, ASK = "answer", "ask"
"""The fields of what an agent says: it answers, or asks for a capability."""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What an agent asked for, and was given."""

    capability: str
    data: Mapping[str, Any]
    answer: Any


class Ask(BaseException):
    """An agent asks for something instead of answering. No error: `except Exception` must not
    catch it, as it must not catch a cancellation."""

    def __init__(self, capability: str, data: Mapping[str, Any]) -> None:
        super().__init__(capability, data)
        self.capability, self.data = capability, data


def answer_to(
    capability: str, data: Mapping[str, Any] | None, answered: Sequence[Answered], asker: str
) -> Any:
    """What was answered to this very question. Raises Ask if it was not asked yet."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        plain = to_jsonable_python(dict(data or {}))
    except PydanticSerializationError as error:
        raise AgentOutputError(f"{asker} asks for {capability!r} with no JSON: {error}") from error
    if (found := find_answer(capability, plain, answered)) is not None:
        return found.answer
    raise Ask(capability, plain)


def find_answer(capability: str, data: Any, answered: Sequence[Answered]) -> Answered | None:
    """The answer to a question that was asked before."""
    asked = (one for one in answered if one.capability == capability)
    return next((one for one in asked if _same(one.data, data)), None)


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
