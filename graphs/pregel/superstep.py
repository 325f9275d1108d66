"""A superstep that was committed, and what it would have left had its nodes written otherwise.

LangGraph's `update_state` writes as a node by running its edges once: what a node chose by a
`Command`, what its siblings led to and how often it ran are lost on it. All that stands in the
writes that the checkpointer keeps of each task, so an edit puts them together anew: the same
tasks, with the same writes, but for the edges that look at what was edited.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from langgraph.channels.base import BaseChannel
from langgraph.channels.binop import BinaryOperatorAggregate
from langgraph.channels.delta import DeltaChannel
from langgraph.channels.topic import Topic
from langgraph.checkpoint.base import CheckpointTuple, copy_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from ..errors import InvalidInput
from .names import LOOPS, RUNNING
from .wanted import wanted

with wanted("edits states"):
    from langgraph._internal._config import DEFAULT_RECURSION_LIMIT, patch_config
    from langgraph._internal._constants import (
        CONFIG_KEY_READ,
        CONFIG_KEY_RUNTIME,
        CONFIG_KEY_SEND,
        CONFIG_KEY_TASK_ID,
        ERROR,
        ERROR_SOURCE_NODE,
        INTERRUPT,
        NO_WRITES,
        OVERWRITE,
        RESUME,
        RETURN,
        TASKS,
    )
    from langgraph.pregel._algo import (
        PregelTaskWrites,
        _scratchpad,
        apply_writes,
        local_read,
        prepare_next_tasks,
        task_path_str,
    )
    from langgraph.pregel._checkpoint import achannels_from_checkpoint, create_checkpoint
    from langgraph.pregel._read import PregelNode
    from langgraph.pregel._write import ChannelWrite

Write = tuple[str, Any]

BRANCH, JOIN = "branch:to:", "join:"
"""How LangGraph's channels that lead to nodes begin."""
NOT_WRITTEN = frozenset({ERROR, ERROR_SOURCE_NODE, INTERRUPT, RESUME, RETURN})
"""What tasks keep that does not become a part of the state."""


ROUTES = frozenset({TASKS, RUNNING, LOOPS})


