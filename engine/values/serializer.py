"""The serializer of all savers: msgpack, of the classes that a project may store."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from ucop.graphs.pregel.allowlist import allowlist_of

from .decoding import Decoder
from .encoding import Encoder
from .state_types import GraphTypes, StateTypes, graph_types
from .stored import Stored


class Apart:
    """A value that a saver is to keep in a row of its own, whatever its type."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class StateSerializer(JsonPlusSerializer):
    """Writes what comes back as it is, and raises Unstorable for the rest.

    LangGraph asks for a copy that allows the classes of a graph's schema, for each run of it.
    """

    def __init__(self, types: StateTypes) -> None:
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=None)
        self._use(types)
        self._derived: dict[Any, StateSerializer] = {}

    def _use(self, types: StateTypes) -> None:
        self.types = types
        self._encoder, self._decoder = Encoder(types), Decoder(types)
        self._unpack_ext_hook = self._decoder.made

    def with_msgpack_allowlist(
        self, extra_allowlist: Iterable[tuple[str, ...] | type]
    ) -> StateSerializer:
        keys = frozenset(
            (each.__module__, each.__name__) if isinstance(each, type) else (each[0], each[-1])
            for each in extra_allowlist
        )
        if keys <= self.types.keys:
            return self
        if keys not in self._derived:
            self._derived[keys] = self._with(self.types.with_keys(keys))
        return self._derived[keys]

    def with_graph(self, used: GraphTypes) -> StateSerializer:
        """For a graph and the graphs inside it."""
        return self._with(self.types.with_graph(used))

    def _with(self, types: StateTypes) -> StateSerializer:
        clone = copy.copy(self)
        clone._use(types)
        clone._derived = {}
        return clone

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        if type(obj) is Stored:
            return obj.typed
        if type(obj) is Apart:
            obj = obj.value
        if obj is None:
            return "null", b""
        if type(obj) is bytes:
            return "bytes", obj
        if type(obj) is bytearray:
            return "bytearray", bytes(obj)
        return "msgpack", self._encoder.pack(obj)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, packed = data
        if kind == "msgpack":
            return self._decoder.unpack(packed)
        return super().loads_typed(data)


def serializer(patterns: Sequence[str] = ()) -> StateSerializer:
    """For all that a project may store, and with `patterns` more. What it writes itself belongs to
    no graph, and was checked where it came from."""
    return StateSerializer(StateTypes(patterns=tuple(patterns), lenient=True))


_used: WeakKeyDictionary[Any, GraphTypes] = WeakKeyDictionary()


def used_types(graph: Any) -> GraphTypes:
    """What a graph uses; looked for once."""
    key = getattr(graph, "builder", None) or graph
    if key not in _used:
        _used[key] = graph_types(graph)
    return _used[key]


def serializer_of(graph: Any, types: Sequence[str] = ()) -> StateSerializer:
    """What a saver writes the values of a graph with; `types` are those of the settings."""
    own = serializer(types).with_graph(used_types(graph))
    return own.with_msgpack_allowlist(allowlist_of(graph) or ())
