"""The nodes of one attempt: how each becomes a step, events and a part of a checkpoint.

1. LangGraph is about to run a node. Its loop announces the task (`announced`, in any thread), and its
   stream reports it later (`started`). Whichever comes first begins the step, through one door:
   `_begin`. The step `running` and the event `step.started` are notes, which wait.
2. Notes wait (`notes`, in outbox.py) until a transaction takes them (`take`): that of the next
   checkpoint, or of a flush if none comes in time (attempts/flushing.py). The transaction checks the
   fence, writes the notes, and with them what the saver saves (checkpoints/fenced_write.py). After
   the commit comes `told`; without one, `give_back`.
3. The node returns, and LangGraph passes its writes to the saver (checkpoints/fence.py), which calls
   `finished`. The step `completed` and its event are written by the transaction that saves the
   writes. If that fails, the node has not ended, and no checkpoint may follow (`may_advance`). The
   writes of a superstep's last node are held, with their notes, for the transaction of the
   checkpoint that follows at once (`hold`).
4. A node that raises or asks saves no results, and neither does a node of a graph that keeps no
   checkpoints. The stream reports those ends (`ended`), and their notes wait like any other.
5. All ends go through one door: `_end`, which also takes what the node has spent. When the attempt
   ends, what still runs is stopped (`stopped`), and the notes that wait are written by the
   transaction that ends the attempt (`close`).

So a step is completed in the ledger exactly when its writes are in the checkpointer.

Nodes may run graphs in threads of their own, whose checkpoints are written from there. So whatever a
saver calls may be called from any thread; all else is called on the engine's loop.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ucop.agents.text.plain import brief
from ucop.graphs.pregel.names import way_to

from ..errors import Unstorable
from ..jobs.failure import failure
from ..jobs.job import JobId, TaskId
from ..jobs.status import StepStatus
from ..ledger.records import NewEvent, StepRow
from ..values.json_text import shown_json, to_json
from .asked import Asked
from .notes import Notes, Writes
from .observer import Nodes, Observer
from .outbox import Outbox
from .replies import ERROR, ERROR_SOURCE, INTERRUPT, RESUME, Replies, Reply

if TYPE_CHECKING:
    from ucop.agents.models.meter import Meter, Usage


INTERRUPTED = "Interrupted"
"""The error type of a step that ended before its node did."""

CONTROL = frozenset({ERROR, INTERRUPT, RESUME, ERROR_SOURCE})
"""Channels in which LangGraph keeps that a task has not succeeded, or not yet."""


class NodeEnd:
    """A node that has ended, while its writes are saved: `with journal.finished(…) as notes:`.
    It stands around each commit: a class costs a third of a generator."""

    __slots__ = ("_journal", "_notes", "_step")

    def __init__(self, journal: Journal, step: StepRow | None, notes: Notes) -> None:
        self._journal, self._step, self._notes = journal, step, notes

    def __enter__(self) -> Notes:
        return self._notes

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            self._journal.not_finished(self._step, error)


class Journal(Outbox):
    """The nodes of one attempt. With `writes_spending`, what running nodes have spent so far is written
    along with everything else."""

    def __init__(
        self,
        job_id: JobId,
        attempt: int,
        nodes: Nodes,
        meter: Meter,
        observer: Observer,
        *,
        replies: Replies | None = None,
        writes_spending: bool = False,
    ) -> None:
        super().__init__(job_id, attempt, observer)
        self._nodes, self._meter, self._writes_spending = nodes, meter, writes_spending
        self.asked = Asked()
        self.replies = replies or Replies(())
        """What people answered, and which of it was taken."""
        self.nodes: set[str] = set()
        """The nodes that began in this attempt."""
        self.saving: set[str] = set()
        """Tasks that ended and whose writes wait to be saved: by these it is told that they ended."""
        self.raised: list[tuple[str, BaseException]] = []
        """Nodes that raised, and what."""
        self.unended: set[str] = set()
        """Tasks of the graph itself that began, and of which the stream has not told that they
        ended."""
        self._open: dict[str, StepRow | None] = {}
        """The tasks that run; of those that the compiler made for itself no step is told."""
        self._places: dict[str, int] = {}
        """The tasks of this superstep, in LangGraph's order: they end in any."""
        self._inside: dict[str, list[str]] = {}
        """The tasks inside a task that runs a workflow, in the order in which they began."""
        self._announced: dict[str, tuple[float, Sequence[str], Mapping[str, Any]]] = {}
        """Tasks that begin, before the stream tells of them: when, where, and as LangGraph has it."""
        self._ended_early: set[str] = set()
        """Tasks that ended before the stream told of their beginning."""
        self._kept: set[str] = set()
        """Tasks that earlier attempts finished."""
        self._saved: set[tuple[str, ...]] = set()
        """The namespaces of graphs that save what their nodes write, one by one."""
        self._tries: dict[str, int] = {}
        self._cached: dict[str, int] = {}
        self._names: dict[str, str] = {}
        """The nodes of the tasks that run, by task, also if nothing is told of them."""
        self._writers: dict[str, dict[str, None]] = {}
        """The nodes that wrote to a channel since the last checkpoint, by channel."""

    # ------------------------------------------------------------ beginnings

    def kept(self, pending: Iterable[tuple[str, str, Any]]) -> None:
        """Writes that the checkpointer held when the attempt began. LangGraph announces the
        tasks that wrote them with the rest of their superstep, and does not run them."""
        with self.guard:
            self._kept.update(task for task, channel, _ in pending if channel not in CONTROL)

    def announced(self, namespace: Sequence[str], task: Mapping[str, Any]) -> None:
        """A node whose writes are saved is about to run, in whatever thread. The stream tells of it
        on the loop, which may be too late for one that ends at once, or while the loop itself is
        held up."""
        with self.guard:
            if self._nodes.nested or not namespace:
                self._announced[task["id"]] = (time.monotonic(), namespace, task)
            self._saved.add(tuple(namespace))

    def started(self, namespace: Sequence[str], task: Mapping[str, Any]) -> None:
        """The stream tells that a node began."""
        task_id = task["id"]
        if not namespace:
            self.unended.add(task_id)
        with self.guard:
            at = self._announced.pop(task_id, (time.monotonic(),))[0]
            if early := task_id in self._ended_early:
                self._ended_early.discard(task_id)
            else:
                self._begin(namespace, task, at)
        node = way_to(namespace, task["name"])
        if early and not self._nodes.hides(node):
            self._observer.begins(node)

    def _begin_early(self, task_id: str) -> None:
        """A task ended; begin it, if the stream has not told of it yet."""
        if task_id in self._open or task_id not in self._announced:
            return
        at, namespace, task = self._announced.pop(task_id)
        self._begin(namespace, task, at, early=True)
        self._ended_early.add(task_id)

    def _begin(
        self, namespace: Sequence[str], task: Mapping[str, Any], at: float, *, early: bool = False
    ) -> None:
        """A task begins, within the tasks that run the workflows around it."""
        task_id, node = task["id"], way_to(namespace, task["name"])
        if task_id in self._open or task_id in self._kept:
            return
        if not self._open:  # the first of a superstep
            self._places.clear()
        self._places[task_id] = len(self._places)
        for part in namespace:
            self._inside.setdefault(part.rpartition(":")[2], []).append(task_id)
        if self._nodes.hides(node):
            self._open[task_id] = None
            return
        if not early:
            self._observer.begins(node)
        step = StepRow(
            task_id=TaskId(task_id),
            node=node,
            status=StepStatus.RUNNING,
            started_at=at,
            input=shown_json(brief(task.get("input"))),
        )
        self._open[task_id] = step
        self.notes.steps.append(step)
        self.nodes.add(node)
        self.event("step.started", {"node": node, "task_id": task_id, "attempt": self.attempt})

    def begins(self, task_id: str, node: str) -> None:
        """LangGraph runs a node now, at any depth."""
        self._names[task_id] = node

    def node_of(self, task_id: str) -> str | None:
        """The node that a task runs, or has just run."""
        return self._names.get(task_id)

    def writer_of(self, channel: str) -> str | None:
        """The nodes that wrote to a channel since the last checkpoint."""
        return ", ".join(self._writers.get(channel, ())) or None

    def advanced(self) -> None:
        """A checkpoint of the job's own graph was saved: no node runs now."""
        self._names.clear()
        self._writers.clear()

    def is_last(self, task_id: str, task_path: str) -> bool:
        """Whether no other task of this superstep is known to run. LangGraph's own task that
        takes the input in is alone, and is not announced."""
        alone = len(self._open) == 1 and task_id in self._open
        return alone or task_path.endswith(", __start__")

    def open_nodes(self) -> list[tuple[str, str]]:
        """(task id, node) of the node runs that began and have not ended."""
        with self.guard:
            return [(task, step.node) for task, step in self._open.items() if step is not None]

    # ------------------------------------------------------------ ends

    def finished(
        self, task_id: str, writes: Writes, at: float, reply: Reply | None = None
    ) -> NodeEnd:
        """A node ended at `at`, and its writes are saved inside this context, along with the notes
        that it gives; if that fails, the node has not finished, and no checkpoint may follow
        that contains what it wrote: LangGraph hears of the failure only at the end of the stream.

        `reply` says what became of the answers that the node was given."""
        notes, step = None, None
        written = dict(writes)
        if ERROR not in written and INTERRUPT not in written:
            with self.guard:
                if (node := self.node_of(task_id)) is not None:
                    for channel in written:
                        self._writers.setdefault(channel, {})[node] = None
                self._stop_inside(task_id)
                self._begin_early(task_id)
                if (step := self._open.get(task_id)) is not None:
                    shown = {
                        channel: value for channel, value in written.items() if self._shows(channel)
                    }
                    error = self._nodes.caught(step.node, writes)
                    status = StepStatus.COMPLETED if error is None else StepStatus.FAILED
                    output = shown_json(brief(shown))
                    notes = self._end(task_id, status, at, output=output, error=error)
                else:
                    self._open.pop(task_id, None)
        if notes is None:
            notes = Notes()
        if reply is not None:
            notes.add_reply(reply)
        return NodeEnd(self, step, notes)

    def not_finished(self, step: StepRow | None, error: BaseException) -> None:
        """What a node gave was not saved."""
        with self.guard:
            if isinstance(error, Exception):
                self._unsaved = error
            if step is not None:
                self.notes.steps.append(step)
                self._open[step.task_id] = step

    def refused(self, task_id: str, error: Unstorable) -> None:
        """What a node gave cannot be stored: it failed, and no checkpoint may follow."""
        with self.guard:
            if self._unsaved is None:
                self._unsaved = error
            self._begin_early(task_id)
        self.failed(task_id, failure(error, error.node))

    def ended(self, namespace: Sequence[str], task: Mapping[str, Any]) -> None:
        """The stream tells that a node ended. Where its writes are saved, they tell."""
        task_id = task["id"]
        if not namespace:
            self.unended.discard(task_id)
        if task.get("interrupts"):
            self._asks(namespace, task)
        elif (error := task.get("error")) is not None:
            node = way_to(namespace, task["name"])
            self.raised.append((node, error))
            self.failed(task_id, failure(error, node))
        elif tuple(namespace) not in self._saved:
            self._note_end(
                task_id, StepStatus.COMPLETED, output=shown_json(brief(task.get("result")))
            )

    def _asks(self, namespace: Sequence[str], task: Mapping[str, Any]) -> None:
        """A node interrupts: its run goes on when a person has answered."""
        task_id, node = task["id"], way_to(namespace, task["name"])
        place = self._places.get(task_id, len(self._places))
        try:
            self.asked.add(place, node, task["interrupts"], inside=bool(namespace))
        except Unstorable as error:
            self.refused(task_id, error)
        else:
            self._note_end(task_id, StepStatus.PENDING)

    def failed(self, task_id: str, error: Mapping[str, Any]) -> None:
        """A node raised."""
        with self.guard:
            self._stop_inside(task_id)
            self._note_end(task_id, StepStatus.FAILED, error=error)

    def stopped(self, why: str) -> None:
        """What still runs was stopped, and ends with what it has spent so far. Called with the lock
        held: writes that waited before are saved, and those that come later are not."""
        # The innermost first: what they spent is theirs, and not that of the node around them.
        for task_id in reversed(list(self._open)):
            self.failed(task_id, {"type": INTERRUPTED, "message": why, "node": None})

    def _stop_inside(self, task_id: str) -> None:
        """A node that ended because of one error inside it stopped what else ran there."""
        for inner in reversed(self._inside.pop(task_id, [])):
            if inner in self._open and inner not in self.saving:
                why = "the workflow around it stopped"
                self.failed(inner, {"type": INTERRUPTED, "message": why, "node": None})

    def _note_end(
        self,
        task_id: str,
        status: StepStatus,
        *,
        output: str | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """`_end`, of a node whose end waits as other notes do."""
        with self.guard:
            notes = self._end(task_id, status, time.monotonic(), output=output, error=error)
            if notes is not None:
                self.notes.add(notes)
                self._hear(self._observer.noted)

    def _end(
        self,
        task_id: str,
        status: StepStatus,
        at: float,
        *,
        output: str | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> Notes | None:
        """A task's step and event at its end, in place of its beginning; None if none are told."""
        if (step := self._open.pop(task_id, None)) is None:
            return None
        spent = self._meter.take(task_id)
        row = replace(
            step,
            status=status,
            finished_at=at,
            output=output,
            error=shown_json(error) if error else None,
            tries=self._tries.pop(task_id, 1),
            cached=(cached := self._cached.pop(task_id, 0)),
            **_columns(spent),
        )
        # A beginning that was not written yet need not be written apart from its end.
        self.notes.steps = [known for known in self.notes.steps if known is not step]
        data: dict[str, Any] = {
            "node": step.node,
            "task_id": task_id,
            "attempt": self.attempt,
            "seconds": round(at - (step.started_at or at), 6),
            "model_calls": spent.model_calls,
            "tokens_in": spent.tokens_in,
            "tokens_out": spent.tokens_out,
        }
        if cached:
            data["cached"] = cached
        if spent.cached_calls:
            data["cached_calls"] = spent.cached_calls
        if error:
            data["error"] = error
        event = NewEvent(type=f"step.{status}", at=time.monotonic(), data=shown_json(data))
        return Notes([row], [event])

    def _shows(self, channel: str) -> bool:
        """Whether a written channel is the user's own, and not LangGraph's or the compiler's."""
        return not channel.startswith(("__", "branch:")) and not self._nodes.hides(channel)

    # ------------------------------------------------------------ what else a node tells

    def cached(self, task_id: str) -> None:
        """A call of a node was answered from the cache."""
        self._cached[task_id] = self._cached.get(task_id, 0) + 1

    def retried(self, task_id: str, node: str, number: int, error: Mapping[str, Any]) -> None:
        """A call of a node is tried again, for the `number`th time in all, after `error`."""
        self._tries[task_id] = max(number, self._tries.get(task_id, 1))
        step = self._open.get(task_id)
        data = {"node": step.node if step else node, "task_id": task_id, "try": number}
        self.event("step.retried", {**data, "attempt": self.attempt, "error": error})

    def running(self) -> list[StepRow]:
        if not self._writes_spending:
            return []
        running = {task: step for task, step in self._open.items() if step is not None}
        return [
            replace(step, **_columns(self._meter.live(task, running)))
            for task, step in running.items()
        ]


def _columns(spent: Usage) -> dict[str, Any]:
    """What was spent, as a step's row has it."""
    return {
        "model_calls": spent.model_calls,
        "tokens_in": spent.tokens_in,
        "tokens_out": spent.tokens_out,
        "tokens_cached": spent.tokens_cached,
        "tokens_reasoning": spent.tokens_reasoning,
        "seconds_waited": round(spent.seconds_waited, 6),
        "seconds_generating": round(spent.seconds, 6),
        "cached_calls": spent.cached_calls,
        "cost": spent.cost,
        "models": to_json(spent.models) if spent.models else "[]",
    }
