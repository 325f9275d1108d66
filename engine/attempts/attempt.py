"""One attempt of one job: the graph, streamed from its last checkpoint to its end.

The runner says how the graph ended; it changes no status itself. An attempt that is no
longer current ends with Superseded, one whose worker stops with Drained or CancelledError.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.types import Command

from ucop.agents.models.interceptor import Interceptors, NodeRun, around_node
from ucop.agents.models.meter import Meter, Usage
from ucop.graphs.nodes.context import RunContext
from ucop.graphs.nodes.failures import chain
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

from ..checkpoints.position import standing
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
from ..jobs.failure import failure
from ..jobs.status import Change
from ..journal.journal import Journal
from ..journal.replies import Replies
from ..ledger.records import Claimed, Outcome
from ..live.writer import Outlet
from ..loop.cancellation import is_cancelled
from ..values.inputs import given_input
from ..values.json_text import shown_json
from ..values.stored import stored_json
from .breakpoints import due_at, has_breakpoints, stopped_at, stops_itself
from .flushing import Flushing, Pace
from .limits import AttemptLimits
from .model_news import ModelNews, model_news
from .node_news import NodeNews
from .node_runs import intercepted, watch
from .output import output_of
from .provision import NOTHING, Provision
from .stopping import insist

if TYPE_CHECKING:
    from ucop.agents.memory.memory import Memory
    from ucop.agents.models.answer_cache import KeptAnswers
    from ucop.agents.models.models import Models
    from ucop.graphs.nodes.mesh_rules import Calls
    from ucop.graphs.workflow import Workflow

    from ..checkpoints.savers import FencedSaver
    from ..stores.memory import JobStore

T = TypeVar("T")

log = logging.getLogger("ucop.runner")


class Drained(Exception):
    """The graph stopped between two supersteps, because it was asked to."""


@dataclass(frozen=True, kw_only=True)
class Equipment:
    """What a worker gives all its attempts."""

    saver: FencedSaver
    models: Models
    answers: KeptAnswers
    """Where nodes with `cache` keep theirs."""
    store: JobStore
    """As `runtime.store` for a graph's own code."""
    folder: Path
    """The project's."""
    production: bool
    """Whether an agent's output that is a placeholder is refused."""
    interceptors: Interceptors
    """Code of others around nodes, and calls of agents and models."""
    pace: Pace
    on_news: Callable[[str], None]
    """Called with the job's id after each commit."""


