"""One thread, as its caller holds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from uuid import uuid4

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ucop.agents.text.duration import seconds_of

from ..errors import InvalidInput
from ..jobs.filter import Filter, Statuses
from ..jobs.job import Job, Text
from ..ledger.thread_rows import Owner
from . import search
from .thread import Thread

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from ..loop.loop import LoopThread
    from ..reading.reader import Reader
    from .commands import ThreadCommands

T = TypeVar("T")

_ID = TypeAdapter(Annotated[Text, Field(min_length=1, max_length=1000, strict=True)])
_METADATA = TypeAdapter(dict[Text, Any], config=ConfigDict(strict=True))


@dataclass(frozen=True, kw_only=True)
class ThreadAccess:
    """What handles of threads need of their engine."""

    loop: LoopThread
    reader: Callable[[], Reader]
    commands: ThreadCommands


class ThreadHandle:
    """A thread that can be read, edited, copied and deleted.

    Where its caller named a tenant, each method raises ThreadNotFound as soon as the thread is not
    that tenant's.
    """

    def __init__(self, access: ThreadAccess, id: str, owner: Owner) -> None:
        self.id = id
        self._access, self._owner = access, owner

    def __repr__(self) -> str:
        return f"<thread {self.id!r}>"

    def get(self) -> Thread:
        """What is known of the thread beside its states. Raises ThreadNotFound."""
        return self._access.reader().ask(search.get(self.id, self._owner))

    async def aget(self) -> Thread:
        """`get`, awaited."""
        return await asyncio.to_thread(self.get)

    def state(
        self, checkpoint: str | None = None, *, namespace: str = "", subgraphs: bool = False
    ) -> StateSnapshot:
        """The state that the thread stands at, as LangGraph's `get_state` gives it.

        Args:
            checkpoint: The id of an earlier one.
            namespace: That of a graph inside, as `checkpoint_ns`.
            subgraphs: Whether tasks hold the states of graphs inside them.

        A thread without a graph has an empty state. Raises ThreadNotFound, CheckpointNotFound.
        """
        return self._call(self._state(checkpoint, namespace, subgraphs))

    async def astate(
        self, checkpoint: str | None = None, *, namespace: str = "", subgraphs: bool = False
    ) -> StateSnapshot:
        """`state`, awaited."""
        return await self._acall(self._state(checkpoint, namespace, subgraphs))

    def history(
        self,
        *,
        limit: int | None = None,
        before: str | None = None,
        namespace: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> list[StateSnapshot]:
        """The thread's states, the newest first, as LangGraph's `get_state_history` gives them.

        Args:
            before: Only those that are older than this checkpoint.
            namespace: That of a graph inside, as `checkpoint_ns`.
            metadata: Only those whose metadata have these names with these values.
        """
        return self._call(self._history(limit, before, namespace, metadata))

    async def ahistory(
        self,
        *,
        limit: int | None = None,
        before: str | None = None,
        namespace: str = "",
        metadata: Mapping[str, Any] | None = None,
    ) -> list[StateSnapshot]:
        """`history`, awaited."""
        return await self._acall(self._history(limit, before, namespace, metadata))

    def update(
        self, values: Any, *, as_node: str | None = None, checkpoint: str | None = None
    ) -> str:
        """Write `values` into the state, as LangGraph's `update_state` does: as if `as_node` had
        given them. No job runs. Returns the id of the checkpoint that this makes.

        A job that waits or is paused there hands its thread over: it is completed with what it had
        come to, and its questions are closed.

        Args:
            checkpoint: An earlier one to write to, which makes a branch. With `values=None` the
                branch begins as that checkpoint stands.

        Raises ThreadNotFound, ThreadBusy while a job is queued or runs, CheckpointNotFound, and
        InvalidInput where the graph does not take it.
        """
        return self._call(self._update(values, as_node, checkpoint))

    async def aupdate(
        self, values: Any, *, as_node: str | None = None, checkpoint: str | None = None
    ) -> str:
        """`update`, awaited."""
        return await self._acall(self._update(values, as_node, checkpoint))

    def set_metadata(
        self, metadata: Mapping[str, Any], *, expires: float | str | None = None
    ) -> None:
        """Note `metadata` (JSON) about the thread, over what was noted before; a value of None
        removes its name. It is deleted when `expires` has passed, such as `30d`.

        Raises ThreadNotFound, InvalidInput.
        """
        self._call(self._note(metadata, expires))

    async def aset_metadata(
        self, metadata: Mapping[str, Any], *, expires: float | str | None = None
    ) -> None:
        """`set_metadata`, awaited."""
        await self._acall(self._note(metadata, expires))

    def copy(self, id: str | None = None) -> ThreadHandle:
        """Another thread with the same states, metadata and tenant, and no jobs. Raises
        ThreadNotFound, ThreadExists."""
        return self._call(self._copy(id))

    async def acopy(self, id: str | None = None) -> ThreadHandle:
        """`copy`, awaited."""
        return await self._acall(self._copy(id))

    def delete(self) -> None:
        """Cancel what is queued or runs on the thread, and delete it with its jobs and states.
        Raises ThreadNotFound."""
        self._call(self._access.commands.delete(self.id, self._owner))

    async def adelete(self) -> None:
        """`delete`, awaited."""
        await self._acall(self._access.commands.delete(self.id, self._owner))

    def keep_latest(self) -> None:
        """Delete all states but the newest. Raises ThreadNotFound, ThreadBusy, RefusedChange."""
        self._call(self._access.commands.keep_latest(self.id, self._owner))

    async def akeep_latest(self) -> None:
        """`keep_latest`, awaited."""
        await self._acall(self._access.commands.keep_latest(self.id, self._owner))

    def jobs(self, *, status: Statuses | None = None, limit: int = 50) -> list[Job]:
        """The thread's jobs, the newest first. Raises ThreadNotFound, InvalidInput."""
        reader = self._access.reader()
        reader.ask(search.get(self.id, self._owner))
        return reader.jobs(Filter(thread=self.id, status=status, archived=None), limit=limit)

    async def ajobs(self, *, status: Statuses | None = None, limit: int = 50) -> list[Job]:
        """`jobs`, awaited."""
        return await asyncio.to_thread(lambda: self.jobs(status=status, limit=limit))

    # ------------------------------------------------------------ on the loop

    async def _state(
        self, checkpoint: str | None, namespace: str, subgraphs: bool
    ) -> StateSnapshot:
        commands = self._access.commands
        return await commands.state(self.id, self._owner, checkpoint, namespace, subgraphs)

    async def _history(
        self,
        limit: int | None,
        before: str | None,
        namespace: str,
        metadata: Mapping[str, Any] | None,
    ) -> list[StateSnapshot]:
        commands = self._access.commands
        return await commands.history(self.id, self._owner, limit, before, namespace, metadata)

    async def _update(self, values: Any, as_node: str | None, checkpoint: str | None) -> str:
        commands = self._access.commands
        return await commands.update(self.id, self._owner, values, as_node, checkpoint)

    async def _note(self, metadata: Mapping[str, Any], expires: float | str | None) -> None:
        kept, seconds = read_metadata(metadata), read_expiry(expires)
        await self._access.commands.note(self.id, self._owner, kept, seconds)

    async def _copy(self, id: str | None) -> ThreadHandle:
        target = new_thread_id(id)
        await self._access.commands.copy(self.id, self._owner, target)
        return ThreadHandle(self._access, target, self._owner)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return self._access.loop.call(work)

    async def _acall(self, work: Coroutine[Any, Any, T]) -> T:
        return await self._access.loop.acall(work)


def read_expiry(given: float | str | None) -> float | None:
    """Seconds. Raises InvalidInput."""
    if given is None:
        return None
    if (seconds := seconds_of(given)) is None:
        raise InvalidInput(f"expires: must be a time such as 90s, 30m or 30d, not {given!r}")
    return seconds


def new_thread_id(given: str | None = None) -> str:
    """The id that a new thread is to have. Raises InvalidInput."""
    if given is None:
        return str(uuid4())
    try:
        return _ID.validate_python(given)
    except ValidationError as error:
        raise InvalidInput(f"thread: {error.errors()[0]['msg']}") from None


def read_metadata(given: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as they are kept: JSON. Raises InvalidInput."""
    try:
        text = json.dumps(_METADATA.validate_python(dict(given)), allow_nan=False)
        kept: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"metadata: must be an object of JSON: {error}") from None
    return kept
