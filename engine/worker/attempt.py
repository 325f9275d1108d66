"""One attempt of one job: the graph, streamed from its last checkpoint to its end.

The runner says how the graph ended; it changes no status itself. An attempt that is no
longer current ends with Superseded, one whose worker stops with Drained or CancelledError.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command

from ucop.agents.memory.memory import Memory, NoMemory
from ucop.agents.models.interceptor import Interceptors, NodeRun, around_node
from ucop.agents.models.meter import Meter, Usage
from ucop.graphs.nodes.context import RunContext
from ucop.graphs.nodes.failures import chain
from ucop.graphs.pregel.names import inside_of, way_to
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

from ..checkpoints.journal import Journal
from ..checkpoints.position import standing
from ..checkpoints.replies import Replies
from ..checkpoints.savers import FencedSaver, attach
from ..errors import (
    AnswerIgnored,
    DatabaseError,
    DatabaseRefusal,
    LimitReached,
    Superseded,
    Unstorable,
)
from ..job_error import JobError
from ..jobs.budget import Budget
from ..jobs.failure import failure
from ..jobs.status import Change
from ..ledger.records import Claimed, Outcome
from ..live.writer import Outlet
from ..loop.cancellation import is_cancelled
from ..values.inputs import given_input
from ..values.json_text import shown_json, to_json
from ..values.stored import stored_json
from .breakpoints import due_at, has_breakpoints, stopped_at, stops_itself
from .model_news import ModelNews, model_news
from .node_runs import CUSTOM, intercepted, watch
from .output import output_of
from .provision import NOTHING, Provision
from .stopping import insist

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from ucop.agents.models.models import Models
    from ucop.graphs.nodes.answers import Answers
    from ucop.graphs.nodes.mesh_rules import Calls
    from ucop.graphs.workflow import Workflow

    from ..checkpoints.savers import FencedSaver

T = TypeVar("T")

log = logging.getLogger("ucop.runner")

FLUSH_AFTER = 0.02
"""Seconds that a note may wait for a checkpoint to ride with, before it is written alone."""

FLUSH_AGAIN = 1.0
"""Seconds before notes that the database did not take are tried again."""

PATIENCE = 0.2
"""Longest wait, in seconds, while the loop is busy with other jobs."""

PUNCTUAL = 0.001
"""Seconds that a timer is late on a loop with nothing else to do."""


class Drained(Exception):
    """The graph stopped between two supersteps, because it was asked to."""


class Pace:
    """How long notes wait, on one worker's loop. While the loop is busy with other jobs a
    checkpoint that they can ride with is near, and each write of their own would delay all."""

    def __init__(self) -> None:
        self._late = 0.0

    def wait(self) -> float:
        """Seconds that a note may wait from now on."""
        return min(FLUSH_AFTER + 20 * self._late, PATIENCE)

    def was_late(self, seconds: float) -> None:
        """A timer came so much later than it was due."""
        self._late += (max(seconds - PUNCTUAL, 0.0) - self._late) / 8


@dataclass(kw_only=True)
class Attempt:
    """A claimed attempt while it runs in this process."""

    claimed: Claimed
    control: RunControl = field(default_factory=RunControl)
    """Asks the graph to stop at the next superstep."""
    given_back: bool = False
    """Whether its worker stops it to give the job back, and not because it lost it."""
    production: bool = False
    """Whether an agent's output that is a placeholder is refused."""
    meter: Meter = field(init=False)
    on_news: Callable[[str], None]
    """Called with the job's id after each commit."""
    answers: Answers
    """Where nodes with `cache` keep theirs."""
    calls: Calls | None = None
    """Where it is kept how the agents of meshes fare."""
    memory: Memory = field(default_factory=NoMemory)
    """What agents remember, in this job's tenant."""
    store: BaseStore | None = None
    """The same for a graph's own code, as `runtime.store`."""
    live: Outlet = field(default_factory=Outlet)
    """Takes what the graph emits, for those who follow the job live."""
    pace: Pace = field(default_factory=Pace)
    interceptors: Interceptors = Interceptors(())  # noqa: RUF009 - it holds nothing
    """Code of others around nodes, and calls of agents and models."""
    journal: Journal = field(init=False)
    saver: FencedSaver = field(init=False)
    model_news: ModelNews = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _unended: set[str] = field(default_factory=set)
    """Tasks of the graph itself that began, and did not say that they ended."""
    _raised: list[tuple[str, BaseException]] = field(default_factory=list)
    """Nodes that raised, and what."""
    _flush: asyncio.Handle | None = None
    _flushing: asyncio.Task[None] | None = None
    _ended: bool = False
    _in_nodes: bool = False
    """Whether the graph runs, and not what comes before or after it."""
    _insists: asyncio.Task[None] | None = None
    _budget: Budget | None = None
    _begun: int = 0
    """Nodes that began, where steps are counted."""
    _given: Provision = NOTHING
    _refused: str | None = None
    """Why the budget let no further model call begin, once it has refused one."""

    def __post_init__(self) -> None:
        claimed = self.claimed
        if claimed.budget:
            self._budget = Budget(
                job_id=claimed.job_id,
                limits=claimed.budget,
                since=claimed.submitted_at,
                before=claimed.spent,
            )
        asks = self._budget is not None and self._budget.asks
        self.meter = Meter(
            on_other=lambda name: self.model_news.used_other(name), ask=self._ask if asks else None
        )

    async def run(
        self, workflow: Workflow, *, saver: FencedSaver, models: Models, folder: Path
    ) -> Outcome:
        """Run the graph from its last checkpoint, or from the input where there is none.

        Raises Superseded, Drained, DatabaseError, or CancelledError.
        """
        self._open_journal(workflow, saver)
        model_news.set(self.model_news)
        watch.set(self.journal)
        if self.interceptors:
            intercepted.set(partial(self._intercepted, workflow.hides))
        held = AsyncExitStack()
        try:
            return await self._run(workflow, held, models, folder)
        finally:
            await self._let_go(held)

    async def _let_go(self, held: AsyncExitStack) -> None:
        """Close what a factory holds open for the graph. What it raises changes no result."""
        try:
            await held.aclose()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            log.warning(
                "job %s: the factory of its graph raised %s while it closed: %s",
                self.claimed.job_id,
                type(error).__name__,
                error,
            )

    async def _run(
        self, workflow: Workflow, held: AsyncExitStack, models: Models, folder: Path
    ) -> Outcome:
        try:
            self._given = Provision.of(self.claimed)
            self.saver.secret = self._given.secret
            workflow = await held.enter_async_context(
                workflow.opened(self._given.for_factory(self._config(), self.store))
            )
            self.saver.starts_at_once = not hasattr(workflow.graph(), "builder")
            graph = attach(workflow.graph(), self.saver, self.store)
            self._given.set_breakpoints(graph)
            self.saver = graph.checkpointer  # type: ignore[assignment] # the same, which knows more
            if self.claimed.begun and workflow.changed:
                workflow.refuse_to_skip(await standing(graph, self._config()))
            if (stop := await self._unpassed(graph)) is not None:
                return await self._outcome(Change.ASK, reason=stop)
            values = await self._in_time(self._stream(graph, workflow, models, folder))
            self.journal.may_advance()
            waits = await self._waits(graph)
            if self.journal.held:  # what siblings of a node that asks have finished
                await self.saver.flush()
        except BaseException as error:  # noqa: BLE001 - the boundary of an attempt
            return await self._broken(error, workflow)
        if waits:
            return await self._outcome(Change.ASK, reason=waits)
        return await self._completed(workflow, values)

    async def _broken(self, error: BaseException, workflow: Workflow) -> Outcome:
        """How the attempt ended that `error` ended, the boundary of what runs in it: whatever it
        is that a graph's code raised, no more than its job ends."""
        if self._is_drain(error):
            return await self._drained()
        if isinstance(error, asyncio.CancelledError) and is_cancelled():
            await self._keep_stopped()
            raise error
        if (own := self._own_trouble(error)) is not None:
            raise own from None
        return await self._failed(error, workflow)

    def _is_drain(self, error: BaseException) -> bool:
        """Whether the graph stopped because it was asked to, and no node raised that by itself."""
        if not self.control.drain_requested:
            return False
        if isinstance(error, GraphDrained):
            return True
        return self._refused is not None and _caused_by(error, GraphDrained) is not None

    def _own_trouble(self, error: BaseException) -> BaseException | None:
        """What kept this attempt from saving, behind an error: LangGraph may wrap what its saver
        raised. A node that uses another database raises errors of its own."""
        found = _caused_by(error, Superseded, DatabaseError)
        if found is None or self.journal.broke(found):
            return found
        ours = isinstance(found, DatabaseError) and found.place == self.saver.place
        return found if ours and not isinstance(found, DatabaseRefusal) else None

    # ------------------------------------------------------------ the stream

    async def _stream(self, graph: Any, workflow: Workflow, models: Models, folder: Path) -> Any:
        values: Any = {}
        stream = graph.astream(
            self._input(workflow),
            self._config(),
            context=self._context(models, folder)
            if isinstance(workflow, YamlWorkflow)
            else workflow.context(self._given.context),
            stream_mode=self.live.emission.modes,
            durability="sync",
            version="v2",
            control=self.control,
            subgraphs=True,
        )
        self.live.follow(stream, workflow, self._given.secret)
        self._in_nodes = True
        try:
            async for part in stream:
                self.live.put(part)
                match part["type"]:
                    case "values" if not part["ns"]:
                        values = part["data"]
                    case "tasks" if not part["ns"] or workflow.nested:
                        self._note_task(part["data"], part["ns"])
                    case "custom":
                        self._note_custom(part["data"], part["ns"])
        except (LimitReached, Unstorable):  # raised here, and not in the stream
            await stream.aclose()
            raise
        finally:
            self._in_nodes = False
            await self._end_flushing()
            await self.live.close()
        return output_of(graph, values)

    async def _in_time(self, work: Coroutine[Any, Any, T]) -> T:
        """`work`, cancelled when the job's deadline passes. Raises DeadlinePassed."""
        try:
            left = self._budget.seconds_left(time.monotonic()) if self._budget else None
        except LimitReached:
            work.close()
            raise
        if left is None:
            return await work
        assert self._budget is not None
        try:
            async with asyncio.timeout(left) as clock:
                with self._insisting(left):
                    return await work
        except TimeoutError:
            if clock.expired():
                raise self._budget.late() from None
            raise

    @contextmanager
    def _insisting(self, left: float) -> Iterator[None]:
        """Nodes that go on when the time is over are stopped again."""
        me = asyncio.current_task()
        assert me is not None
        late = self._loop.call_later(left, self.insist, me)
        try:
            yield
        finally:
            late.cancel()

    def insist(self, task: asyncio.Task[Any]) -> None:
        """This attempt was cancelled, and runs in `task`: see to it that it ends."""
        job, number = self.claimed.job_id, self.claimed.attempt
        until_ended = insist(job, number, task, lambda: self._in_nodes)
        self._insists = asyncio.create_task(until_ended, name="ucop-stopping")

    def _ask(self, used: Usage) -> None:
        """Before each model call, in the thread that makes it. Raises GraphDrained where the
        budget is used up: LangGraph lets the other nodes end, and nothing takes it for an
        error of the node."""
        assert self._budget is not None
        if (reason := self._budget.refusal(used)) is None:
            return
        self._refused = reason
        # Also for nodes that catch everything: the graph stops after them.
        self.control.request_drain(reason)
        raise GraphDrained(reason)

    def _begin_step(self, node: str) -> None:
        assert self._budget is not None
        self._begun += 1
        self._budget.begin_step(self._begun, node)

    def _input(self, workflow: Workflow) -> Any:
        """The job's input, once; after that, the answers that no node has gone past yet."""
        if not self.claimed.begun:
            typed = self.claimed.run.typed_input
            types = self.saver.serde.types.patterns
            return workflow.start(given_input(workflow, self.claimed.input, typed, types))
        answers = self.journal.replies.resume
        return Command(resume=answers) if answers else None

    def _config(self) -> dict[str, Any]:
        claimed = self.claimed
        return self._given.config(
            {
                "configurable": {"thread_id": claimed.thread_id},
                # The meter last: LangChain forgets the handlers behind one that raises.
                "callbacks": [self.live.emission.handler, self.meter],
                "metadata": {"ucop_job": claimed.job_id, "ucop_attempt": claimed.attempt},
            }
        )

    def _context(self, models: Models, folder: Path) -> RunContext:
        return RunContext(
            job_id=self.claimed.job_id,
            given=self._given.context,
            models=models,
            folder=folder,
            production=self.production,
            progress=self._progress,
            retried=self._retried,
            memory=self.memory,
            answers=self.answers,
            cached=self.journal.cached,
            room=self.journal.room,
            attempt=self.claimed.attempt,
            calls=self.calls,
            hopped=self._hopped,
        )

    def _hopped(self, node: str, what: str, data: Mapping[str, Any]) -> None:
        """A hop of a mesh. Routers run on the engine's loop."""
        told = {"node": node, "attempt": self.claimed.attempt, **data}
        self.journal.event(f"mesh.{what}", told)

    def _note_custom(self, data: Any, namespace: Sequence[str]) -> None:
        """What a node's stream writer was given, and inside which nodes; that it can be stored was
        seen there (nodes.py), and here it is seen that it still can. Raises Unstorable."""
        told = stored_json(data, node=None, channel=CUSTOM)
        way = inside_of(namespace)
        within = f',"within":{to_json(way)}' if way else ""
        self.journal.tell_of("progress", f'{{"data":{told}{within}}}')

    def _progress(self, node: str, text: str) -> None:
        """An agent tells how far it is; from any thread, for synchronous agents have their own.
        Raises Unstorable."""
        loop = self._loop
        stored_json(text, node=node, channel="progress")
        loop.call_soon_threadsafe(self.journal.event, "progress", {"node": node, "text": text})

    def _retried(self, task_id: str, node: str, number: int, error: BaseException | None) -> None:
        """Nodes of YAML run on the engine's loop. What is stopped for its time raises nothing."""
        late = {"type": "TimeoutError", "message": "its time was over", "node": None}
        told = late if error is None else failure(error)
        self.journal.retried(task_id, node, number, told)

    def _note_task(self, task: Mapping[str, Any], namespace: Sequence[str]) -> None:
        node = way_to(namespace, task["name"])
        if not namespace:
            (self._unended.add if "input" in task else self._unended.discard)(task["id"])
        if "input" in task:
            within = (part.rpartition(":")[2] for part in namespace)
            self.journal.started(task["id"], node, task["input"], within=within)
        elif task.get("interrupts"):
            try:
                self.journal.asks(task["id"], node, task["interrupts"], inside=bool(namespace))
            except Unstorable as refused:
                self.journal.refused(task["id"], refused)
        elif (error := task.get("error")) is not None:
            self._raised.append((node, error))
            self.journal.failed(task["id"], failure(error, node))
        else:
            self.journal.ended(task["id"], namespace, task.get("result"))

    def spending(self) -> list[tuple[str, Usage]]:
        """(node, what it spent so far) of the nodes that run now."""
        if not hasattr(self, "journal"):
            return []
        open_nodes = self.journal.open_nodes()
        tasks = {task for task, _ in open_nodes}
        return [(node, self.meter.live(task, tasks)) for task, node in open_nodes]

    # ------------------------------------------------------------ the journal

    def _open_journal(self, workflow: Workflow, saver: FencedSaver) -> None:
        self.journal = Journal(
            self.claimed.job_id,
            self.claimed.attempt,
            spent=self.meter.take,
            hides=workflow.hides,
            caught=workflow.caught,
            on_note=self._flush_soon,
            on_told=lambda: self.on_news(self.claimed.job_id),
            on_begin=self._begin_step if "steps" in self.claimed.budget else None,
            live=self.meter.live if self.claimed.budget else None,
            replies=Replies(self.claimed.answers),
            nested=workflow.nested,
        )
        self.saver = saver.for_attempt(self.journal)
        self.model_news = ModelNews(self.journal)

    async def _intercepted(
        self,
        hides: Callable[[str], bool],
        task_id: str,
        node: str,
        call_next: Callable[[], Awaitable[T]],
    ) -> T:
        """Run a node inside the interceptors, unless the compiler made it for itself."""
        if hides(node):
            return await call_next()
        run = NodeRun(
            job_id=self.claimed.job_id,
            workflow=self.claimed.workflow,
            attempt=self.claimed.attempt,
            node=node,
            task_id=task_id,
            tenant=self.claimed.tenant,
            usage_of=self.meter.live,
        )
        return await around_node(self.interceptors, run, call_next)

    def _flush_soon(self) -> None:
        if self._flush is None and self._flushing is None and not self._ended:
            self._flush_in(self.pace.wait())

    def _flush_in(self, seconds: float) -> None:
        # The timer itself may not know when it is due: uvloop makes one that is due at once, and
        # on a crowded machine that is any, into a call without a time.
        due = self._loop.time() + seconds
        self._flush = self._loop.call_at(due, self._begin_flush, due)

    def _begin_flush(self, due: float) -> None:
        self._flush = None
        self.pace.was_late(self._loop.time() - due)
        first = self.journal.noted_at
        if first is None:
            return
        if (left := first + self.pace.wait() - time.monotonic()) > FLUSH_AFTER:
            # Others rode with a checkpoint meanwhile; these have just come.
            self._flush_in(left)
            return
        self._flushing = asyncio.ensure_future(self._flush_notes())

    async def _flush_notes(self) -> None:
        # The next checkpoint meets the same errors and ends the attempt; here they are only told.
        failed = False
        try:
            await self.saver.flush()
        except Superseded as error:
            log.debug("job %s: notes not written: %s", self.claimed.job_id, error)
            self._ended = True
        except DatabaseError as error:
            log.debug("job %s: notes not written yet: %s", self.claimed.job_id, error)
            failed = True
        finally:
            self._flushing = None
        if failed and not self._ended:
            self._flush_in(FLUSH_AGAIN)
        elif self.journal.noted_at is not None:
            self._flush_soon()

    async def _end_flushing(self) -> None:
        """Nothing is flushed from now on: what a flush that is under way has written must not
        be written again at the end, and what can be written no more is not tried for ever."""
        self._ended = True
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if self._flushing is not None:
            await asyncio.wait([self._flushing])

    # ------------------------------------------------------------ the outcome

    async def _waits(self, graph: Any) -> str | None:
        """What a graph that ended its stream still waits for: an answer, or a breakpoint."""
        asked = {question.node for question in self.journal.questions}
        if (lost := self.journal.replies.ignored(self.journal.questions)) is not None:
            raise AnswerIgnored(
                f"node {lost.node} did not take its answer and asked again: the graph inside it "
                "that asks keeps no checkpoints; compile that graph without checkpointer=False"
            )
        if asked:
            return f"an answer is due in {', '.join(sorted(asked))}"
        if self.journal.stops:
            told = (f"node {node} stopped it: {why}" for node, why in self.journal.stops.items())
            return "; ".join(told)
        if not (self._unended or stops_itself(graph)):
            return None
        return await stopped_at(graph, self._config())

    async def _unpassed(self, graph: Any) -> str | None:
        """The breakpoint that an earlier attempt came to, if nobody has let the job pass it."""
        if self.claimed.begun and has_breakpoints(graph):
            return await due_at(graph, self._config(), self.claimed.passed)
        return None

    async def _completed(self, workflow: Workflow, values: Mapping[str, Any]) -> Outcome:
        try:
            output = stored_json(workflow.result(values), node=None, channel="output")
        except BaseException as error:  # noqa: BLE001 - the code of values, whatever it does
            return await self._outcome(Change.FAIL, error=failure(error))
        passed_over = [node for node in workflow.optional if node not in self.journal.nodes]
        return await self._outcome(Change.COMPLETE, output=output, passed_over=passed_over)

    async def _drained(self) -> Outcome:
        """The graph stopped where it was asked to: paused by the budget, or, raising Drained,
        given back."""
        if self._refused is None:
            await self.saver.stop("the worker stops")
            raise Drained from None
        return await self._outcome(Change.PAUSE, self._refused, reason=self._refused)

    async def _failed(self, error: BaseException, workflow: Workflow) -> Outcome:
        # Where two nodes raise at once, LangGraph passes on the error of either.
        node = next((node for node, raised in self._raised if raised is error), None)
        if node is None and isinstance(error, Unstorable):
            node = error.node
        node = node and workflow.shown_name(node)
        why = f"node {node} failed" if node else "the graph failed"
        if isinstance(error, LimitReached):
            why = str(error)
        try:
            outcome = await self._outcome(Change.FAIL, why)
        except Unstorable as refused:  # the input, with which nothing was saved
            error = refused
            outcome = await self._outcome(Change.FAIL, why)
        told = failure(error, node)
        place = f" in node {node}" if node else ""
        lines = [f"{told['type']}{place}: {told['message']}", *JobError(**told).details()]
        log.error("job %s: %s", self.claimed.job_id, "\n  ".join(lines))
        return replace(outcome, error=shown_json(told))

    async def _keep_stopped(self) -> None:
        """Write what a stopped attempt finished and spent, if it still is the current one."""
        try:
            await self.saver.stop("the attempt was stopped")
        except (Superseded, DatabaseError) as error:
            log.debug("job %s: notes not written: %s", self.claimed.job_id, error)

    async def _outcome(
        self,
        change: Change,
        stopped: str | None = None,
        *,
        output: str | None = None,
        error: dict[str, Any] | None = None,
        reason: str | None = None,
        passed_over: Sequence[str] = (),
    ) -> Outcome:
        """How the attempt ends. `stopped`: why what still runs was stopped. Raises Unstorable."""
        batch = await self.saver.end(stopped)
        return Outcome(
            change=change,
            output=output,
            error=shown_json(error) if error else None,
            reason=reason,
            steps=batch.steps,
            events=batch.events,
            questions=self.journal.questions,
            consumed=batch.consumed,
            rejected=batch.rejected,
            passed_over=passed_over,
        )


def _caused_by(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    """The first of `kinds` behind an error: LangGraph may wrap what its saver raised, and the
    fence's word counts, however deep."""
    return next((each for each in chain(error) if isinstance(each, kinds)), None)