@dataclass(kw_only=True)
class Attempt:
    """A claimed attempt while it runs in this process."""

    claimed: Claimed
    equipment: Equipment
    calls: Calls | None = None
    """Where it is kept how the agents of meshes fare."""
    memory: Memory
    """What agents remember, in this job's tenant."""
    live: Outlet = field(default_factory=Outlet)
    """Takes what the graph emits, for those who follow the job live."""
    control: RunControl = field(default_factory=RunControl)
    """Asks the graph to stop at the next superstep."""
    given_back: bool = False
    """Whether its worker stops it to give the job back, and not because it lost it."""
    journal: Journal = field(init=False)
    saver: FencedSaver = field(init=False)
    meter: Meter = field(init=False)
    _model_news: ModelNews = field(init=False)
    _limits: AttemptLimits | None = None
    _given: Provision = NOTHING
    _in_nodes: bool = False
    """Whether the graph runs, and not what comes before or after it."""
    _insists: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        if self.claimed.budget:
            self._limits = AttemptLimits(self.claimed, self.control)
        self.meter = Meter(
            on_other=lambda name: self._model_news.used_other(name),
            ask=None if self._limits is None else self._limits.ask,
        )
        on_commit = partial(self.equipment.on_news, self.claimed.job_id)
        self._flushing = Flushing(self.equipment.pace, self._limits, on_commit)

    async def run(self, workflow: Workflow) -> Outcome:
        """Run the graph from its last checkpoint, or from the input if there is none.

        Raises Superseded, Drained, DatabaseError, or CancelledError.
        """
        self._open_journal(workflow)
        model_news.set(self._model_news)
        watch.set(self.journal)
        if self.equipment.interceptors:
            intercepted.set(partial(self._intercepted, workflow.hides))
        held = AsyncExitStack()
        try:
            return await self._run(workflow, held)
        finally:
            await self._let_go(held)

    def _open_journal(self, workflow: Workflow) -> None:
        self.journal = Journal(
            self.claimed.job_id,
            self.claimed.attempt,
            workflow,
            self.meter,
            self._flushing,
            replies=Replies(self.claimed.answers),
            writes_spending=self._limits is not None,
        )
        self.saver = self.equipment.saver.for_attempt(self.journal)
        self._flushing.journal, self._flushing.saver = self.journal, self.saver
        self._model_news = ModelNews(self.journal)

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

    async def _run(self, workflow: Workflow, held: AsyncExitStack) -> Outcome:
        try:
            self._given = Provision.of(self.claimed)
            self.saver.secret = self._given.secret
            store = self.equipment.store
            workflow = await held.enter_async_context(
                workflow.opened(self._given.for_factory(self._config(), store))
            )
            self.saver.starts_at_once = not hasattr(workflow.graph(), "builder")
            graph = attach(workflow.graph(), self.saver, store)
            self._given.set_breakpoints(graph)
            # The same saver, which knows more.
            self.saver = self._flushing.saver = graph.checkpointer  # type: ignore[assignment]
            if self.claimed.begun and workflow.changed:
                workflow.refuse_to_skip(await standing(graph, self._config()))
            if (stop := await self._unpassed(graph)) is not None:
                return await self._ended(Outcome(change=Change.ASK, reason=stop))
            streaming = self._stream(graph, workflow)
            if self._limits is None:
                values = await streaming
            else:
                me: Any = asyncio.current_task()
                values = await self._limits.in_time(streaming, partial(self.insist, me))
            self.journal.may_advance()
            waits = await self._waits(graph)
            if self.journal.notes.held:  # what siblings of a node that asks have finished
                await self.saver.flush()
        except BaseException as error:  # noqa: BLE001 - the boundary of an attempt
            return await self._broken(error, workflow)
        if waits:
            return await self._ended(Outcome(change=Change.ASK, reason=waits))
        return await self._completed(workflow, values)

    def insist(self, task: asyncio.Task[Any]) -> None:
        """This attempt was cancelled, and runs in `task`: see to it that it ends."""
        job, number = self.claimed.job_id, self.claimed.attempt
        until_ended = insist(job, number, task, lambda: self._in_nodes)
        self._insists = asyncio.create_task(until_ended, name="ucop-stopping")

    def spending(self) -> list[tuple[str, Usage]]:
        """(node, what it spent so far) of the nodes that run now."""
        if not hasattr(self, "journal"):
            return []
        open_nodes = self.journal.open_nodes()
        tasks = {task for task, _ in open_nodes}
        return [(node, self.meter.live(task, tasks)) for task, node in open_nodes]

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
        return await around_node(self.equipment.interceptors, run, call_next)

    # ------------------------------------------------------------ the stream

    async def _stream(self, graph: Any, workflow: Workflow) -> Any:
        values: Any = {}
        news = NodeNews(self.journal)
        stream = graph.astream(
            self._input(workflow),
            self._config(),
            context=self._context(news)
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
                namespace, data = part["ns"], part["data"]
                match part["type"]:
                    case "values" if not namespace:
                        values = data
                    case "tasks" if not namespace or workflow.nested:
                        tell = self.journal.started if "input" in data else self.journal.ended
                        tell(namespace, data)
                    case "custom":
                        news.custom(data, namespace)
        except (LimitReached, Unstorable):  # raised here, and not in the stream
            await stream.aclose()
            raise
        finally:
            self._in_nodes = False
            await self._flushing.end()
            await self.live.close()
        return output_of(graph, values)

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

    def _context(self, news: NodeNews) -> RunContext:
        equipment = self.equipment
        return RunContext(
            job_id=self.claimed.job_id,
            given=self._given.context,
            models=equipment.models,
            folder=equipment.folder,
            production=equipment.production,
            progress=news.progress,
            retried=news.retried,
            memory=self.memory,
            answers=equipment.answers,
            cached=self.journal.cached,
            room=self.journal.room,
            attempt=self.claimed.attempt,
            calls=self.calls,
            hopped=news.hopped,
        )

    # ------------------------------------------------------------ the outcome

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

    @property
    def _refused(self) -> str | None:
        return None if self._limits is None else self._limits.refused

    def _own_trouble(self, error: BaseException) -> BaseException | None:
        """What kept this attempt from saving, behind an error: LangGraph may wrap what its saver
        raised. A node that uses another database raises errors of its own."""
        found = _caused_by(error, Superseded, DatabaseError)
        if found is None or self.journal.broke(found):
            return found
        ours = isinstance(found, DatabaseError) and found.place == self.saver.place
        return found if ours and not isinstance(found, DatabaseRefusal) else None

    async def _waits(self, graph: Any) -> str | None:
        """What a graph that ended its stream still waits for: an answer, or a breakpoint."""
        asked = {question.node for question in self.journal.asked.questions}
        if (lost := self.journal.replies.ignored(self.journal.asked.questions)) is not None:
            raise AnswerIgnored(
                f"node {lost.node} did not take its answer and asked again: the graph inside it "
                "that asks keeps no checkpoints; compile that graph without checkpointer=False"
            )
        if asked:
            return f"an answer is due in {', '.join(sorted(asked))}"
        if self.journal.asked.stops:
            told = (
                f"node {node} stopped it: {why}" for node, why in self.journal.asked.stops.items()
            )
            return "; ".join(told)
        if not (self.journal.unended or stops_itself(graph)):
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
            failed = Outcome(change=Change.FAIL, error=shown_json(failure(error)))
            return await self._ended(failed)
        passed_over = [node for node in workflow.optional if node not in self.journal.nodes]
        completed = Outcome(change=Change.COMPLETE, output=output, passed_over=passed_over)
        return await self._ended(completed)

    async def _drained(self) -> Outcome:
        """The graph stopped where it was asked to: paused by the budget, or, raising Drained,
        given back."""
        if self._refused is None:
            await self.saver.stop("the worker stops")
            raise Drained from None
        paused = Outcome(change=Change.PAUSE, reason=self._refused)
        return await self._ended(paused, self._refused)

    async def _failed(self, error: BaseException, workflow: Workflow) -> Outcome:
        # Where two nodes raise at once, LangGraph passes on the error of either.
        node = next((node for node, raised in self.journal.raised if raised is error), None)
        if node is None and isinstance(error, Unstorable):
            node = error.node
        node = node and workflow.shown_name(node)
        why = f"node {node} failed" if node else "the graph failed"
        if isinstance(error, LimitReached):
            why = str(error)
        try:
            outcome = await self._ended(Outcome(change=Change.FAIL), why)
        except Unstorable as refused:  # the input, with which nothing was saved
            error = refused
            outcome = await self._ended(Outcome(change=Change.FAIL), why)
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

    async def _ended(self, outcome: Outcome, stopped: str | None = None) -> Outcome:
        """`outcome`, with what the attempt has still to tell. `stopped`: why what still runs was
        stopped. Raises Unstorable."""
        notes = await self.saver.end(stopped)
        return replace(
            outcome,
            steps=notes.steps,
            events=notes.events,
            questions=self.journal.asked.questions,
            consumed=notes.consumed,
            rejected=notes.rejected,
        )


def _caused_by(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    """The first of `kinds` behind an error: LangGraph may wrap what its saver raised, and the
    fence's word counts, however deep."""
    return next((each for each in chain(error) if isinstance(each, kinds)), None)
