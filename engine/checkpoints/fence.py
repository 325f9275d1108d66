"""LangGraph's savers, fenced.

Each attempt has a shallow copy of its worker's saver, bound to the attempt's journal. Before
anything is written, the saver's own transaction checks that the attempt is current, and
writes what the journal holds: a zombie or a cancelled attempt can commit nothing, and a step
is in the ledger exactly when its writes are in the checkpointer.

What runs on the engine's loop writes there. Graphs that a node runs itself (`subgraph.invoke(…)` in
a thread, in an event loop of its own, or on the engine's loop, which then stands still) read and
write on connections of their own, behind the same fence: none of them ever waits for the loop.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,  # errors, interrupts and resumes: saved at once
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from ..errors import DatabaseError, Superseded, Unstorable
from ..faults import fault
from ..ledger.operation import Operation
from ..loop.loop import SAFE
from ..values.serializer import StateSerializer
from ..values.state_types import GraphTypes
from ..values.stored import MOST_BYTES, ROOM, stored, stored_error, too_large
from . import pregel_loops
from .ids import follow
from .journal import ERROR, MOST_UNSAVED, Journal
from .notes import NO_NOTES, Batch, Call
from .replies import Reply

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


T = TypeVar("T")

WITH_ERROR = frozenset({*WRITES_IDX_MAP, "__error_source_node__"})
"""Channels of a failed task that mean something without the rest."""

pregel_loops.extend()


Kept = Call
"""A call of a saver that is made later, in the transaction that it belongs to."""


class _Naming:
    """See `Fenced._naming`. It stands around each commit: a class costs a third of a generator."""

    __slots__ = ("_journal", "_more", "_saver")

    def __init__(self, saver: Fenced, journal: Journal, more: Sequence[Kept]) -> None:
        self._saver, self._journal, self._more = saver, journal, more

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            self._saver._name(error, self._journal, self._more)


class Fenced:
    """What both savers do alike: what an attempt saves passes the fence of its journal, together
    with what the journal holds."""

    serde: Any
    _by_graph: dict[int, tuple[GraphTypes, StateSerializer]]
    """A serializer for each graph, which it keeps."""
    journal: Journal | None = None
    most_bytes = MOST_BYTES
    """Bytes of one value that the database takes."""
    place: str | None = None
    """The database, as its errors name it."""
    draft: list[Kept] | None = None
    """What was to be saved, where nothing is saved yet."""
    starts_at_once: bool = False
    """Whether nodes run as soon as the input is saved, with no checkpoint in between: those of
    graphs that are no StateGraph, as `@entrypoint` makes them."""
    secret: frozenset[str] = frozenset()
    """Names of the config's `configurable` that LangGraph must not write beside a checkpoint."""
    loop: asyncio.AbstractEventLoop
    """The engine's."""

    def for_graph(self, used: GraphTypes) -> Self:
        """Stores the classes that a graph uses as well, and no others."""
        clone = copy.copy(self)
        known = self._by_graph.get(id(used))
        if known is None or known[0] is not used:
            known = self._by_graph[id(used)] = (used, self.serde.with_graph(used))
        clone.serde = known[1]
        return clone

    def for_draft(self, draft: list[Kept]) -> Self:
        """Reads what is saved; what it is to save, it only notes in `draft`."""
        clone = copy.copy(self)
        clone.draft = draft
        return clone

    async def _commit(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        """Check the fence, and write what the journal holds, `notes` and `more`, in one
        transaction."""
        raise NotImplementedError

    def _commit_apart(
        self,
        journal: Journal,
        saved: int,
        checkpoint: str | None,
        *more: Kept,
        notes: Batch = NO_NOTES,
    ) -> None:
        """The same from any thread, without the engine's loop."""
        raise NotImplementedError

    async def _save(self, call: Kept) -> None:
        """Save what belongs to no attempt."""
        raise NotImplementedError

    def _save_apart(self, call: Kept) -> None:
        """The same from any thread."""
        raise NotImplementedError

    def _read_apart(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        """What `read` finds with a saver of LangGraph's own, from any thread."""
        raise NotImplementedError

    async def _carry_out(self, make: Callable[[], Operation[None]]) -> None:
        """Change whole threads, on the engine's loop or on another."""
        if self._at_home():
            await self._save_held()
            await self._change(make)
        else:
            await asyncio.to_thread(self._carry_out_apart, make)

    def _carry_out_apart(self, make: Callable[[], Operation[None]]) -> None:
        self._save_held_apart()
        self._change_apart(make)

    async def _change(self, make: Callable[[], Operation[None]]) -> None:
        """Run an operation in a transaction of its own."""
        raise NotImplementedError

    def _change_apart(self, make: Callable[[], Operation[None]]) -> None:
        """The same from any thread."""
        raise NotImplementedError

    async def _save_held(self) -> None:
        """What was saved must be there for whoever reads, also what is still held."""
        if self.journal is not None and self.journal.held:
            await self.flush()

    def _save_held_apart(self) -> None:
        """The same from any thread."""
        if self.journal is not None and self.journal.held:
            with self._naming(self.journal):
                self._commit_apart(self.journal, 0, None)

    def _at_home(self) -> bool:
        """Whether this runs on the engine's loop."""
        return asyncio.get_running_loop() is self.loop

    def _read(self, found: CheckpointTuple | None) -> CheckpointTuple | None:
        """A checkpoint that was read, and may be gone on from."""
        if found is not None:
            follow(found.checkpoint["id"])
            if self.journal is not None:
                self.journal.kept(found.pending_writes or ())
                self.journal.replies.known(_namespace(found.config), found.pending_writes or ())
        return found

    # ------------------------------------------------------------ on the engine's loop

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        config = _without(config, self.secret)
        if not self._at_home():
            return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)
        call: Kept = ("put", (config, checkpoint, metadata, new_versions))
        journal = self.journal
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            await self._save(call)
        else:
            async with journal.turn:
                journal.may_advance()
                newest = _newest(config, checkpoint)
                with self._naming(journal, call):
                    fault("before put")
                    if _is_input(metadata) and not self.starts_at_once:
                        journal.hold(call)
                        return _saved(config, checkpoint)
                    await self._commit(journal, 1, newest, call)
                if newest is not None:
                    journal.advanced()
            fault("after put")
        return _saved(config, checkpoint)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        if not self._at_home():
            await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)
            return
        journal = self.journal
        call: Kept = ("put_writes", (config, writes, task_id, task_path))
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            await self._save(call)
        else:
            now = time.monotonic()
            reply = journal.replies.reply(_namespace(config), task_id, _without_remains(writes))
            writes = reply.writes
            call = self._storing(journal, config, writes, task_id, task_path)
            saved = _progress(writes, reply)
            journal.saving.add(task_id)
            try:
                async with journal.turn:
                    if journal.is_closed:
                        return  # LangGraph saves after the end of a stream that a node was stopped
                    # A fast fan-out has always somebody waiting: what is held must not grow with it.
                    others_wait = journal.turn.waiting > 0 and len(journal.held) < MOST_UNSAVED
                    more_follows = journal.is_last(task_id, task_path) or others_wait
                    with journal.finished(task_id, writes, now, reply) as notes:
                        if more_follows and _is_values(writes):
                            journal.hold(call, notes)
                            return
                        with self._naming(journal, call):
                            fault("before writes")
                            await self._commit(journal, saved, None, call, notes=notes)
            finally:
                journal.saving.discard(task_id)
            fault("after writes")

    async def flush(self) -> None:
        """Write what the journal holds now, held writes included."""
        if self.journal is None:
            return
        async with self.journal.turn:
            with self._naming(self.journal):
                fault("before flush")
                await self._commit(self.journal, 0, None)
        fault("after flush")

    async def end(self, why: str | None = None) -> Batch:
        """End what the attempt saves: what was written until now is saved, what still runs was
        stopped, for the reason `why`, and what comes later is saved no more. All of it in one turn,
        so that a step is told as completed exactly when its writes are saved.

        Returns:
            What the transaction that ends the attempt has still to tell.

        Raises:
            Unstorable: What was held cannot be saved, and is held no more.
        """
        assert self.journal is not None
        async with self.journal.turn:
            self.journal.may_write()
            if why is not None:
                self.journal.stopped(why)
            if self.journal.held:
                with self._naming(self.journal):
                    fault("before flush")
                    await self._commit(self.journal, 0, None)
            return self.journal.close()

    async def stop(self, why: str) -> None:
        """`end`, where no transaction follows that ends the attempt."""
        assert self.journal is not None
        async with self.journal.turn:
            self.journal.stopped(why)
            try:
                with self._naming(self.journal):
                    fault("before flush")
                    await self._commit(self.journal, 0, None)
            finally:
                self.journal.close()

    # ------------------------------------------------------------ what cannot be stored

    def _storing(
        self,
        journal: Journal,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Kept:
        """The call that saves what a node gave. Raises Unstorable."""
        try:
            kept = [self._kept(*write, journal.node_of(task_id)) for write in writes]
        except Unstorable as error:
            journal.refused(task_id, error)
            raise
        return "put_writes", (config, kept, task_id, task_path)

    def check(self, calls: Sequence[Kept]) -> None:
        """Raise Unstorable for a value of these calls that would not come back as it is."""
        for method, arguments in calls:
            writes = arguments[1]["channel_values"].items() if method == "put" else arguments[1]
            for channel, value in writes:
                stored(self.serde, value, node=None, channel=channel)

    def _kept(self, channel: str, value: Any, node: str | None) -> tuple[str, Any]:
        """A write as it is stored. Raises Unstorable."""
        if channel == ERROR:
            return channel, stored_error(self.serde, value)
        return channel, stored(self.serde, value, node=node, channel=channel, most=self.most_bytes)

    def _naming(self, journal: Journal, *more: Kept) -> _Naming:
        """A commit, whose errors tell whether the database failed or a value is to blame: inside,
        Superseded, DatabaseError or Unstorable is raised."""
        return _Naming(self, journal, more)

    def _name(self, error: Exception, journal: Journal, more: Sequence[Kept]) -> None:
        """Raise what an error of a commit means, where it is another."""
        if isinstance(error, (Superseded, DatabaseError)):
            journal.broke_off(error)
            return
        if (refused := self._refusal(journal, more)) is not None:
            raise refused from error
        if (refused := self._refusal(journal, journal.held)) is not None:
            journal.drop_held()  # the input, without which nothing else is worth keeping
            raise refused from error

    def _refusal(self, journal: Journal, calls: Sequence[Kept]) -> Unstorable | None:
        """What is wrong with a value of the checkpoints among `calls`: a reducer may make what no
        node gave."""
        for method, arguments in calls:
            if method == "put":
                values: Mapping[str, Any] = arguments[1]["channel_values"]
                try:
                    self._check(values, journal)
                except Unstorable as error:
                    return error
        return None

    def _check(self, values: Mapping[str, Any], journal: Journal) -> None:
        """Raise Unstorable for the first value that is no good, or the largest of too many."""
        largest, total, most = "", 0, -1
        for channel, value in values.items():
            node = journal.writer_of(channel)
            size = len(stored(self.serde, value, node=node, channel=channel).typed[1])
            total += size
            if size > most:
                largest, most = channel, size
        if total > self.most_bytes - ROOM:
            raise too_large(
                values[largest], total, self.most_bytes, journal.writer_of(largest), largest
            )

    # ------------------------------------------------------------ anywhere else

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        config = _without(config, self.secret)
        call: Kept = ("put", (config, checkpoint, metadata, new_versions))
        journal = self.journal
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            self._save_apart(call)
        else:
            journal.may_advance()
            with self._naming(journal, call):
                fault("before put")
                if _is_input(metadata):
                    journal.hold(call)
                    return _saved(config, checkpoint)
                self._commit_apart(journal, 1, _newest(config, checkpoint), call)
            fault("after put")
        return _saved(config, checkpoint)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        journal = self.journal
        call: Kept = ("put_writes", (config, writes, task_id, task_path))
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            self._save_apart(call)
        else:
            reply = journal.replies.reply(_namespace(config), task_id, _without_remains(writes))
            writes = reply.writes
            call = self._storing(journal, config, writes, task_id, task_path)
            with journal.finished(task_id, writes, time.monotonic(), reply) as notes:
                saved = _progress(writes, reply)
                with self._naming(journal, call):
                    fault("before writes")
                    self._commit_apart(journal, saved, None, call, notes=notes)
            fault("after writes")

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        self._save_held_apart()
        return self._read(self._read_apart(lambda saver: saver.get_tuple(config)))

    def list(self, *args: Any, **options: Any) -> Iterator[CheckpointTuple]:
        self._save_held_apart()
        yield from self._read_apart(lambda saver: [*saver.list(*args, **options)])

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        self._save_held_apart()
        return self._read_apart(
            lambda saver: saver.get_delta_channel_history(config=config, channels=channels)
        )


SAFE.add(Fenced.aput_writes.__code__)  # `stored` and `brief` take whatever the code of values does


def _without(config: RunnableConfig, names: frozenset[str]) -> RunnableConfig:
    if not names:
        return config
    shown = {k: v for k, v in config["configurable"].items() if k not in names}
    told = {k: v for k, v in (config.get("metadata") or {}).items() if k not in names}
    return {**config, "configurable": shown, "metadata": told}


def _without_remains(writes: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """What a task that failed, or was cancelled, has to keep: its error. LangGraph saves along
    with it what the task had written before (its channels, say, and not yet its conditional
    edges), and takes that for the whole result when the graph goes on."""
    if any(channel == ERROR for channel, _ in writes):
        return [write for write in writes if write[0] in WITH_ERROR]
    return writes


def _is_values(writes: Sequence[tuple[str, Any]]) -> bool:
    """Whether a task's writes may commit with what follows at once, the checkpoint of its superstep
    or the writes of other tasks that wait already: nothing but values does.

    Without that, tasks that end faster than a database commits would run ahead of what is saved:
    LangGraph does not wait for it, and a kill would lose them all.
    """
    return not any(channel in WRITES_IDX_MAP for channel, _ in writes)


def _progress(writes: Sequence[tuple[str, Any]], reply: Reply) -> int:
    """How much further a job is by writes: what only says that a node failed, or asks, each
    attempt says again, unless the node has gone past an answer."""
    values = any(channel not in WITH_ERROR for channel, _ in writes)
    return int(values or bool(reply.consumed))


def _is_input(metadata: CheckpointMetadata) -> bool:
    """Whether a checkpoint holds the input and nothing else: no node runs before the next."""
    return metadata.get("source") == "input"


def _saved(config: RunnableConfig, checkpoint: Checkpoint) -> RunnableConfig:
    """What a saver answers: where the checkpoint is."""
    thread = config["configurable"]
    return {
        "configurable": {
            "thread_id": thread["thread_id"],
            "checkpoint_ns": thread.get("checkpoint_ns", ""),
            "checkpoint_id": checkpoint["id"],
        }
    }


def _namespace(config: RunnableConfig) -> str:
    """The graph that a checkpoint or write belongs to: empty for the job's own."""
    return str(config["configurable"].get("checkpoint_ns", ""))


def _newest(config: RunnableConfig, checkpoint: Checkpoint) -> str | None:
    """The checkpoint's id, where it is one of the job's graph itself and not of a subgraph."""
    root = not config["configurable"].get("checkpoint_ns")
    return checkpoint["id"] if root else None
