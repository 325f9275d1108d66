"""What is asked of threads, each as one transaction. On the engine's loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ..checkpoints.savers import FencedSaver, save_on, saver_of
from ..dialect import Tables, dialect_of
from ..errors import InvalidInput, RefusedChange, ThreadBusy
from ..jobs.job import JobId
from ..jobs.status import SETTLED
from ..ledger import retention, thread_rows
from ..ledger.commands import cancel
from ..ledger.hand_over import Standing, hand_over, standing
from ..ledger.lifecycle import ADD_DEFINITION
from ..ledger.operation import One, Operation, Save
from ..ledger.thread_rows import NewThread, Owner
from ..ledger.threads import copy_thread, delete_threads
from . import states
from .states import States, no_state

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from ucop.graphs.workflow import Workflow

    from ..database.database import Database

TRIES = 5
"""How often an update looks again at a thread that is changed under it."""


class ThreadCommands:
    """Carries out what is asked of threads.

    Args:
        types: Classes that states may hold beside the project's.
        restore: A job's workflow as it was submitted with it, by its fingerprint.
        changed: Called when jobs were ended: workers and whoever waits are to hear of it.
    """

    def __init__(
        self,
        database: Database,
        *,
        types: tuple[str, ...],
        restore: Callable[[str, JobId], Awaitable[Workflow]],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._database, self._types = database, types
        self._restore, self._changed = restore, changed
        self._tables = dialect_of(database.url).tables

    async def create(
        self, new: NewThread, definition: Mapping[str, Any] | None, take_existing: bool
    ) -> None:
        await self._database.write(lambda: _create(new, definition, take_existing))

    async def note(
        self, thread: str, owner: Owner, metadata: Mapping[str, Any], expires: float | None
    ) -> None:
        await self._database.write(lambda: thread_rows.note(thread, owner, metadata, expires))

    async def state(
        self,
        thread: str,
        owner: Owner,
        checkpoint: str | None,
        namespace: str,
        subgraphs: bool,
    ) -> StateSnapshot:
        found = await self._states(thread, owner)
        if found is None:
            return no_state(thread)
        return await found.get(checkpoint, namespace, subgraphs=subgraphs)

    async def history(
        self,
        thread: str,
        owner: Owner,
        limit: int | None,
        before: str | None,
        namespace: str,
        metadata: Mapping[str, Any] | None,
    ) -> list[StateSnapshot]:
        found = await self._states(thread, owner)
        return [] if found is None else await found.history(limit, before, namespace, metadata)

    async def update(
        self, thread: str, owner: Owner, values: Any, as_node: str | None, checkpoint: str | None
    ) -> str:
        """Returns the checkpoint that was made."""
        for _ in range(TRIES):
            found = await self._states(thread, owner)
            if found is None:
                raise InvalidInput(
                    f"thread {thread!r} has no graph: no job has run on it, and it was created "
                    "without a workflow"
                )
            before = await self._database.read(lambda: standing(thread))
            output = None if before is None else await found.output()
            change = await found.changed(values, as_node, checkpoint)
            saved = await self._database.write(
                partial(_update, thread, owner, change, before, output)
            )
            if saved:
                await self._changed()
                return change.checkpoint
        raise RefusedChange(f"thread {thread!r} was changed at the same moment; try again")

    async def copy(self, thread: str, owner: Owner, target: str) -> None:
        await self._database.write(partial(_copy, self._tables, thread, target, owner))

    async def delete(self, thread: str, owner: Owner) -> None:
        await self._database.write(partial(delete, self._tables, thread, owner))
        await self._changed()

    async def keep_latest(self, thread: str, owner: Owner) -> None:
        """Raises ThreadBusy, and RefusedChange where a state is put together from earlier ones."""
        await self._database.read(lambda: _resting(thread, owner))
        try:
            await self._saver().aprune([thread], strategy="keep_latest")
        except NotImplementedError as error:
            raise RefusedChange(str(error)) from error

    async def _states(self, thread: str, owner: Owner) -> States | None:
        """None where nobody knows which graph the thread's states belong to."""
        graph = await self._database.read(lambda: _graph(thread, owner))
        if graph is None:
            return None
        fingerprint, job = graph
        workflow = await self._restore(fingerprint, JobId(job))
        return States(workflow, self._saver(), thread, job)

    def _saver(self) -> FencedSaver:
        return saver_of(self._database, self._types)


# ---------------------------------------------------------------- operations


def _create(
    new: NewThread, definition: Mapping[str, Any] | None, take_existing: bool
) -> Operation[None]:
    if definition is not None:
        yield One(ADD_DEFINITION, definition)
    yield from thread_rows.create(new, take_existing=take_existing)


def _graph(thread: str, owner: Owner) -> Operation[tuple[str, str] | None]:
    yield from thread_rows.known(thread, owner)
    return (yield from thread_rows.graph(thread))


def _resting(thread: str, owner: Owner) -> Operation[None]:
    yield from thread_rows.known(thread, owner)
    if active := (yield from thread_rows.active(thread)):
        raise ThreadBusy(thread, active)


_HEAD = """
select max(checkpoint_id) as id from checkpoints
where thread_id = :thread and checkpoint_ns = ''"""


def _update(
    thread: str,
    owner: Owner,
    change: states.Change,
    before: Standing | None,
    output: str | None,
) -> Operation[bool]:
    """Save an edited state; False where the thread was changed since that was made. Raises
    ThreadNotFound, ThreadBusy."""
    yield from thread_rows.name(thread)
    yield from thread_rows.existing(thread, owner)
    if active := (yield from thread_rows.active(thread)):
        raise ThreadBusy(thread, active)
    (head,) = yield One(_HEAD, {"thread": thread})
    if head["id"] != change.after or (yield from standing(thread)) != before:
        return False
    if before is not None:
        yield from hand_over(before, output, "the state of its thread was updated")
    yield Save(partial(save_on, change.calls))
    yield from thread_rows.touch(thread)
    return True


def _copy(tables: Tables, thread: str, target: str, owner: Owner) -> Operation[None]:
    yield from thread_rows.copy(thread, target, owner)
    yield from copy_thread(tables, thread, target)


def delete(tables: Tables, thread: str, owner: Owner) -> Operation[None]:
    """Cancel what is active on a thread, and delete it with its jobs and states. Raises
    ThreadNotFound."""
    yield from thread_rows.existing(thread, owner)
    yield from _delete(tables, thread)


def delete_expired(tables: Tables, thread: str) -> Operation[None]:
    """Delete a thread whose time has passed, if it has still."""
    if (yield from thread_rows.is_expired(thread)):
        yield from _delete(tables, thread)


def _delete(tables: Tables, thread: str) -> Operation[None]:
    for job, status in (yield from thread_rows.jobs(thread)):
        if status not in SETTLED:
            yield from cancel(job)
        yield from retention.delete(tables, job)
    yield from delete_threads(tables, [thread])
    yield from thread_rows.drop(thread)