def is_route(channel: str) -> bool:
    """Whether a channel says where a run goes."""
    return channel in ROUTES or channel.startswith((BRANCH, JOIN))


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One task of the superstep: a node that ran, and what it wrote."""

    id: str
    name: str
    path: tuple[Any, ...]
    triggers: Sequence[str]
    writes: Sequence[Write]

    @property
    def values(self) -> list[Write]:
        return [write for write in self.writes if not is_route(write[0])]

    @property
    def routes(self) -> list[Write]:
        return [write for write in self.writes if is_route(write[0])]


@dataclass(frozen=True, kw_only=True)
class Superstep:
    """What led from one checkpoint of a thread to the next."""

    graph: Any
    """With its checkpointer."""
    before: CheckpointTuple
    after: CheckpointTuple
    tasks: Sequence[Ran]
    channels: Mapping[str, BaseChannel[Any, Any, Any]]
    """Those of `before`."""
    managed: Any

    @property
    def ran(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(task.name for task in self.tasks))

    @property
    def state(self) -> dict[str, Any]:
        """What the nodes were given."""
        return dict(self._read((), list(self.channels)))

    def seen(self, writes: Sequence[Write]) -> dict[str, Any]:
        """The state of before, with a node's own `writes` in it."""
        return dict(self._read(writes, list(self.channels), fresh=True))

    def _read(self, writes: Sequence[Write], select: Any, fresh: bool = False) -> Any:
        task = PregelTaskWrites((), "", writes, ())
        step = int((self.before.metadata or {}).get("step", -1))
        last = step + 1 + DEFAULT_RECURSION_LIMIT
        scratchpad = _scratchpad(None, [], "", "", None, step + 1, last)
        return local_read(scratchpad, self.channels, self.managed, task, select, fresh)

    async def chosen(self, task: Ran, writes: Sequence[Write]) -> list[Write]:
        """What the conditional edges of a task's node lead to, where it had written `writes`.
        Raises InvalidInput if they raise."""
        found: deque[Write] = deque()
        config = patch_config(
            self.before.config,
            configurable={
                CONFIG_KEY_SEND: found.extend,
                CONFIG_KEY_READ: partial(self._read, writes),
                CONFIG_KEY_RUNTIME: Runtime(store=self.graph.store),
                CONFIG_KEY_TASK_ID: task.id,
            },
        )
        node: PregelNode = self.graph.nodes[task.name]
        for writer in node.flat_writers:
            if not isinstance(writer, ChannelWrite):
                try:
                    await writer.ainvoke({}, config)
                except Exception as error:
                    raise InvalidInput(
                        f"a condition at an edge out of {task.name} fails on the edited state: "
                        f"{type(error).__name__}: {error}"
                    ) from error
        return list(found)

    async def again(self, tasks: Sequence[Ran], values: Sequence[Write]) -> list[Any]:
        """What a saver is to be given, as (method, arguments), so that a thread stands where it
        would, had `tasks` written as they say, with `values` written into the state after it."""
        graph, earlier, later = self.graph, self.before, self.after
        step = int((later.metadata or {}).get("step", 0))
        shared = _graph_metadata(earlier.metadata)
        before = {**copy_checkpoint(earlier.checkpoint), "id": str(uuid6(clock_seq=step))}
        at = {"thread_id": later.config["configurable"]["thread_id"], "checkpoint_ns": ""}
        parent = (earlier.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        first = {"configurable": {**at, **({"checkpoint_id": parent} if parent else {})}}
        second = {"configurable": {**at, "checkpoint_id": before["id"]}}
        named = _with_ids_of(
            tasks,
            _tasks(graph, before, self.channels, self.managed, second, earlier.metadata, ()),
        )
        after = await self._after(named, values, step)
        calls: list[Any] = [("put", (first, before, {**shared, "source": "fork", BASE: True}, {}))]
        for task in named:
            writes = list(task.writes) or [(NO_WRITES, None)]
            calls.append(("put_writes", (second, writes, task.id, task_path_str(task.path))))
        known = earlier.checkpoint["channel_versions"]
        news = {k: v for k, v in after["channel_versions"].items() if v != known.get(k)}
        edit = later.checkpoint["id"]
        told = {**_graph_metadata(later.metadata), "source": "update", "step": step, EDIT_OF: edit}
        calls.append(("put", (second, after, told, news)))
        return calls

    async def _after(self, tasks: Sequence[Ran], values: Sequence[Write], step: int) -> Any:
        graph = self.graph
        versions = graph.checkpointer.get_next_version
        later = copy_checkpoint(self.after.checkpoint)
        channels, _ = await achannels_from_checkpoint(
            graph.channels, later, saver=graph.checkpointer, config=self.after.config
        )
        version = versions(max(later["channel_versions"].values()), None)
        routed = {name: channel.copy() for name, channel in self.channels.items()}
        replayed = copy_checkpoint(self.before.checkpoint)
        apply_writes(
            replayed,
            routed,
            # Values are not put together anew: what is merged need not give the same twice.
            [PregelTaskWrites(t.path, t.name, t.routes, t.triggers) for t in tasks],
            lambda *_: version,
            graph.trigger_to_nodes,
        )
        was = self.before.checkpoint["channel_versions"]
        merged = dict(channels)
        for name in filter(is_route, routed):
            merged[name] = routed[name]
            found = replayed["channel_versions"].get(name), later["channel_versions"].get(name)
            if any(each is not None and each != was.get(name) for each in found):
                later["channel_versions"][name] = version
        write = PregelTaskWrites((), "__input__", values, ())
        apply_writes(later, merged, [write], versions, graph.trigger_to_nodes)
        whole = {
            name
            for name, channel in merged.items()
            if isinstance(channel, DeltaChannel)
            and channel.is_available()
            and name in later["channel_versions"]
        }
        return create_checkpoint(
            later,
            merged,
            step,
            get_next_version=versions if whole else None,
            channels_to_snapshot=whole,
            stored_versions=self.before.checkpoint["channel_versions"],
            trigger_to_nodes=graph.trigger_to_nodes,
        )


BASE, EDIT_OF, AS_NODE = "ucop_base", "ucop_edit_of", "ucop_as_node"
"""In the metadata of checkpoints: one that is only there for the edit that was made from it, which
checkpoint an edit edited, and as which node it was written if nothing else is known."""

MARKS = (EDIT_OF, AS_NODE)


def _graph_metadata(metadata: Any) -> dict[str, Any]:
    """What a checkpoint's metadata say of the graph, and not of the job and its attempt."""
    return {name: metadata[name] for name in ("step", "parents") if name in metadata}


async def superstep(graph: Any, after: CheckpointTuple) -> Superstep | None:
    """The superstep that made a checkpoint; None if that cannot be known: what was before was
    pruned, or no node made it."""
    saver = graph.checkpointer
    if after.parent_config is None or (after.metadata or {}).get(AS_NODE):
        return None
    before = await saver.aget_tuple(after.parent_config)
    if before is None:
        return None
    channels, managed = await achannels_from_checkpoint(
        graph.channels, before.checkpoint, saver=saver, config=before.config
    )
    pending = before.pending_writes or ()
    tasks = _tasks(
        graph, before.checkpoint, channels, managed, before.config, before.metadata, pending
    )
    if not tasks or not all(task.writes for task in tasks):
        return None
    return Superstep(
        graph=graph,
        before=before,
        after=after,
        tasks=tasks,
        channels=channels,
        managed=managed,
    )


def _tasks(
    graph: Any,
    checkpoint: Any,
    channels: Mapping[str, Any],
    managed: Any,
    config: Any,
    metadata: Any,
    pending: Iterable[Any],
) -> list[Ran]:
    """The tasks that are due at a checkpoint, with what they have written since."""
    step = int((metadata or {}).get("step", -1))
    due = prepare_next_tasks(
        checkpoint,
        [],
        graph.nodes,
        channels,
        managed,
        config,
        step + 1,
        step + 3,
        for_execution=True,
        store=graph.store,
        checkpointer=graph.checkpointer,
        manager=None,
    )
    wrote: defaultdict[str, list[Write]] = defaultdict(list)
    for id, channel, value in pending:
        if channel not in NOT_WRITTEN:
            wrote[id].append((channel, value))
    return [
        Ran(
            id=task.id,
            name=task.name,
            path=task.path,
            triggers=tuple(task.triggers),
            writes=wrote[task.id],
        )
        for task in due.values()
    ]


def _with_ids_of(tasks: Sequence[Ran], others: Sequence[Ran]) -> list[Ran]:
    """`tasks` under the ids that the same tasks have at another checkpoint."""
    ids = {task.path: task.id for task in others}
    return [replace(task, id=ids[task.path]) for task in tasks]


def with_edit(
    channels: Mapping[str, Any], writes: Sequence[Write], values: Sequence[Write]
) -> list[Write]:
    """What a task writes, once its values were edited."""
    dropped = {name for name, value in values if _replaces(channels.get(name), value)}
    kept = [write for write in writes if write[0] not in dropped and write[0] != NO_WRITES]
    return [*kept, *values]


def changes(channel: Any, held: Any, value: Any) -> bool:
    """Whether a channel that holds `held` would hold something else, were `value` written."""
    if not _replaces(channel, value):
        return True
    if isinstance(value, Overwrite):
        value = value.value
    elif isinstance(channel, BinaryOperatorAggregate | Topic | DeltaChannel):
        value = value[OVERWRITE]
    try:
        return not bool(value == held)
    except ValueError:  # arrays, whose comparison is an array
        return True


def _replaces(channel: Any, value: Any) -> bool:
    """Whether a value stands in place of what was written before it."""
    if not isinstance(channel, BinaryOperatorAggregate | Topic | DeltaChannel):
        return True
    return isinstance(value, Overwrite) or (
        isinstance(value, Mapping) and value.keys() == {OVERWRITE}
    )


def key_of(write: Write) -> tuple[str, str | None]:
    """Where a write of a route leads; what a Send carries is not compared."""
    channel, value = write
    return channel, getattr(value, "node", None)
