"""Some parts of one attempt as one row's body, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ormsgpack

from .parts import Omitted, pack, unpack

FULL = 256 << 10
"""Bytes at which a batch is written without waiting for more."""


class Batch:
    """Parts that are written together. What is said of each token of one message (`metadata`) is
    kept once."""

    def __init__(self, secret: frozenset[str] = frozenset()) -> None:
        """`secret`: names in a run's config whose values are not told."""
        self._secret = secret
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
        elif self._secret and mode in ("tasks", "checkpoints"):
            data = _without(data, self._secret)
        elif self._secret and mode == "debug":
            data = {**data, "payload": _without(data["payload"], self._secret)}
        packed = pack([list(part["ns"]), data, list(part.get("interrupts", ()))])
        self._parts.append((mode, packed))
        self._size += len(packed)

    def body(self) -> bytes:
        return ormsgpack.packb([self._metadata, self._parts])

    def _place(self, metadata: Any) -> int:
        known = self._known.get(id(metadata))
        if known is not None:
            return known[0]
        packed = pack(_less(metadata, self._secret) if self._secret else metadata)
        self._metadata.append(packed)
        self._size += len(packed)
        place = len(self._metadata) - 1
        self._known[id(metadata)] = (place, metadata)
        return place


def _without(told: Mapping[str, Any], secret: frozenset[str]) -> dict[str, Any]:
    """A task or a checkpoint without what its run is configured with by these names."""
    shown = dict(told)
    if isinstance(metadata := told.get("metadata"), Mapping):
        shown["metadata"] = _less(metadata, secret)
    for name in ("config", "parent_config"):
        if isinstance(config := told.get(name), Mapping):
            shown[name] = {**config, "configurable": _less(config["configurable"], secret)}
    return shown


def _less(values: Mapping[str, Any], secret: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in secret}


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
