"""Interceptors of other packages: the entry-point group `ucop.interceptors`.

An entry point names a class that is made without arguments, or an object: an `Interceptor`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Any

from ucop.agents.models.interceptor import Interceptor, Interceptors

from ..errors import InvalidInput

log = logging.getLogger("ucop.worker")

GROUP = "ucop.interceptors"


def interceptors_of(given: Sequence[Interceptor]) -> Interceptors:
    """Those that a program has given, around those of installed packages. Raises InvalidInput."""
    try:
        Interceptors(given)
    except TypeError as error:
        raise InvalidInput(f"interceptors: {error}") from None
    return Interceptors([*given, *_installed()])


def _installed() -> Iterator[Interceptor]:
    """Those that can be used; the log tells of the others."""
    for entry_point in entry_points(group=GROUP):
        try:
            loaded: Any = entry_point.load()
            interceptor: Any = loaded() if inspect.isclass(loaded) else loaded
            Interceptors([interceptor])
        except BaseException:  # a package that is broken, or exits, takes nobody's worker down
            log.exception(
                "the interceptor %r (%s) cannot be used", *(entry_point.name, entry_point.value)
            )
            continue
        yield interceptor
