"""What ucop needs of LangGraph beyond its public names: checked when it is imported, so that another
version of LangGraph stops with a sentence and not amid a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import unwrap
from types import CodeType
from typing import Any

WANTED = "langgraph 1.2.24 or a later 1.2"


@contextmanager
def wanted(purpose: str, version: str = WANTED) -> Iterator[None]:
    """Around imports and checks. Raises ImportError that says which version is wanted, and what
    for."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise ImportError(f"this version of ucop {purpose} with {version}: {error}") from error


def need(holder: object, *names: str) -> None:
    """Raise AttributeError for a name that `holder`, a module or a class, lacks."""
    declared = holder.__annotations__ if isinstance(holder, type) else {}
    for name in names:
        if not hasattr(holder, name) and name not in declared:
            raise AttributeError(f"{getattr(holder, '__name__', holder)} has no {name!r}")


def need_use(function: Callable[..., Any], *names: str) -> None:
    """Raise AttributeError for a name that the code of `function` does not mention."""
    known = set(_names(unwrap(function).__code__))
    for name in names:
        if name not in known:
            raise AttributeError(f"{function.__qualname__} does not use {name!r}")


def _names(code: CodeType) -> Iterator[str]:
    yield from (*code.co_names, *code.co_varnames, *code.co_cellvars, *code.co_freevars)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
