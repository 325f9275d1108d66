"""What ucop needs of LangGraph beyond its public names: checked when it is imported, so that another
version of LangGraph stops with a sentence and not amid a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

WANTED = "langgraph 1.2.22 or a later 1.2"


@contextmanager
def wanted(purpose: str, version: str = WANTED) -> Iterator[None]:
    """Around imports and checks. Raises ImportError that says which version is wanted, and what
    for."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        raise ImportError(f"this version of ucop {purpose} with {version}: {error}") from error


def need(holder: object, *names: str) -> None:
    """Raise AttributeError for a name that `holder` lacks."""
    for name in names:
        if not hasattr(holder, name) and name not in getattr(holder, "__annotations__", ()):
            where = getattr(holder, "__qualname__", None) or getattr(holder, "__name__", holder)
            raise AttributeError(f"{where} has no {name!r}")


def need_use(function: object, *names: str) -> None:
    """Raise AttributeError for a name that the code of `function` does not mention."""
    code = getattr(function, "__wrapped__", function).__code__  # type: ignore[attr-defined]
    known = {*code.co_names, *code.co_varnames, *code.co_cellvars, *code.co_freevars}
    for name in names:
        if name not in known:
            raise AttributeError(f"{code.co_qualname} does not use {name!r}")
