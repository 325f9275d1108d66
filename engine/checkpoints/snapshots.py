"""Checkpoints as data, read without LangGraph, so that looking at them stays quick.

Nothing that stands in the database is called: a value of a type of the graph's own is shown as
what it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ucop.agents.text.plain import shown as for_people

from ..jobs.job import Checkpoint
from ..ledger.operation import Params, Row

Rows = Callable[[str, Params], Sequence[Row]]

START = "__start__"
WHOLE = ("__end__", "__root__")
"""States that are one value: what `@entrypoint` gave, and that of a graph without names."""
BRANCH, JOIN, SENDS = "branch:to:", "join:", "__pregel_tasks"
"""LangGraph's channels that say which nodes are due."""
OWN = ("_running", "_loops")
"""The compiler's own channels of a workflow in YAML; see graphs/nodes/routing.py."""

_SQLITE = """
select checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata from checkpoints
where thread_id = :thread and checkpoint_ns = '' order by checkpoint_id desc"""

_POSTGRES = _SQLITE.replace("type, ", "")

_BLOBS = """
select channel, version, type, blob from checkpoint_blobs
where thread_id = :thread and checkpoint_ns = ''"""


@dataclass(frozen=True)
class Send:
    """A node that is due with an input of its own."""

    node: str


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One row, decoded."""

    id: str
    parent_id: str | None
    metadata: Mapping[str, Any]
    at: str
    values: Mapping[str, Any]
    versions: Mapping[str, Any]
    seen: Mapping[str, Mapping[str, Any]]


Link = tuple[str | None, Mapping[str, Any]]
"""A checkpoint's parent, and its metadata."""


def lineage(
    saved: Mapping[str, Link], job: str, thread: str, others: Collection[str]
) -> dict[str, str | None]:
    """The checkpoints that are a job's, and what each was made from; `others` share its thread.

    A checkpoint that is only there for an edit is none: the edit was made from the one it edits.
    """
    mine = {
        id: parent
        for id, (parent, told) in saved.items()
        if BASE not in told and is_of(told.get("ucop_job", job), job, thread, others)
    }
    for id in mine:
        edited: str | None = saved[id][1].get(EDIT_OF)
        parent = edited if edited in mine else mine[id]
        while parent is not None and parent in saved and BASE in saved[parent][1]:
            parent = saved[parent][0]
        mine[id] = parent
    return mine


def is_of(whose: str, job: str, thread: str, others: Collection[str]) -> bool:
    """Whether what job `whose` saved is a state of `job`. A thread of the job's own has also what
    the one that it is a fork of had saved."""
    return whose == job or (thread == job and whose not in others)


BASE, EDIT_OF = "ucop_base", "ucop_edit_of"
"""As graphs/pregel/superstep.py marks them, which needs LangGraph."""

OTHERS = "select id from jobs where thread_id = :thread and id <> :job"


def checkpoints(rows: Rows, job: str, thread: str, *, yaml: bool, apart: bool) -> list[Checkpoint]:
    """The checkpoints of a job, the newest first; see history.history.

    `yaml`: the workflow has nodes and channels of the compiler's own, which are not shown.
    `apart`: values of channels have a table of their own.
    """
    found = list(_apart(rows, thread) if apart else _together(rows, thread))
    others = {row["id"] for row in rows(OTHERS, {"thread": thread, "job": job})}
    return shown(found, job, thread, others, yaml=yaml)


def shown(
    found: Sequence[Saved], job: str, thread: str, others: Collection[str], *, yaml: bool
) -> list[Checkpoint]:
    """`checkpoints`, of those that were read."""
    due = {saved.id: _due(saved) for saved in found}
    links = {saved.id: (saved.parent_id, saved.metadata) for saved in found}
    parents = lineage(links, job, thread, others)
    return [
        _checkpoint(saved, parents[saved.id], due, yaml=yaml)
        for saved in found
        if saved.id in parents
    ]


def _together(rows: Rows, thread: str) -> Iterator[Saved]:
    for row in rows(_SQLITE, {"thread": thread}):
        checkpoint = decoded(row["type"], row["checkpoint"])
        yield _saved(row, checkpoint, json.loads(row["metadata"]), checkpoint["channel_values"])


def _apart(rows: Rows, thread: str) -> Iterator[Saved]:
    blobs = {
        (row["channel"], row["version"]): decoded(row["type"], row["blob"])
        for row in rows(_BLOBS, {"thread": thread})
        if row["type"] != "empty"
    }
    for row in rows(_POSTGRES, {"thread": thread}):
        checkpoint = row["checkpoint"]
        keys = checkpoint["channel_versions"].items()
        values = {key[0]: blobs[key] for key in keys if key in blobs}
        inline = checkpoint.get("channel_values") or {}
        yield _saved(row, checkpoint, row["metadata"], {**inline, **values})


