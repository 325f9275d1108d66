"""The classes of a graph's schema, which LangGraph lets its savers read back."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from langgraph.pregel import Pregel

from . import strict_msgpack  # noqa: F401 - switches it on, before a graph is compiled
from .compiling import compile_again
from .wanted import need, need_use, wanted

with wanted("lets graphs read their own classes back"):
    from langgraph._internal import _serde

    need(_serde, "STRICT_MSGPACK_ENABLED", "build_serde_allowlist", "apply_checkpointer_allowlist")
    need_use(Pregel.__init__, "_serde_allowlist")

# The caller's program may have imported LangGraph before strict msgpack was switched on.
_serde.STRICT_MSGPACK_ENABLED = True  # type: ignore[attr-defined, unused-ignore]

_of_builders: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def allowlist_of(graph: Pregel[Any, Any, Any, Any]) -> Any:
    """The graph's own, even if it was compiled before strict msgpack was switched on."""
    if graph._serde_allowlist is not None:
        return graph._serde_allowlist
    builder = getattr(graph, "builder", None)
    if builder is None:  # made by `@entrypoint`, or by hand
        return _serde.build_serde_allowlist(channels=graph.channels)
    if builder not in _of_builders:
        _of_builders[builder] = compile_again(builder)._serde_allowlist
    return _of_builders[builder]
