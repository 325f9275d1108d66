"""What the graph of a YAML workflow emits, without what is the compiler's own.

The compiler's nodes have a `?` in their names, and its channels, and its nodes inside agents with
tools, begin with `_`; no name of a definition does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..pregel.names import GATE, shown_name

_OURS = ("_", "branch:", "join:")
_LANGGRAPHS = ("__interrupt__", "__metadata__")


def shown_part(part: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A part of a version 2 stream as it is shown; None if nothing of it is."""
    kind, data = part["type"], part["data"]
    shown = {**part, "ns": _namespace(part["ns"])}
    match kind:
        case "values":
            shown["data"] = _state(data)
        case "updates":
            if not (nodes := _updates(data)):
                return None
            shown["data"] = nodes
        case "messages":
            message, metadata = data
            shown["data"] = (message, _metadata(metadata))
        case "tasks":
            if _is_ours(data["name"]):
                return None
            shown["data"] = _task(data)
        case "checkpoints":
            shown["data"] = _checkpoint(data)
        case "debug":
            return _debug(shown)
    return shown


def _debug(part: dict[str, Any]) -> Mapping[str, Any] | None:
    data = part["data"]
    inner = "checkpoints" if data["type"] == "checkpoint" else "tasks"
    payload = shown_part({"type": inner, "ns": part["ns"], "data": data["payload"]})
    return None if payload is None else {**part, "data": {**data, "payload": payload["data"]}}


def _is_ours(node: str) -> bool:
    return GATE in node or (node.startswith("_") and not node.startswith("__"))


def _namespace(ns: Sequence[str]) -> tuple[str, ...]:
    return tuple(part for part in ns if GATE not in part)


def _state(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {
        name: value
        for name, value in values.items()
        if name in _LANGGRAPHS or not str(name).startswith(_OURS)
    }


def _updates(data: Any) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        return data  # type: ignore[no-any-return]
    return {
        node: writes if node in _LANGGRAPHS else _shown_writes(writes)
        for node, writes in data.items()
        if not _is_ours(node)
    }


def _shown_writes(writes: Any) -> Any:
    """What a node wrote, or a list of it; null if that was the compiler's alone."""
    if isinstance(writes, list):
        return [_shown_writes(each) for each in writes]
    return _state(writes) or None if isinstance(writes, Mapping) and writes else writes


def _task(data: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(data)
    for part in ("input", "result"):
        if part in data:
            shown[part] = _state(data[part])
    if "triggers" in data:
        shown["triggers"] = tuple(each for each in data["triggers"] if GATE not in each)
    return shown


def _checkpoint(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **data,
        "values": _state(data.get("values")),
        "next": [node for node in data.get("next", ()) if not _is_ours(node)],
        "tasks": [_task(task) for task in data.get("tasks", ()) if not _is_ours(task["name"])],
    }


def _metadata(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of tokens: which node they come from, named as its steps are."""
    shown = dict(metadata)
    if GATE in str(node := metadata.get("langgraph_node", "")):
        shown["langgraph_node"] = shown_name(node)
    for name in ("langgraph_checkpoint_ns", "checkpoint_ns"):
        if isinstance(ns := metadata.get(name), str) and GATE in ns:
            shown[name] = "|".join(part for part in ns.split("|") if GATE not in part)
    for name in ("langgraph_path", "langgraph_triggers"):
        if GATE in str(metadata.get(name, "")):
            shown.pop(name)
    return shown