def _saved(
    row: Row, checkpoint: Mapping[str, Any], metadata: Any, values: Mapping[str, Any]
) -> Saved:
    return Saved(
        id=row["checkpoint_id"],
        parent_id=row["parent_checkpoint_id"] or None,
        metadata=metadata,
        at=checkpoint["ts"],
        values=values,
        versions=checkpoint["channel_versions"],
        seen=checkpoint["versions_seen"],
    )


def _checkpoint(
    saved: Saved, parent: str | None, due: Mapping[str, Sequence[str]], *, yaml: bool
) -> Checkpoint:
    edit = saved.metadata.get("source") == "update"
    ran = () if edit else due.get(saved.parent_id or "", ())
    return Checkpoint(
        id=saved.id,
        parent_id=parent,
        step=saved.metadata.get("step", -1),
        nodes=_shown(ran, yaml=yaml),
        next=_shown(due[saved.id], yaml=yaml),
        created_at=datetime.fromisoformat(saved.at),
        values={
            name: for_people(value)
            for name, value in saved.values.items()
            if (name in WHOLE or not name.startswith(("__", BRANCH, JOIN)))
            and not (yaml and name in OWN)
        },
    )


def _shown(nodes: Sequence[str], *, yaml: bool) -> tuple[str, ...]:
    return tuple(node for node in nodes if node != START and not (yaml and "?" in node))


# ---------------------------------------------------------------- which nodes are due


def _due(saved: Saved) -> tuple[str, ...]:
    """The nodes whose channels were written since they last ran."""
    sends = [send.node for send in saved.values.get(SENDS) or () if isinstance(send, Send)]
    led = [
        node
        for channel, value in saved.values.items()
        if (node := _led_to(channel, value)) is not None and _is_news(saved, node, channel)
    ]
    return (*sends, *sorted(dict.fromkeys(led)))


def _led_to(channel: str, value: Any) -> str | None:
    """The node that a channel leads to, where it does so now."""
    if channel == START:
        return START
    if channel.startswith(BRANCH):
        # A deferred node's channel tells whether all others have finished.
        waits = isinstance(value, list | tuple) and len(value) == 2 and value[1] is False
        return None if waits else channel.removeprefix(BRANCH)
    if channel.startswith(JOIN):
        names, _, node = channel.removeprefix(JOIN).rpartition(":")
        arrived, finished = _barrier(value)
        return node if finished and arrived == set(names.split("+")) else None
    return None


def _barrier(value: Any) -> tuple[set[Any], bool]:
    if isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[1], bool):
        return set(value[0]), value[1]
    return set(value or ()), True


def _is_news(saved: Saved, node: str, channel: str) -> bool:
    version, seen = saved.versions.get(channel), saved.seen.get(node, {}).get(channel)
    return version is not None and (seen is None or version > seen)


# ---------------------------------------------------------------- decoding


def decoded(kind: str | None, blob: Any) -> Any:
    """A value as LangGraph's serialiser wrote it."""
    match kind:
        case "msgpack":
            return _unpacked(blob)
        case "json":
            return json.loads(blob)
        case "null":
            return None
        case "bytes" | "bytearray":
            return bytes(blob)
    return f"… ({kind})"


def _unpacked(data: bytes) -> Any:
    import ormsgpack

    return ormsgpack.unpackb(data, ext_hook=_shape, option=ormsgpack.OPT_NON_STR_KEYS)


def _shape(code: int, data: bytes) -> Any:
    """What a value of a type of its own was made from; LangGraph's codes are in its
    `checkpoint/serde/jsonplus.py`."""
    made = _unpacked(data)
    if code == 7 or not (isinstance(made, list | tuple) and len(made) >= 3):
        return made
    module, name, given = made[:3]
    if (module, name) == ("langgraph.types", "Send"):
        return Send(node=given[0])
    if (module, name) == ("uuid", "UUID"):
        return "-".join((given[:8], given[8:12], given[12:16], given[16:20], given[20:]))
    if (module, name) in PAIRS or made[4:] == ["dict"]:
        return _by_key(given)
    if (module, name) == ("collections", "defaultdict"):
        return _by_key(given[1])
    if (module, name, code) == ("collections", "deque", 1):
        return given[0]
    return "… (array)" if code == 6 else given


PAIRS = frozenset(
    {("builtins", "dict"), ("collections", "OrderedDict"), ("collections", "Counter")}
)
"""Dicts whose keys need not be texts: see encoding.py."""


def _by_key(pairs: Any) -> Any:
    return {key if isinstance(key, str) else str(for_people(key)): value for key, value in pairs}
