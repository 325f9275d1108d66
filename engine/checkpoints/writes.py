"""What the calls of a saver say: configs, checkpoints and writes as LangGraph has them."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,  # errors, interrupts and resumes: saved at once
    Checkpoint,
    CheckpointMetadata,
)

from ..journal.replies import ERROR, Reply

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

WITH_ERROR = frozenset({*WRITES_IDX_MAP, "__error_source_node__"})
"""Channels of a failed task that mean something without the rest."""


def without_names(config: RunnableConfig, names: frozenset[str]) -> RunnableConfig:
    if not names:
        return config
    shown = {k: v for k, v in config["configurable"].items() if k not in names}
    told = {k: v for k, v in (config.get("metadata") or {}).items() if k not in names}
    return {**config, "configurable": shown, "metadata": told}


def without_remains(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """What a task that failed, or was cancelled, has to keep: its error. LangGraph saves along
    with it what the task had written before (its channels, say, and not yet its conditional
    edges), and takes that for the whole result when the graph goes on."""
    if ERROR in dict(writes):
        return [write for write in writes if write[0] in WITH_ERROR]
    return writes


def is_values(writes: Sequence[tuple[str, Any]]) -> bool:
    """Whether a task's writes may commit with what follows at once, the checkpoint of its superstep
    or the writes of other tasks that wait already: nothing but values does.

    Without that, tasks that end faster than a database commits would run ahead of what is saved:
    LangGraph does not wait for it, and a kill would lose them all.
    """
    return WRITES_IDX_MAP.keys().isdisjoint(dict(writes))


def is_cancellation(writes: Sequence[tuple[str, Any]]) -> bool:
    """Whether a task was cancelled, and nothing else is to be saved of it."""
    return len(writes) == 1 and writes[0][0] == ERROR and isinstance(writes[0][1], CancelledError)


def progress(writes: Sequence[tuple[str, Any]], reply: Reply) -> int:
    """How much further a job is by writes: what only says that a node failed, or asks, each
    attempt says again, unless the node has gone past an answer."""
    values = not WITH_ERROR.issuperset(dict(writes))
    return int(values or bool(reply.consumed))


def is_input(metadata: CheckpointMetadata) -> bool:
    """Whether a checkpoint holds the input and nothing else: no node runs before the next."""
    return metadata.get("source") == "input"


def saved_at(config: RunnableConfig, checkpoint: Checkpoint) -> RunnableConfig:
    """What a saver answers: where the checkpoint is."""
    thread = config["configurable"]
    return {
        "configurable": {
            "thread_id": thread["thread_id"],
            "checkpoint_ns": thread.get("checkpoint_ns", ""),
            "checkpoint_id": checkpoint["id"],
        }
    }


def namespace_of(config: RunnableConfig) -> str:
    """The graph that a checkpoint or write belongs to: empty for the job's own."""
    return str(config["configurable"].get("checkpoint_ns", ""))


def newest_of(config: RunnableConfig, checkpoint: Checkpoint) -> str | None:
    """The checkpoint's id, if it is one of the job's graph itself and not of a subgraph."""
    root = not config["configurable"].get("checkpoint_ns")
    return checkpoint["id"] if root else None
