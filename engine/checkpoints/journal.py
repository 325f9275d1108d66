"""What one attempt has to tell: its steps and events, until a transaction takes them.

The runner notes what happens; the saver writes the notes inside the transaction of the
checkpoint that they belong to, so that ledger and checkpointer never contradict each other.

Nodes may run graphs in threads of their own, whose checkpoints are written from there: what a
saver calls may be called from any thread, all else lives on the engine's loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from bisect import insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ucop.agents.text.plain import brief, plain
from ucop.graphs.nodes.question import WITHIN, deadline_of
from ucop.graphs.pregel.names import way_to

from ..errors import DatabaseError, Superseded, Unstorable
from ..jobs.failure import failure
from ..jobs.job import JobId, TaskId
from ..jobs.status import StepStatus
from ..ledger import lifecycle
from ..ledger.operation import Operation
from ..ledger.records import NewEvent, Question, StepRow
from ..values.json_text import shown_json, to_json
from ..values.stored import stored_json
from .notes import NO_NOTES, Batch, Call, Load, Writes, with_reply
from .replies import Replies, Reply, takes_answer

if TYPE_CHECKING:
    from ucop.agents.models.meter import Usage


MOST_UNSAVED = 10
"""Results of nodes that wait for a transaction which others wait for already; and how many may
wait before nothing more begins. A kill loses them."""

INTERRUPTED = "Interrupted"
"""The error type of a step that ended before its node did."""

ERROR = "__error__"
INTERRUPT = "__interrupt__"
CONTROL = frozenset({ERROR, INTERRUPT, "__resume__", "__error_source_node__"})
"""Channels in which LangGraph keeps that a task has not succeeded, or not yet."""


def _told(spent: Usage) -> dict[str, Any]:
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


def _nothing() -> None:
    return None


def _place(placed: tuple[int, int, Question]) -> tuple[int, int]:
    return placed[:2]


class Turn:
    """The journal's lock, which knows how many want it: `async with journal.turn:`."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self.waiting = 0

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class Journal:
    """The notes of one attempt, and the fence that they pass through."""

    def __init__(
        self,
        job_id: JobId,
        attempt: int,
        *,
        spent: Callable[[str], Usage],
        hides: Callable[[str], bool],
        caught: Callable[[str, Writes], Mapping[str, Any] | None] = lambda node, writes: None,
        on_note: Callable[[], None] = lambda: None,
        on_told: Callable[[], None] = lambda: None,
        on_begin: Callable[[str], None] | None = None,
        live: Callable[[str, Collection[str]], Usage] | None = None,
        replies: Replies | None = None,
        nested: bool = True,
    ) -> None:
        """`nested`: what runs inside nodes is told as steps. `on_begin` hears of each node before it begins, and may raise. With `live`, what nodes
        that run have spent so far is written along with everything else."""
        self.job_id, self.attempt = job_id, attempt
        self.lock = asyncio.Lock()
        """Held for each write of this attempt: LangGraph's savers may be called at once."""
        self.turn = Turn(self.lock)
        """Takes the lock, and tells the one who has it whether others wait to write."""
        self.guard = threading.RLock()
        """Held while notes are changed; never while anything is waited for."""
        self.is_closed = False
        """Whether the attempt has ended, and what it has still to tell is told with its end."""
        self._nested = nested
        self.committing = threading.Lock()
        """Held by a commit that others, in other threads, must not overtake."""
        self.held: list[Call] = []
        """What is saved together with what follows at once: the input and the writes of a superstep's
        last task with the checkpoint, other writes with those that wait behind them. The saver's
        methods and their arguments."""
        self._places: dict[str, int] = {}
        """The tasks of this superstep, in LangGraph's order: they end in any."""
        self._ways: dict[str, tuple[int, ...]] = {}
        """The places of the tasks inside others that ask, from the outermost, by question."""
        self._placed: list[tuple[int, int, Question]] = []
        """What nodes that interrupted ask, and the graph waits for."""
        self.stops: dict[str, str] = {}
        """Nodes that stopped the graph without asking anything that can be answered, and why."""
        self.replies = replies or Replies(())
        """What people answered, and which of it was taken."""
        self.nodes: set[str] = set()
        """The nodes that began in this attempt."""
        self._spent, self._hides, self._caught = spent, hides, caught
        self._on_note, self._on_told = on_note, on_told
        self._on_begin, self._live = on_begin, live
        self._steps: list[StepRow] = []
        self._events: list[NewEvent] = []
        self._consumed: tuple[str, ...] = ()
        self._rejected: tuple[str, ...] = ()
        self._asked: dict[str, Question] = {}
        """What was asked, by the innermost node that asked it."""
        self._open: dict[str, StepRow | None] = {}
        self._announced: dict[str, tuple[float, Sequence[str], Mapping[str, Any]]] = {}
        """Tasks that begin, before the stream tells of them: when, where, and as LangGraph has it."""
        self._saved: set[tuple[str, ...]] = set()
        """The namespaces of graphs that save what their nodes write, one by one."""
        self.saving: set[str] = set()
        """Tasks that ended and whose writes wait to be saved: by these it is told that they ended."""
        self._ended_early: set[str] = set()
        """Tasks that ended before the stream told of their beginning."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._inside: dict[str, list[str]] = {}
        """The tasks inside a task that runs a workflow, in the order in which they began."""
        self._kept: set[str] = set()
        self._tries: dict[str, int] = {}
        self._cached: dict[str, int] = {}
        self._unsaved: Exception | None = None
        self._uncertain: Exception | None = None
        self._broke: list[BaseException] = []
        """What kept this attempt's own commits from being made."""
        self._names: dict[str, str] = {}
        """The nodes of the tasks that run, by task, also where nothing is told of them."""
        self._writers: dict[str, dict[str, None]] = {}
        """The nodes that wrote to a channel since the last checkpoint, by channel."""

    # ------------------------------------------------------------ notes

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
            if self._nested or not namespace:
                self._announced[task["id"]] = (time.monotonic(), namespace, task)
            self._saved.add(tuple(namespace))

    def ended(self, task_id: str, namespace: Sequence[str], output: Any) -> None:
        """The stream tells that a node ended. Where its writes are saved, they tell."""
        with self.guard:
            if tuple(namespace) in self._saved:
                return
            step = self._open.pop(task_id, None)
            if step is not None:
                told = shown_json(brief(output))
                self._note(*self._end(step, StepStatus.COMPLETED, time.monotonic(), output=told))

    def started(self, task_id: str, node: str, data: Any, *, within: Iterable[str] = ()) -> None:
        """A node began, within the tasks that run the workflows around it. Nodes that the compiler
        made for itself are not told."""
        with self.guard:
            at = self._announced.pop(task_id, (time.monotonic(),))[0]
            early = task_id in self._ended_early
            self._ended_early.discard(task_id)
            if not early:
                self._start(task_id, node, data, within, at)
        if early and self._on_begin is not None:
            self._on_begin(node)

    def _start(
        self,
        task_id: str,
        node: str,
        data: Any,
        within: Iterable[str],
        at: float,
        *,
        early: bool = False,
    ) -> None:
        if task_id in self._open or task_id in self._kept:
            return
        if not self._open:  # the first of a superstep
            self._places.clear()
        self._places[task_id] = len(self._places)
        for outer in within:
            self._inside.setdefault(outer, []).append(task_id)
        if self._hides(node):
            self._open[task_id] = None
            return
        if self._on_begin is not None and not early:
            self._on_begin(node)
        step = StepRow(
            task_id=TaskId(task_id),
            node=node,
            status=StepStatus.RUNNING,
            started_at=at,
            input=shown_json(brief(data)),
        )
        self._open[task_id] = step
        self._steps.append(step)
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

    def refused(self, task_id: str, error: Unstorable) -> None:
        """What a node gave cannot be stored: it failed, and no checkpoint may follow."""
        with self.guard:
            if self._unsaved is None:
                self._unsaved = error
            self._start_early(task_id)
        self.failed(task_id, failure(error, error.node))

    def drop_held(self) -> None:
        """What is held cannot be saved."""
        with self.guard:
            self.held.clear()

    def broke_off(self, error: Superseded | DatabaseError) -> None:
        """A commit of this attempt was not made, for no fault of what it was to hold."""
        self._broke.append(error)

    def broke(self, error: BaseException) -> bool:
        """Whether an error is the one that kept a commit of this attempt from being made."""
        return any(known is error for known in self._broke)

    @contextmanager
    def finished(
        self, task_id: str, writes: Writes, at: float, reply: Reply | None = None
    ) -> Iterator[Batch]:
        """A node ended at `at`, and its writes are saved inside this context, along with the notes
        that it gives; where that fails, the node has not finished, and no checkpoint may follow
        that contains what it wrote: LangGraph hears of the failure only at the end of the stream.

        `reply` says what became of the answers that the node was given."""
        with self.guard:
            notes, undo = self._finish(task_id, writes, at)
        notes = with_reply(notes, reply)
        try:
            yield notes
        except BaseException as error:
            with self.guard:
                if isinstance(error, Exception):
                    self._unsaved = error
                undo()
            raise

    def hold(self, call: Call, notes: Batch = NO_NOTES) -> None:
        """Save this, and tell those notes, together with what is saved next."""
        with self.guard:
            self.held.append(call)
            self._steps.extend(notes.steps)
            self._events.extend(notes.events)
            self._consumed += notes.consumed
            self._rejected += notes.rejected
        if notes.events:
            self._hear(self._on_note)

    def _hear(self, tell: Callable[[], None]) -> None:
        """Call what belongs to the loop, on the loop."""
        if threading.get_ident() == self._thread:
            tell()
        else:
            self._loop.call_soon_threadsafe(tell)

    def may_advance(self) -> None:
        """Whether a checkpoint may be saved, or the job end well. Raises what kept earlier writes
        from being saved."""
        if self._unsaved is not None:
            raise self._unsaved

    async def room(self) -> None:
        """Wait while much of what ended is not saved: a fan-out must not run ahead of it, however
        little of the processor its worker gets."""
        if self.turn.waiting + len(self.held) >= MOST_UNSAVED:
            # Those who wait to write are served in their order, and then this one.
            async with self.lock:
                pass

    def may_write(self) -> None:
        """Whether anything may be written. Raises what broke an earlier commit off."""
        if self._uncertain is not None:
            raise self._uncertain

    @contextmanager
    def certain(self) -> Iterator[None]:
        """A commit. Where the database is lost inside, nobody knows whether it happened: then
        this attempt writes no more, or it could tell the same twice."""
        self.may_write()
        try:
            yield
        except DatabaseError as error:
            self._uncertain = error
            raise

    def _finish(self, task_id: str, writes: Writes, at: float) -> tuple[Batch, Callable[[], None]]:
        """The notes of a node's end, and how to take it back."""
        if any(name in (ERROR, INTERRUPT) for name, _ in writes):
            return NO_NOTES, _nothing
        if (node := self.node_of(task_id)) is not None:
            for channel, _ in writes:
                self._writers.setdefault(channel, {})[node] = None
        self._stop_inside(task_id)
        self._start_early(task_id)
        step = self._open.pop(task_id, None)
        if step is None:
            return NO_NOTES, _nothing
        output = {channel: value for channel, value in writes if self._shown(channel)}
        error = self._caught(step.node, writes)
        status = StepStatus.COMPLETED if error is None else StepStatus.FAILED
        row, event = self._end(step, status, at, output=shown_json(brief(output)), error=error)

        def undo() -> None:
            self._steps.append(step)
            self._open[task_id] = step

        return Batch((row,), (event,)), undo

    def _start_early(self, task_id: str) -> None:
        """A task ended; begin it, if the stream has not told of it yet."""
        if task_id in self._open or task_id not in self._announced:
            return
        at, namespace, task = self._announced.pop(task_id)
        within = [part.rpartition(":")[2] for part in namespace]
        node = way_to(namespace, task["name"])
        self._start(task_id, node, task.get("input"), within, at, early=True)
        self._ended_early.add(task_id)

    def cached(self, task_id: str) -> None:
        """A call of a node was answered from the cache."""
        self._cached[task_id] = self._cached.get(task_id, 0) + 1

    def failed(self, task_id: str, error: dict[str, Any]) -> None:
        """A node raised."""
        with self.guard:
            self._stop_inside(task_id)
            step = self._open.pop(task_id, None)
            if step is not None:
                self._note(*self._end(step, StepStatus.FAILED, time.monotonic(), error=error))

    def _note(self, step: StepRow, event: NewEvent) -> None:
        self._steps.append(step)
        self._events.append(event)
        self._hear(self._on_note)

    def retried(self, task_id: str, node: str, number: int, error: Mapping[str, Any]) -> None:
        """A call of a node is tried again, for the `number`th time in all, after `error`."""
        self._tries[task_id] = max(number, self._tries.get(task_id, 1))
        step = self._open.get(task_id)
        data = {"node": step.node if step else node, "task_id": task_id, "try": number}
        self.event("step.retried", {**data, "attempt": self.attempt, "error": error})

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

    @property
    def questions(self) -> list[Question]:
        """What the job waits for, in the order of the tasks that ask."""
        return [question for *_, question in self._placed]

    def asks(
        self, task_id: str, node: str, interrupts: Iterable[Mapping[str, Any]], *, inside: bool
    ) -> None:
        """A node interrupts: its run goes on when a person has answered. What nodes `inside`
        another one ask, the graph waits for only if that node passes it on. Raises Unstorable."""
        place = self._places.get(task_id, len(self._places))
        # What several nodes inside this one ask comes in any order.
        for interrupt in sorted(interrupts, key=lambda each: self._ways.get(each["id"], ())):
            id = interrupt["id"]
            if not takes_answer(id):
                self.stops.setdefault(node, str(brief(interrupt["value"])))
                continue
            if id not in self._asked:
                self._asked[id] = _question(interrupt, node)
            if inside:
                self._ways[id] = (place, *self._ways.get(id, ()))
            elif self._asked[id] not in self.questions:
                insort(self._placed, (place, len(self._placed), self._asked[id]), key=_place)
        with self.guard:
            step = self._open.pop(task_id, None)
            if step is not None:
                self._note(*self._end(step, StepStatus.PENDING, time.monotonic()))

    def event(self, type: str, data: dict[str, Any]) -> NewEvent:
        return self.tell_of(type, shown_json(data))

    def tell_of(self, type: str, data: str) -> NewEvent:
        """`event`, of what is JSON already."""
        event = NewEvent(type=type, at=time.monotonic(), data=data)
        with self.guard:
            self._events.append(event)
        self._hear(self._on_note)
        return event

    @property
    def noted_at(self) -> float | None:
        """When the oldest note that waits was made, on the monotonic clock."""
        with self.guard:
            return self._events[0].at if self._events else None

    def is_last(self, task_id: str, task_path: str) -> bool:
        """Whether no other task of this superstep is known to run. LangGraph's own task that
        takes the input in is alone, and is not announced."""
        alone = len(self._open) == 1 and task_id in self._open
        return alone or task_path.endswith(", __start__")

    def open_nodes(self) -> list[tuple[str, str]]:
        """(task id, node) of the node runs that began and have not ended."""
        with self.guard:
            return [(task, step.node) for task, step in self._open.items() if step is not None]

    def _end(
        self,
        step: StepRow,
        status: StepStatus,
        now: float,
        *,
        output: str | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> tuple[StepRow, NewEvent]:
        """The step's row and event at its end, in place of its beginning."""
        spent = self._spent(step.task_id)
        row = StepRow(
            task_id=step.task_id,
            node=step.node,
            input=step.input,
            started_at=step.started_at,
            status=status,
            finished_at=now,
            output=output,
            error=shown_json(error) if error else None,
            tries=self._tries.pop(step.task_id, 1),
            cached=(cached := self._cached.pop(step.task_id, 0)),
            **_told(spent),
        )
        # A beginning that was not written yet need not be written apart from its end.
        self._steps = [known for known in self._steps if known is not step]
        data: dict[str, Any] = {
            "node": step.node,
            "task_id": step.task_id,
            "attempt": self.attempt,
            "seconds": round(now - (step.started_at or now), 6),
            "model_calls": spent.model_calls,
            "tokens_in": spent.tokens_in,
            "tokens_out": spent.tokens_out,
        }
        if cached:
            data["cached"] = cached
        if spent.cached_calls:
            data["cached_calls"] = spent.cached_calls
        told = shown_json({**data, "error": error} if error else data)
        return row, NewEvent(type=f"step.{status}", at=time.monotonic(), data=told)

    def _shown(self, channel: str) -> bool:
        """Whether a written channel is the user's own, and not LangGraph's or the compiler's."""
        return not channel.startswith(("__", "branch:")) and not self._hides(channel)

    # ------------------------------------------------------------ writing

    def batch(self) -> Batch:
        """All notes that wait, which stay."""
        with self.guard:
            return Batch(
                steps=(*self._steps, *self._running()),
                events=tuple(self._events),
                consumed=self._consumed,
                rejected=self._rejected,
            )

    def close(self) -> Batch:
        """All notes that wait, for the transaction that ends the attempt: no other writes any more.
        Called with the lock held."""
        with self.guard:
            self.is_closed = True
            return self.batch()

    def take(self) -> Load:
        """What waits, for a transaction that writes it. What becomes of it is told by `told`, or by
        `give_back`. Raises Superseded where the attempt has ended."""
        with self.guard:
            if self.is_closed:
                raise lifecycle.superseded(self.job_id, self.attempt)
            load = Load(self._steps, self._events, self.held, self._consumed, self._rejected)
            self._steps, self._events, self.held = [], [], []
            self._consumed, self._rejected = (), ()
            return load

    def give_back(self, load: Load) -> None:
        """The transaction that had taken this has written nothing."""
        with self.guard:
            self._steps = load.steps + self._steps
            self._events = load.events + self._events
            self.held = load.held + self.held
            self._consumed = load.consumed + self._consumed
            self._rejected = load.rejected + self._rejected

    def _running(self) -> list[StepRow]:
        """The steps that run, with what they have spent so far, where that is to be written."""
        if self._live is None:
            return []
        shown = {task: step for task, step in self._open.items() if step is not None}
        return [self._so_far(step, shown) for step in shown.values()]

    def _so_far(self, step: StepRow, apart: Collection[str]) -> StepRow:
        assert self._live is not None
        return replace(step, **_told(self._live(step.task_id, apart)))

    def tell(
        self,
        load: Load,
        notes: Batch = NO_NOTES,
        *,
        saved: int = 0,
        checkpoint: str | None = None,
    ) -> Operation[None]:
        """The fence together with the notes of `load`, and `notes`."""
        with self.guard:
            running = self._running()
        return lifecycle.tell(
            self.job_id,
            self.attempt,
            steps=[*load.steps, *notes.steps, *running],
            events=[*load.events, *notes.events],
            saved=saved,
            checkpoint=checkpoint,
            consumed=(*load.consumed, *notes.consumed),
            rejected=(*load.rejected, *notes.rejected),
        )

    def told(self, load: Load, notes: Batch = NO_NOTES) -> None:
        """The transaction that wrote this has committed."""
        if load.events or notes.events:
            self._hear(self._on_told)


def _question(interrupt: Mapping[str, Any], node: str) -> Question:
    """What an interrupted node asks. Raises WorkflowError for a deadline that is none."""
    schema: Mapping[str, Any] = interrupt.get("response_schema") or {}
    deadline = deadline_of(schema, node)
    shown = {key: value for key, value in schema.items() if key != WITHIN}
    return Question(
        id=interrupt["id"],
        node=node,
        question=stored_json(interrupt["value"], node=node, channel=INTERRUPT),
        answer_schema=to_json(shown) if shown else None,
        within=deadline.within if deadline else None,
        default=to_json(plain(deadline.default)) if deadline and not deadline.fails else None,
    )
