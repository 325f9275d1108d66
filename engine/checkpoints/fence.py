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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from ..dialect import Tables
from ..faults import fault
from ..journal.journal import Journal
from ..journal.notes import Call, Notes
from ..journal.outbox import MOST_UNSAVED
from ..ledger import threads
from ..ledger.operation import Operation
from ..loop.loop import SAFE
from ..values.serializer import StateSerializer
from ..values.state_types import GraphTypes
from . import pregel_loops
from .fenced_write import FencedWrite
from .ids import follow
from .storing import Storing
from .writes import (
    is_cancellation,
    is_input,
    is_values,
    namespace_of,
    newest_of,
    progress,
    saved_at,
    without_names,
    without_remains,
)

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


T = TypeVar("T")

pregel_loops.extend()


class Fenced(Storing, BaseCheckpointSaver[Any]):
    """What both savers do alike: what an attempt saves passes the fence of its journal, together
    with what the journal holds."""

    serde: Any
    tables: Tables
    """Where LangGraph keeps what it saves."""
    _by_graph: dict[int, tuple[GraphTypes, StateSerializer]]
    """A serializer for each graph, which it keeps."""
    journal: Journal | None = None
    place: str | None = None
    """The database, as its errors name it."""
    draft: list[Call] | None = None
    """What was to be saved, if nothing is saved yet."""
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

    def for_draft(self, draft: list[Call]) -> Self:
        """Reads what is saved; what it is to save, it only notes in `draft`."""
        clone = copy.copy(self)
        clone.draft = draft
        return clone

    async def _commit(self, write: FencedWrite) -> None:
        """Carry it out in one transaction."""
        raise NotImplementedError

    def _commit_apart(self, write: FencedWrite) -> None:
        """The same from any thread, without the engine's loop."""
        raise NotImplementedError

    async def _save(self, call: Call) -> None:
        """Save what belongs to no attempt."""
        raise NotImplementedError

    def _save_apart(self, call: Call) -> None:
        """The same from any thread."""
        raise NotImplementedError

    def _read_apart(self, read: Callable[[BaseCheckpointSaver[Any]], T]) -> T:
        """What `read` finds with a saver of LangGraph's own, from any thread."""
        raise NotImplementedError

    async def _change(self, make: Callable[[], Operation[None]]) -> None:
        """Run an operation in a transaction of its own."""
        raise NotImplementedError

    def _change_apart(self, make: Callable[[], Operation[None]]) -> None:
        """The same from any thread."""
        raise NotImplementedError

    # ------------------------------------------------------------ whole threads

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

    async def adelete_thread(self, thread_id: str) -> None:
        await self._carry_out(lambda: threads.delete_threads(self.tables, [thread_id]))

    def delete_thread(self, thread_id: str) -> None:
        self._carry_out_apart(lambda: threads.delete_threads(self.tables, [thread_id]))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        await self._carry_out(
            lambda: threads.copy_thread(self.tables, source_thread_id, target_thread_id)
        )

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await self._carry_out(lambda: threads.delete_for_runs(self.tables, run_ids))

    # ------------------------------------------------------------ reading

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if not self._at_home():
            return await asyncio.to_thread(self.get_tuple, config)
        await self._save_held()
        return self._read(await super().aget_tuple(config))

    async def alist(self, *args: Any, **options: Any) -> AsyncIterator[CheckpointTuple]:
        if self._at_home():
            await self._save_held()
            async for item in super().alist(*args, **options):
                yield item
        else:
            for item in await asyncio.to_thread(lambda: [*self.list(*args, **options)]):
                yield item

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        asked: dict[str, Any] = {"config": config, "channels": channels}
        if not self._at_home():
            return await asyncio.to_thread(lambda: self.get_delta_channel_history(**asked))
        await self._save_held()
        return await super().aget_delta_channel_history(**asked)

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

    async def _save_held(self) -> None:
        """What was saved must be there for whoever reads, also what is still held."""
        if self.journal is not None and self.journal.notes.held:
            await self.flush()

    def _save_held_apart(self) -> None:
        """The same from any thread."""
        if self.journal is not None and self.journal.notes.held:
            with self.naming(self.journal):
                self._commit_apart(FencedWrite(self.journal))

    def _at_home(self) -> bool:
        """Whether this runs on the engine's loop."""
        return asyncio.get_running_loop() is self.loop

    def _read(self, found: CheckpointTuple | None) -> CheckpointTuple | None:
        """A checkpoint that was read, and may be gone on from."""
        if found is not None:
            follow(found.checkpoint["id"])
            if self.journal is not None:
                self.journal.kept(found.pending_writes or ())
                self.journal.replies.known(namespace_of(found.config), found.pending_writes or ())
        return found

    # ------------------------------------------------------------ on the engine's loop

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        config = without_names(config, self.secret)
        if not self._at_home():
            return await asyncio.to_thread(self.put, config, checkpoint, metadata, new_versions)
        call: Call = ("put", (config, checkpoint, metadata, new_versions))
        journal = self.journal
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            await self._save(call)
        else:
            async with journal.turn:
                journal.may_advance()
                newest = newest_of(config, checkpoint)
                with self.naming(journal, call):
                    fault("before put")
                    if is_input(metadata) and not self.starts_at_once:
                        journal.hold(call)
                        return saved_at(config, checkpoint)
                    await self._commit(FencedWrite(journal, call, saved=1, checkpoint=newest))
                if newest is not None:
                    journal.advanced()
            fault("after put")
        return saved_at(config, checkpoint)

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
        call: Call = ("put_writes", (config, writes, task_id, task_path))
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            await self._save(call)
        else:
            now = time.monotonic()
            reply = journal.replies.reply(namespace_of(config), task_id, without_remains(writes))
            writes = reply.writes
            if is_cancellation(writes) and journal.is_stopped():
                return  # it says nothing of the node, and would take the place of its last error
            calls = self.storing(journal, config, writes, task_id, task_path)
            saved = progress(writes, reply)
            journal.saving.add(task_id)
            try:
                async with journal.turn:
                    if journal.is_closed:
                        return  # LangGraph saves after the end of a stream that a node was stopped
                    # A fast fan-out has always somebody waiting: what is held must not grow with it.
                    others_wait = (
                        journal.turn.waiting > 0 and len(journal.notes.held) < MOST_UNSAVED
                    )
                    more_follows = journal.is_last(task_id, task_path) or others_wait
                    with journal.finished(task_id, writes, now, reply) as notes:
                        if more_follows and is_values(writes):
                            journal.hold(calls[0], notes)
                            return
                        with self.naming(journal, *calls):
                            fault("before writes")
                            await self._commit(
                                FencedWrite(journal, *calls, notes=notes, saved=saved)
                            )
            finally:
                journal.saving.discard(task_id)
            fault("after writes")

    async def flush(self) -> None:
        """Write what the journal holds now, held writes included."""
        if self.journal is None:
            return
        async with self.journal.turn:
            with self.naming(self.journal):
                fault("before flush")
                await self._commit(FencedWrite(self.journal))
        fault("after flush")

    async def end(self, why: str | None = None) -> Notes:
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
            if self.journal.notes.held:
                with self.naming(self.journal):
                    fault("before flush")
                    await self._commit(FencedWrite(self.journal))
            return self.journal.close()

    async def stop(self, why: str) -> None:
        """`end`, where no transaction follows that ends the attempt."""
        assert self.journal is not None
        async with self.journal.turn:
            self.journal.stopped(why)
            try:
                with self.naming(self.journal):
                    fault("before flush")
                    await self._commit(FencedWrite(self.journal))
            finally:
                self.journal.close()

    # ------------------------------------------------------------ anywhere else

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        config = without_names(config, self.secret)
        call: Call = ("put", (config, checkpoint, metadata, new_versions))
        journal = self.journal
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            self._save_apart(call)
        else:
            journal.may_advance()
            with self.naming(journal, call):
                fault("before put")
                if is_input(metadata):
                    journal.hold(call)
                    return saved_at(config, checkpoint)
                write = FencedWrite(
                    journal, call, saved=1, checkpoint=newest_of(config, checkpoint)
                )
                self._commit_apart(write)
            fault("after put")
        return saved_at(config, checkpoint)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        journal = self.journal
        call: Call = ("put_writes", (config, writes, task_id, task_path))
        if self.draft is not None:
            self.draft.append(call)
        elif journal is None:
            self._save_apart(call)
        else:
            reply = journal.replies.reply(namespace_of(config), task_id, without_remains(writes))
            writes = reply.writes
            calls = self.storing(journal, config, writes, task_id, task_path)
            with journal.finished(task_id, writes, time.monotonic(), reply) as notes:
                saved = progress(writes, reply)
                with self.naming(journal, *calls):
                    fault("before writes")
                    self._commit_apart(FencedWrite(journal, *calls, notes=notes, saved=saved))
            fault("after writes")


SAFE.add(Fenced.aput_writes.__code__)  # `stored` and `brief` take whatever the code of values does
