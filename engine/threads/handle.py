"""One thread, as its caller holds it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ucop.agents.text.duration import seconds_of

from ..errors import InvalidInput
from ..jobs.filter import Filter, Statuses
from ..jobs.job import Job, Text
from ..ledger.thread_rows import Owner
from ..loop.twins import aside, awaited, on_loop, waited
from . import search
from .thread import Thread

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from ..loop.loop import LoopThread
    from ..reading.reader import Reader
    from .commands import ThreadCommands

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

    @waited
    async def get(self) -> Thread:
        """What is known of the thread beside its states. Raises ThreadNotFound."""
        return await aside(lambda: self._reader.ask(search.get(self.id, self._owner)))

    aget = awaited(get)

    @waited
    async def state(
        self, checkpoint: str | None = None, *, namespace: str = "", subgraphs: bool = False
    ) -> StateSnapshot:
        """The state that the thread stands at, as LangGraph's `get_state` gives it.

        Args:
            checkpoint: The id of an earlier one.
            namespace: That of a graph inside, as `checkpoint_ns`.
            subgraphs: Whether tasks hold the states of graphs inside them.

        A thread without a graph has an empty state. Raises ThreadNotFound, CheckpointNotFound.
        """
        reading = self._commands.state(self.id, self._owner, checkpoint, namespace, subgraphs)
        return await on_loop(self._loop, reading)

    astate = awaited(state)

    @waited
    async def history(
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
        reading = self._commands.history(self.id, self._owner, limit, before, namespace, metadata)
        return await on_loop(self._loop, reading)

    ahistory = awaited(history)

    @waited
    async def update(
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
        writing = self._commands.update(self.id, self._owner, values, as_node, checkpoint)
        return await on_loop(self._loop, writing)

    aupdate = awaited(update)

    @waited
    async def set_metadata(
        self, metadata: Mapping[str, Any], *, expires: float | str | None = None
    ) -> None:
        """Note `metadata` (JSON) about the thread, over what was noted before; a value of None
        removes its name. It is deleted when `expires` has passed, such as `30d`.

        Raises ThreadNotFound, InvalidInput.
        """
        kept, seconds = read_metadata(metadata), read_expiry(expires)
        await on_loop(self._loop, self._commands.note(self.id, self._owner, kept, seconds))

    aset_metadata = awaited(set_metadata)

    @waited
    async def copy(self, id: str | None = None) -> ThreadHandle:
        """Another thread with the same states, metadata and tenant, and no jobs. Raises
        ThreadNotFound, ThreadExists."""
        target = new_thread_id(id)
        await on_loop(self._loop, self._commands.copy(self.id, self._owner, target))
        return ThreadHandle(self._access, target, self._owner)

    acopy = awaited(copy)

    @waited
    async def delete(self) -> None:
        """Cancel what is queued or runs on the thread, and delete it with its jobs and states.
        Raises ThreadNotFound."""
        await on_loop(self._loop, self._commands.delete(self.id, self._owner))

    adelete = awaited(delete)

    @waited
    async def keep_latest(self) -> None:
        """Delete all states but the newest. Raises ThreadNotFound, ThreadBusy, RefusedChange."""
        await on_loop(self._loop, self._commands.keep_latest(self.id, self._owner))

    akeep_latest = awaited(keep_latest)

    @waited
    async def jobs(self, *, status: Statuses | None = None, limit: int = 50) -> list[Job]:
        """The thread's jobs, the newest first. Raises ThreadNotFound, InvalidInput."""

        def read() -> list[Job]:
            self._reader.ask(search.get(self.id, self._owner))
            return self._reader.jobs(
                Filter(thread=self.id, status=status, archived=None), limit=limit
            )

        return await aside(read)

    ajobs = awaited(jobs)

    @property
    def _loop(self) -> LoopThread:
        return self._access.loop

    @property
    def _commands(self) -> ThreadCommands:
        return self._access.commands

    @property
    def _reader(self) -> Reader:
        return self._access.reader()


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
