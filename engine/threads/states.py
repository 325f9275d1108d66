"""The states of a thread, read and written by LangGraph's own `get_state`, `get_state_history` and
`update_state`. On the engine's loop."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..checkpoints.history import output_of_thread
from ..checkpoints.savers import attach
from ..checkpoints.snapshots import OWN
from ..edits.edit import Edit
from ..edits.editing import edited
from ..edits.forks import newest
from ..errors import CheckpointNotFound, InvalidInput
from ..jobs.job import JobId, ThreadId
from ..journal.notes import Call

if TYPE_CHECKING:
    from langgraph.types import StateSnapshot

    from ucop.graphs.workflow import Workflow

    from ..checkpoints.savers import FencedSaver


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be saved for an edited state."""

    calls: Sequence[Call]
    after: str | None
    """The newest checkpoint that was there when it was made."""
    checkpoint: str
    """The one that it makes."""


def _config(thread: str, namespace: str = "", checkpoint: str | None = None) -> Any:
    at = {} if checkpoint is None else {"checkpoint_id": checkpoint}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, **at}}


def no_state(thread: str) -> StateSnapshot:
    """The state of a thread that has none."""
    from langgraph.types import StateSnapshot

    return StateSnapshot({}, (), _config(thread), None, None, None, (), ())


class States:
    """The states of one thread, whose graph is known.

    Args:
        job: The newest job of the thread, or "" where none has run on it.
    """

    def __init__(self, workflow: Workflow, saver: FencedSaver, thread: str, job: str) -> None:
        self._workflow, self._saver, self._thread, self._job = workflow, saver, thread, job

    async def get(
        self, checkpoint: str | None = None, namespace: str = "", *, subgraphs: bool = False
    ) -> StateSnapshot:
        """The state at a checkpoint; the newest where none is named. Raises CheckpointNotFound."""
        config = _config(self._thread, namespace, checkpoint)
        if checkpoint is not None and await self._saver.aget_tuple(config) is None:
            raise CheckpointNotFound(f"no checkpoint {checkpoint} in thread {self._thread!r}")
        return self._shown(await self._reading().aget_state(config, subgraphs=subgraphs))

    async def history(
        self,
        limit: int | None,
        before: str | None,
        namespace: str,
        metadata: Mapping[str, Any] | None,
    ) -> list[StateSnapshot]:
        """The states, the newest first."""
        bound = None if before is None else _config(self._thread, namespace, before)
        listed = self._reading().aget_state_history(
            _config(self._thread, namespace),
            filter=dict(metadata) if metadata else None,
            before=bound,
            limit=limit,
        )
        return [self._shown(each) async for each in listed]

    async def changed(self, values: Any, as_node: str | None, checkpoint: str | None) -> Change:
        """What is to be saved so that `values` are written. Raises InvalidInput,
        CheckpointNotFound, Unstorable."""
        head = await self.head()
        if checkpoint is not None:
            await self.get(checkpoint)
        at = checkpoint or head
        if self._workflow.kind == "yaml" and values is not None and at is not None:
            edit = Edit(update=_names(values), as_node=as_node)
            thread, job = ThreadId(self._thread), JobId(self._job)
            calls = await edited(self._workflow, self._saver, job, thread, at, edit)
        else:
            calls = await self._updated(values, as_node, checkpoint)
        made = newest(calls, "")
        return Change(calls=[_unbound(each) for each in calls], after=head, checkpoint=made)

    async def head(self) -> str | None:
        """The newest checkpoint. What is drafted after this has a later id, whatever the clock
        says."""
        found = await self._saver.aget_tuple(_config(self._thread))
        return None if found is None else str(found.checkpoint["id"])

    async def output(self) -> str | None:
        """What the thread has come to, as the output of its job (JSON text)."""
        return await output_of_thread(self._thread, self._workflow, self._saver)

    async def _updated(
        self, values: Any, as_node: str | None, checkpoint: str | None
    ) -> list[Call]:
        from langgraph.errors import InvalidUpdateError

        draft: list[Call] = []
        graph: Any = attach(self._workflow.graph(), self._saver.for_draft(draft))
        try:
            await graph.aupdate_state(
                _config(self._thread, "", checkpoint), values, as_node=as_node
            )
        except InvalidUpdateError as error:
            raise InvalidInput(
                f"thread {self._thread!r}: the state cannot be updated so: {error}"
            ) from error
        graph.checkpointer.check(draft)
        return draft

    def _reading(self) -> Any:
        graph = attach(self._workflow.graph(), self._saver)
        # For who only looks: a class that is gone is shown as what it held.
        graph.checkpointer = self._saver
        return graph

    def _shown(self, snapshot: StateSnapshot) -> StateSnapshot:
        """Without what the compiler of YAML keeps for itself."""
        if self._workflow.kind != "yaml":
            return snapshot
        return snapshot._replace(
            values=_without(snapshot.values, OWN),
            next=tuple(node for node in snapshot.next if not self._workflow.hides(node)),
            tasks=tuple(task for task in snapshot.tasks if not self._workflow.hides(task.name)),
        )


def _without(values: Any, names: Collection[str]) -> Any:
    if not isinstance(values, Mapping):
        return values
    return {name: value for name, value in values.items() if name not in names}


def _names(values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise InvalidInput(f"values: an object of names and values, not {values!r}")
    return values


def _unbound(call: Call) -> Call:
    """A call of a saver without what belongs to who made it."""
    method, (config, *rest) = call
    return method, ({"configurable": config["configurable"]}, *rest)
