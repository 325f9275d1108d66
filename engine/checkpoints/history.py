"""A job's checkpoints, as LangGraph kept them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ucop.agents.text.plain import shown

from ..jobs.job import Checkpoint, JobId, ThreadId
from ..values.stored import stored_json
from .savers import FencedSaver, attach
from .snapshots import OWN, lineage

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from ucop.graphs.workflow import Workflow


async def history(
    job: JobId,
    thread: ThreadId,
    workflow: Workflow,
    saver: FencedSaver,
    others: Collection[str] = (),
) -> list[Checkpoint]:
    """The checkpoints that this job saved, the newest first; of a fork also those that it was
    given by its parent. `others` are the jobs that share its thread."""
    graph = attach(workflow.graph(), saver)
    graph.checkpointer = saver  # for who only looks: a class that is gone is shown as what it held
    config: Any = {"configurable": {"thread_id": thread}}
    snapshots = [snapshot async for snapshot in graph.aget_state_history(config)]
    due = {_id(snapshot): snapshot.next for snapshot in snapshots}
    names = graph.stream_channels_asis
    whole = names if isinstance(names, str) else None
    links = {_id(each): (_parent(each), each.metadata or {}) for each in snapshots}
    parents = lineage(links, job, thread, others)
    return [
        _checkpoint(each, parents[_id(each)], due, workflow, whole)
        for each in snapshots
        if _id(each) in parents
    ]


def _parent(snapshot: StateSnapshot) -> str | None:
    return _id(snapshot.parent_config) if snapshot.parent_config else None


def _checkpoint(
    snapshot: StateSnapshot,
    parent: str | None,
    due: dict[str, tuple[str, ...]],
    workflow: Workflow,
    whole: str | None,
) -> Checkpoint:
    metadata: Any = snapshot.metadata or {}
    # An edit was made by no node.
    edit = metadata.get("source") == "update"
    ran = () if edit else due.get(_parent(snapshot) or "", ())
    return Checkpoint(
        id=_id(snapshot),
        parent_id=parent,
        step=metadata.get("step", -1),
        nodes=_shown(ran, workflow),
        next=_shown(snapshot.next, workflow),
        created_at=datetime.fromisoformat(snapshot.created_at or ""),
        values={
            name: shown(value)
            for name, value in _values(snapshot, whole).items()
            if not (workflow.kind == "yaml" and name in OWN)
        },
    )


def _shown(nodes: tuple[str, ...], workflow: Workflow) -> tuple[str, ...]:
    return tuple(node for node in nodes if not workflow.hides(node) and node != "__start__")


def _id(where: Any) -> str:
    config = getattr(where, "config", where)
    return str(config["configurable"]["checkpoint_id"])


def _values(snapshot: StateSnapshot, whole: str | None) -> dict[str, Any]:
    """The state by name; `whole` is the name of a state that is one value, as that of what
    `@entrypoint` makes, which has none before it has ended."""
    if whole is None:
        return dict(snapshot.values)
    return {} if snapshot.values is None else {whole: snapshot.values}


async def output_of_thread(thread: str, workflow: Workflow, saver: FencedSaver) -> str | None:
    """What a thread has come to, as the output of its job (JSON text); None where that cannot be
    stored."""
    graph = attach(workflow.graph(), saver)
    snapshot = await graph.aget_state({"configurable": {"thread_id": thread}})
    try:
        return stored_json(workflow.result(snapshot.values), node=None, channel="output")
    except Exception:  # noqa: BLE001 - the code of values, whatever it does
        return None
