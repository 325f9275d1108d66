"""`@merge`: a Python function that says how writes to one name of a workflow's state meet.

    @merge
    def newest(old: list | None, new: list) -> list:
        '''Keep the ten notes that came last.'''
        return [*(old or []), *new][-10:]

A workflow names it: `state: {notes: {type: array, merge: {custom: newest}}}`. It is found where a
project's `@agent` functions are, and stays what it was.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from ..finding import Position
from .function_body import origin_of, position_of, refuse

F = TypeVar("F", bound=Callable[[Any, Any], Any])

_MARK = "__ucop_merge__"


@dataclass(frozen=True, kw_only=True)
class MergeFunction:
    """A function of the project that makes one value of what is there and what is written."""

    name: str
    function: Callable[[Any, Any], Any]
    origin: str
    """Its file and line."""
    position: Position

    @property
    def body(self) -> Callable[[Any, Any], Any]:
        """What tells it from another of its name."""
        return self.function


@overload
def merge(function: F, /) -> F: ...


@overload
def merge(name: str | None = None, /) -> Callable[[F], F]: ...


def merge(name: Any = None, /) -> Any:
    """Mark a function of (what is there, what is written) as a merge.

    What is there is None until something was written, and both are JSON that belongs to the
    function. It must not be async, and must give the same for the same values: it is called again
    after a crash. The name is the function's own unless one is given. Raises InvalidDefinition for
    a function that cannot be a merge.
    """
    if callable(name):
        return merge()(name)

    def mark(function: F) -> F:
        made = _merge_of_function(function, name or function.__name__)
        setattr(function, _MARK, made)
        return function

    return mark


def merge_of(value: Any) -> MergeFunction | None:
    """The merge that `value` is, or that `@merge` made of it; None for anything else."""
    found = value if isinstance(value, MergeFunction) else getattr(value, _MARK, None)
    return found if isinstance(found, MergeFunction) else None


def _merge_of_function(function: Callable[[Any, Any], Any], name: str) -> MergeFunction:
    if not inspect.isfunction(inspect.unwrap(function)):
        raise TypeError("@merge marks functions that are written with def")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        refuse(function, "a merge is called between two steps and cannot be async")
    if inspect.isgeneratorfunction(function):
        refuse(function, "a generator cannot be a merge: return the whole value")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        refuse(function, "a merge takes two values: what is there, and what is written")
    return MergeFunction(
        name=name,
        function=function,
        origin=origin_of(function),
        position=position_of(function),
    )
