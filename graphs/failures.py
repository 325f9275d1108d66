"""Errors of nodes that a run survives (`on_error`): which those are, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langgraph.errors import GraphBubbleUp, GraphDrained

from ucop.agents.errors import UcopError

Failed = Mapping[str, Any]


def may_be_caught(error: BaseException) -> bool:
    """Whether `error` is the node's own, and not a question, a pause, or the attempt's end."""
    if not isinstance(error, Exception) or isinstance(error, GraphBubbleUp):
        return False
    return not any(_ends_attempt(e) for e in _chain(error))


def _ends_attempt(error: BaseException) -> bool:
    # An agent may have caught the refusal of a model call, and raised what it made of it.
    return isinstance(error, GraphDrained) or (isinstance(error, UcopError) and error.ends_attempt)


def failure(node: str, error: BaseException) -> Failed:
    """The error of a node as JSON."""
    return {"node": node, **_told(error)}


def failures(node: str, found: Sequence[tuple[int | str, BaseException]]) -> Failed:
    """The errors of an `each` node's items as JSON, the first of them in full view."""
    items = [{"item": key, **_told(error)} for key, error in found]
    return {**failure(node, found[0][1]), "items": items}


def _told(error: BaseException) -> dict[str, str]:
    message = str(error) or repr(error)
    # The state holds neither NUL nor half a character (`state.py`).
    clean = message.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return {"type": type(error).__name__, "message": clean}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
