"""Some parts of one attempt as one row's body, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ormsgpack

from ucop.engine.live_parts import Omitted, pack, unpack

FULL = 256 << 10
"""Bytes at which a batch is written without waiting for more."""


class Batch:
    """Parts that are written together. What is said of each token of one message (`metadata`) is
    kept once."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, bytes]] = []
        self._metadata: list[bytes] = []
        self._known: dict[int, tuple[int, Any]] = {}
        """Where the metadata is that an object was; it is held, for its id is its name."""
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def is_full(self) -> bool:
        return self._size >= FULL

    def add(self, part: Mapping[str, Any]) -> None:
        """Take a part as it is now: what the graph changes in it later is not seen."""
        mode, data = part["type"], part["data"]
        if mode == "messages":
            message, metadata = data
            data = (message, self._place(metadata))
        elif mode == "checkpoints":
            data = _without_settings(data)
        elif mode == "debug" and data["type"] == "checkpoint":
            data = {**data, "payload": _without_settings(data["payload"])}
        packed = pack([list(part["ns"]), data, list(part.get("interrupts", ()))])
        self._parts.append((mode, packed))
        self._size += len(packed)

    def body(self) -> bytes:
        return ormsgpack.packb([self._metadata, self._parts])

    def _place(self, metadata: Any) -> int:
        known = self._known.get(id(metadata))
        if known is not None:
            return known[0]
        packed = pack(metadata)
        self._metadata.append(packed)
        self._size += len(packed)
        place = len(self._metadata) - 1
        self._known[id(metadata)] = (place, metadata)
        return place


WHERE = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
"""What a checkpoint's config has to say. What else a run is configured with may be secret."""


def _without_settings(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **checkpoint,
        "config": _where(checkpoint.get("config")),
        "parent_config": _where(checkpoint.get("parent_config")),
        "tasks": [{**task, "state": _where(task.get("state"))} for task in checkpoint["tasks"]],
    }


def _where(config: Any) -> Any:
    if not isinstance(config, Mapping):
        return config
    named = config.get("configurable", {})
    return {"configurable": {name: named[name] for name in WHERE if name in named}}


def parts_of(body: bytes, modes: frozenset[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The parts of these modes, each with its number in the row."""
    metadata, parts = ormsgpack.unpackb(body)
    for index, (mode, packed) in enumerate(parts):
        if mode in modes:
            yield index, _part(mode, unpack(packed), metadata)


def _part(mode: str, packed: Any, metadata: list[bytes]) -> dict[str, Any]:
    if isinstance(packed, Omitted):
        return {"type": mode, "ns": (), "data": packed}
    ns, data, interrupts = packed
    part = {"type": mode, "ns": tuple(ns), "data": data}
    if mode == "messages" and isinstance(data, tuple | list) and len(data) == 2:
        message, place = data
        part["data"] = (message, unpack(metadata[place]) if isinstance(place, int) else place)
    if mode == "values":
        part["interrupts"] = tuple(interrupts) if isinstance(interrupts, list) else interrupts
    return part
