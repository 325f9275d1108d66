"""Errors of nodes that a run survives (`on_error`): which those are, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from langgraph.errors import GraphBubbleUp, GraphDrained

from ucop.agents.errors import UcopError
from ucop.agents.text.raised import text_of, type_of

Failed = Mapping[str, Any]


def may_be_caught(error: BaseException) -> bool:
    """Whether `error` is the node's own, and not a question, a pause, or the attempt's end."""
    if not isinstance(error, Exception) or isinstance(error, GraphBubbleUp):
        return False
    return not any(_ends_attempt(e) for e in chain(error))


def mark_item(error: BaseException, key: int | str, value: Any) -> None:
    """Note on an error which item of an `each` failed with it."""
    with suppress(AttributeError, TypeError):  # an error of compiled code may take no notes
        error.ucop_item = (key, value)  # type: ignore[attr-defined]


def item_of(error: BaseException | None) -> tuple[int | str, Any] | None:
    """The key and the value of the item of an `each` that failed, where one did."""
    for each in chain(error):
        found = getattr(each, "ucop_item", None)
        if isinstance(found, tuple) and len(found) == 2:
            return found
    return None


def _ends_attempt(error: BaseException) -> bool:
    # An agent may have caught the refusal of a model call, and raised what it made of it.
    return isinstance(error, GraphDrained) or (isinstance(error, UcopError) and error.ends_attempt)


def failure(node: str, error: BaseException) -> Failed:
    """The error of a node as JSON."""
    return {"node": node, **_description(error)}


def failures(node: str, found: Sequence[tuple[int | str, BaseException]]) -> Failed:
    """The errors of an `each` node's items as JSON, the first of them in full view."""
    items = [{"item": key, **_description(error)} for key, error in found]
    return {**failure(node, found[0][1]), "items": items}


def _description(error: BaseException) -> dict[str, str]:
    # The state holds neither NUL nor half a character (`state.py`).
    return {"type": type_of(error), "message": text_of(error)}


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what is behind it. Code may have made a ring of them."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
