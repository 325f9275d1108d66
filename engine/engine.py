"""The engine: the one entry to jobs from Python, and the place where the parts are joined."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary, WeakSet

from ucop.agents.models.fallback import ModelFallback
from ucop.agents.models.interceptor import Interceptor
from ucop.agents.models.meter import Usage
from ucop.agents.models.models import Models, ModelWarning
from ucop.agents.models.serving import ModelUse
from ucop.agents.spec.registry import Registry, load_registry
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.gate import refuse_doubles
from ucop.graphs.workflows.stored import restore

from .dialect import SQLITE, dialect_of
from .errors import DatabaseError, EngineClosed, InvalidInput, ResultTimeout, UcopError
from .events.listeners import Post
from .events.plugins import plugins
from .events.subscriptions import LOOK_AGAIN, Subscription, wanted
from .events.webhook_sender import couriers, delivered
from .handle import EVENT_PAGE, JobAccess, JobHandle
from .jobs.command import Changed, Command, read_command
from .jobs.filter import Filter, Statuses
from .jobs.job import DEFAULT_QUEUE, Event, Job, JobId, OnBusy, Terms, WorkerId
from .jobs.run_options import (
    for_factory,
    read_config,
)
from .jobs.status import ACTIVE
from .ledger import lifecycle, workers
from .ledger.commands import read_new_terms
from .ledger.records import NewJob
from .ledger.retention import Rule
from .live.readers import LiveReaders
from .live.stream import Modes, read_modes
from .local_graphs import LocalGraphs, ended, graph_name, notice
from .loop.duty import Duty, repeat
from .loop.loop import CLOSED, LoopThread
from .notices import Notices
from .parts import connect
from .queue import Queue
from .queue.claims import Claims
from .queue.embedded import EmbeddedQueue
from .queue.limits import QueueState
from .queue.order import Serving
from .reading.reader import Reader, open_reader
from .schedules.scheduler import Scheduler
from .schedules.timetable import Timetable
from .settings import Settings
from .stores.answers import ModelAnswers
from .stores.model_rates import DatabaseRates
from .submission import prepare, read_limits, read_terms
from .transfer.job_file import read_job_file
from .worker.attempt import current_attempt
from .worker.interceptors import interceptors_of
from .worker.worker import Worker, names
from .workflow_commands import WorkflowCommands

if TYPE_CHECKING:
    from ucop.agents.memory.memory import Memory
    from ucop.graphs.workflow import Graph

    from .stores.memory import JobStore


log = logging.getLogger("ucop.engine")

ANSWERS_WITHIN = 5.0
"""Seconds in which a loop whose worker was lost must answer, to be closed in good order."""


class Engine:
    """Submits jobs, runs them (unless `worker=False`), and reads them.

    Everything a caller may do has a synchronous method and an `a…` twin; both work inside a
    running event loop and outside one. Close the engine, or use it in a `with`: a closing
    engine gives what it runs back to the queue.

    Args:
        url: The database; `sqlite:///path` or `postgresql://…`. Default: the project's.
        worker: Whether a worker runs in this process.
        root: The project's folder; default: found from the current folder upward.
        settings: Ready settings; then `url` and `root` must not be given.
        concurrency: Jobs that the worker runs at the same time.
        own_jobs: Whether the worker runs no jobs but those that `take_on` names.
        interceptors: What is around the nodes, agents and models of jobs that its worker runs,
            the first around the others, and all around those of installed packages.

    Raises InvalidSettings and DatabaseError at once, not at the first job.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        worker: bool = True,
        root: Path | str | None = None,
        settings: Settings | None = None,
        catalog: Catalog | None = None,
        registry: Registry | None = None,
        models: Models | None = None,
        concurrency: int | None = None,
        own_jobs: bool = False,
        interceptors: Sequence[Interceptor] = (),
    ) -> None:
        self._own: frozenset[str] | None = frozenset() if own_jobs else None
        if settings is None:
            settings = Settings.load(root, database=url, concurrency=concurrency)
        self.settings = settings
        self._registry = registry
        self._catalog = catalog
        self._workflows: dict[str, Workflow] = {}
        self._local = LocalGraphs()
        self._added: dict[str, Workflow] = {}
        """What was passed as an object, by name."""
        self._named: set[str] = set()
        """Names that the caller gave to graphs itself."""
        self._notices_of: WeakKeyDictionary[Workflow, str | None] = WeakKeyDictionary()
        """What was said of who can run them."""
        self._admitted: WeakSet[Workflow] = WeakSet()
        """Workflows in which no test double was found."""
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._known: str | None = None
        self._notices = Notices()
        self._database = connect(settings)
        self._commands = WorkflowCommands(
            self._database,
            self._notices,
            lambda: self._worker,
            types=settings.state.types,
            restore=self._restore,
            keep=self._local.keep,
        )
        self._runs_jobs = worker
        self._interceptors = interceptors_of(interceptors)
        self._live = LiveReaders(self._database, self._notices, on_listeners=self._hear_listeners)
        self._store: JobStore | None = None
        self._worker: Worker | None = None
        self._ear: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._reader: Reader | None = None
        self._reading = threading.Lock()
        self.lost: str | None = None
        """Why this engine's worker was declared lost, where it was."""
        self.on_lost: Callable[[str], None] | None = None
        """Called on the engine's loop when that happens; without it a new worker starts."""
        self._closed = False
        self._loop = LoopThread("ucop-engine", self._ended)
        self._models = models or Models(
            aliases=settings.models,
            ollama_host=settings.ollama_host,
            embedded=settings.embedded,
            timeout=settings.model_timeout,
            idle_timeout=settings.model_idle_timeout,
            providers=settings.providers,
            rates=DatabaseRates(self._database, self._loop),
            answers=ModelAnswers(self._database, self._loop),
            cache=settings.model_cache,
        )
        self._models.listen(_note_model, _note_fallback, _note_warning)
        self._owns_models = models is None
        self._access = JobAccess(
            loop=self._loop,
            database=self._database,
            types=settings.state.types,
            reader=lambda: self.reader,
            live=self._live,
            commands=self._commands,
            rest=self._rest,
            news=self._news,
            spending=self._spending,
            restore=self._restore,
            successor=self._successor,
        )
        try:
            self._loop.call(self._open(worker))
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_project(
        cls, path: Path | str | None = None, *, url: str | None = None, worker: bool = True
    ) -> Engine:
        """The engine of the project at `path` (default: the current folder or its parents)."""
        return cls(settings=Settings.load(path, database=url), worker=worker)

    # ------------------------------------------------------------ parts

    @property
    def registry(self) -> Registry:
        """The agents that this engine knows. Raises InvalidDefinition."""
        if self._registry is None:
            settings = self.settings
            self._registry = load_registry(settings.root, settings.agents, servers=settings.mcp)
        return self._registry

    @property
    def catalog(self) -> Catalog:
        """The workflows that this engine knows."""
        if self._catalog is None:
            settings = self.settings
            self._catalog = Catalog(settings.root, settings.workflows, self.registry)
        return self._catalog

    def add(self, name: str, graph: Graph) -> Workflow:
        """Make a LangGraph graph, compiled graph or factory known under `name`. Every process
        that shall run its jobs must do the same.

        A name means one graph: another one takes its place for jobs that are submitted from then
        on, and for those of other processes. Jobs that this process submitted before keep theirs
        as long as it lives."""
        self._named.add(name)
        return self._add(name, graph)

    def _add(self, name: str, graph: Graph) -> Workflow:
        workflow, before = self.catalog.add(name, graph), self._added.get(name)
        if workflow is before:
            return workflow
        # What was made with the graph that had this name before is made anew.
        self._workflows, self._added[name] = {}, workflow
        if before is None:
            self._known = None
            self._loop.soon(self._learned)
        return workflow

    def workflow(self, workflow: str | Path | Workflow | Graph) -> Workflow:
        """A workflow by name, by file, or from a graph. Raises UnknownWorkflow,
        InvalidDefinition."""
        if isinstance(workflow, Workflow):
            return workflow
        if isinstance(workflow, str | Path):
            return self.catalog.get(workflow)
        name = graph_name(workflow)
        return self._local.unnamed(workflow) if name is None else self._add(name, workflow)

    def take_on(self, job: str) -> None:
        """Let the worker run this job, by its whole id, where it runs its own jobs alone."""
        if self._own is not None:
            self._own |= {job}
            self._loop.soon(self._wake)

    def deliver(self, job: str, *, timeout: float) -> bool:
        """Wait until the webhooks were told all that happened to a job; False where that takes
        more than `timeout` seconds."""
        waiting = delivered(
            self._database,
            self.settings.webhooks,
            job,
            timeout=timeout,
            pause=self.settings.poll,
        )
        return self._loop.call(waiting)

    # ------------------------------------------------------------ submit and find

    def submit(
        self,
        workflow: str | Path | Workflow | Graph,
        input: Any = None,
        *,
        key: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = 0,
        delay: float | str | None = None,
        start_at: datetime | None = None,
        deadline: float | str | datetime | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        budget: Mapping[str, float | str] | None = None,
        thread_id: str | None = None,
        on_busy: OnBusy | str = OnBusy.ENQUEUE,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
        stream: Modes | None = None,
    ) -> JobHandle:
        """Accept a job. When this returns, it survives whatever happens to this process.

        Args:
            workflow: A name, a YAML file, or a LangGraph graph.
            input: Checked against the workflow's declared input before anything is written. What
                a Python graph declares as times, enums, messages or objects may be given as such,
                or as JSON.
            key: For idempotence: a second submit with this key returns the first one's job.
            queue: One that the settings declare.
            priority: Higher goes first, among the jobs of its tenant.
            delay: It is not run before so many seconds, or a time such as `30m`, have passed.
            start_at: It is not run before that.
            deadline: Where it has not ended by then it fails: a time from now, or a moment.
            tenant: Workers' slots are shared out evenly among the tenants that have work.
            budget: What the job may use at most, with the keys of a workflow's `limits`, and
                before them: `deadline`, `steps`, `model_calls`, `tokens`, `cost`.
            thread_id: The LangGraph thread; default: one of the job's own. Jobs on one
                thread never run at the same time, and run in the order of their submission.
            on_busy: Where jobs of that thread are queued or run: `enqueue` waits for them,
                `reject` refuses this one, `interrupt` cancels them and goes on from the state
                that they saved, `rollback` cancels them and deletes what they saved.
            context: What nodes find as `runtime.context`: an instance of the graph's
                `context_schema`, or an object that fits it. In a workflow of YAML it is for the
                Python graphs inside.
            config: LangGraph's config, as far as a job can keep it: `configurable`, `tags`,
                `metadata`, `recursion_limit`; and `interrupt_before`, `interrupt_after`: names of
                nodes, or `"*"`, in place of those that the graph was compiled with. `${env:NAME}`
                in a text of the context or the config is a secret, which is looked up where the
                job runs and never stored.
            stream: Stream modes of which nothing is missed by who calls the job's `stream` or
                `astream` within 30 seconds. Without it they begin with what is emitted then.

        Raises UnknownWorkflow, InvalidDefinition, DoublesRefused (in production mode),
        InvalidInput, KeyConflict, ThreadBusy, DatabaseError.
        """
        terms = read_terms(
            key=key,
            queue=queue,
            priority=priority,
            delay=delay,
            start_at=start_at,
            tenant=tenant,
            labels=labels or {},
            thread_id=thread_id,
            on_busy=on_busy,
        )
        listens = read_modes(stream) if stream is not None else frozenset()
        most = read_limits(budget, deadline)
        job = self._new_job(workflow, input, terms, most, context, config, mine=True)
        id = self._loop.call(self._submit(job, listens))
        return JobHandle(self._access, id, is_new=id == job.id)

    async def asubmit(
        self,
        workflow: str | Path | Workflow | Graph,
        input: Any = None,
        *,
        key: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = 0,
        delay: float | str | None = None,
        start_at: datetime | None = None,
        deadline: float | str | datetime | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        budget: Mapping[str, float | str] | None = None,
        thread_id: str | None = None,
        on_busy: OnBusy | str = OnBusy.ENQUEUE,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
        stream: Modes | None = None,
    ) -> JobHandle:
        """`submit`, awaited."""
        terms = read_terms(
            key=key,
            queue=queue,
            priority=priority,
            delay=delay,
            start_at=start_at,
            tenant=tenant,
            labels=labels or {},
            thread_id=thread_id,
            on_busy=on_busy,
        )
        listens = read_modes(stream) if stream is not None else frozenset()
        most = read_limits(budget, deadline)
        job = await asyncio.to_thread(
            lambda: self._new_job(workflow, input, terms, most, context, config, mine=True)
        )
        id = await self._loop.acall(self._submit(job, listens))
        return JobHandle(self._access, id, is_new=id == job.id)

    def job(self, id: str) -> JobHandle:
        """A job by its id or the beginning of it. Raises JobNotFound."""
        return JobHandle(self._access, JobId(self.reader.find(id)))

    async def ajob(self, id: str) -> JobHandle:
        """`job`, awaited."""
        return await asyncio.to_thread(self.job, id)

    def jobs(
        self,
        *,
        status: Statuses | None = None,
        queue: str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        before: datetime | None = None,
        after: datetime | None = None,
        archived: bool | None = False,
        limit: int = 50,
    ) -> list[Job]:
        """Jobs, the newest first, with their usage and without their steps: those that have all of what is
        given, as Filter says. `status` names one or several; archived jobs are left out, or with
        `archived=True` the others; None lists both. Raises InvalidInput for a status or a queue
        that does not exist."""
        found = Filter(
            status=status,
            queue=queue,
            workflow=workflow,
            tenant=tenant,
            labels=labels or {},
            before=before,
            after=after,
            archived=archived,
        )
        return self._jobs(found, limit)

    async def ajobs(
        self,
        *,
        status: Statuses | None = None,
        queue: str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        before: datetime | None = None,
        after: datetime | None = None,
        archived: bool | None = False,
        limit: int = 50,
    ) -> list[Job]:
        """`jobs`, awaited."""
        found = Filter(
            status=status,
            queue=queue,
            workflow=workflow,
            tenant=tenant,
            labels=labels or {},
            before=before,
            after=after,
            archived=archived,
        )
        return await asyncio.to_thread(self._jobs, found, limit)

    def _jobs(self, filter: Filter, limit: int) -> list[Job]:
        if limit < 0:
            raise InvalidInput(f"limit: 0 or more, not {limit}")
        self.reader.check_queue(filter.queue, self.settings.declared)
        return self.reader.jobs(filter, limit=limit)

    def change(
        self,
        action: Command | str,
        jobs: Filter | Iterable[str],
        *,
        now: bool = False,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
    ) -> list[Changed]:
        """Pause, resume, cancel, retry, archive or delete many jobs; each change is a transaction
        of its own.

        Args:
            action: What to do; as JobHandle's method of this name does it.
            jobs: Whole ids, or a filter: then those jobs whose status takes the action.
            now: For `pause`: in the middle of running nodes. For `resume`: at once, also those
                that were delayed.
            budget: For `resume` and `retry`: limits that are to hold from now on.
            priority: For `resume` and `retry`: the priority from now on.

        A context belongs to one workflow, and the jobs may be of many: give it to each by
        JobHandle's `resume` or `retry`.

        Returns what became of each; one that refused, or was not found, keeps no other back.
        Raises InvalidInput for a budget or a priority that is none, and where `jobs` is a text.
        """
        terms = read_new_terms(budget, priority, at_once=now)
        command = read_command(action)
        ids = self.reader.taken(command, jobs, self.settings.declared, now=now)
        return self._loop.call(self._commands.change(command, ids, now, terms))

    async def achange(
        self,
        action: Command | str,
        jobs: Filter | Iterable[str],
        *,
        now: bool = False,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
    ) -> list[Changed]:
        """`change`, awaited."""
        terms = read_new_terms(budget, priority, at_once=now)
        command, declared = read_command(action), self.settings.declared
        ids = await asyncio.to_thread(self.reader.taken, command, jobs, declared, now=now)
        return await self._loop.acall(self._commands.change(command, ids, now, terms))

    def import_job(self, path: Path | str, *, new_id: bool = False) -> JobHandle:
        """A job from a file of `JobHandle.export`, here under its own id, or a new one. It starts
        nothing: a job that ran is paused; it can be looked at, forked and resumed.

        Raises InvalidJobFile, before anything is written, JobExists, OSError.
        """
        contents = read_job_file(path)
        return JobHandle(self._access, self._loop.call(self._commands.add(contents, new_id)))

    async def aimport_job(self, path: Path | str, *, new_id: bool = False) -> JobHandle:
        """`import_job`, awaited."""
        contents = await asyncio.to_thread(read_job_file, path)
        return JobHandle(self._access, await self._loop.acall(self._commands.add(contents, new_id)))

    def tidy(self, *, dry_run: bool = False) -> dict[Rule, int]:
        """Do now, for all jobs, what the setting `retention` says: delete, archive, or prune the
        states of those that ended so long ago. Its workers do the same, a few jobs at a time.

        Returns how many jobs each rule meant; with `dry_run` how many it would.
        """
        return self._loop.call(self._commands.tidy(self.settings.retention, dry_run))

    async def atidy(self, *, dry_run: bool = False) -> dict[Rule, int]:
        """`tidy`, awaited."""
        return await self._loop.acall(self._commands.tidy(self.settings.retention, dry_run))

    def queues(self) -> list[QueueState]:
        """All queues: what each allows, and what is in it, by tenant."""
        return self.reader.queues(self.settings.declared)

    async def aqueues(self) -> list[QueueState]:
        """`queues`, awaited."""
        return await asyncio.to_thread(self.queues)

    def set_queue(self, name: str, **changes: Any) -> None:
        """Let values hold for a queue from now on, in place of the declared ones: `concurrency`,
        `worker_concurrency`, `rate`, `paused`; None lifts a limit. All workers heed it, and it
        outlives them. Raises InvalidInput."""
        self._loop.call(self._commands.set_queue(name, changes, self.settings.declared))

    async def aset_queue(self, name: str, **changes: Any) -> None:
        """`set_queue`, awaited."""
        await self._loop.acall(self._commands.set_queue(name, changes, self.settings.declared))

    def reset_queue(self, name: str) -> None:
        """Let the declared values hold again. Raises InvalidInput."""
        self._loop.call(self._commands.set_queue(name, None, self.settings.declared))

    async def areset_queue(self, name: str) -> None:
        """`reset_queue`, awaited."""
        await self._loop.acall(self._commands.set_queue(name, None, self.settings.declared))

    def memory(self, *, tenant: str | None = None) -> Memory:
        """What the agents of this project remember for a tenant: `memory().documents()`,
        `memory().of("agents", NAME)`, `memory().shared`. It works as long as the engine is open."""
        if self._store is None or self._closed:
            raise EngineClosed(CLOSED)
        return self._store.memory(self.settings.memory.project, tenant)

    @property
    def reader(self) -> Reader:
        """Reads the ledger from any thread, beside the engine's loop."""
        with self._reading:
            if self._reader is None:
                self._reader = open_reader(self._database.url)
            return self._reader

    def subscribe(
        self,
        callback: Callable[[Event], object] | None = None,
        *,
        types: Collection[str] | str | None = None,
        job: str | None = None,
        workflow: Collection[str] | str | None = None,
        after: int | None = None,
    ) -> Subscription:
        """Events of all jobs as they are committed, by any process; see Subscription.

        Args:
            callback: Called with each event, on a thread of its own. What it raises is logged,
                and it gets the next one. Without it the subscription is there to iterate over.
            types: Only events of these types, such as `job.failed`, or `job.*`.
            job: Only those of the job with this whole id.
            workflow: Only those of jobs of this workflow, or of these.
            after: The position to go on behind; 0 is the beginning. Default: only what comes.

        A subscriber reads at its own pace: one that is slow, or fails, holds no job up.
        """
        asked = wanted(types, job, workflow)
        open_one = partial(open_reader, self._database.url)
        found = Subscription(open_one, self._notices.listen, asked, after, callback)
        self._subscriptions.add(found)
        return found

    async def asubscribe(
        self,
        callback: Callable[[Event], object] | None = None,
        *,
        types: Collection[str] | str | None = None,
        job: str | None = None,
        workflow: Collection[str] | str | None = None,
        after: int | None = None,
    ) -> Subscription:
        """`subscribe`, awaited."""
        return await asyncio.to_thread(
            lambda: self.subscribe(callback, types=types, job=job, workflow=workflow, after=after)
        )

    @property
    def schedules(self) -> Timetable:
        """Jobs that are submitted again and again."""
        return Timetable(
            self._database,
            self._loop,
            find=lambda name: self.catalog.find(name),
            make=self._prepare,
            handle=partial(JobHandle, self._access),
            changed=self._wake,
        )

    # ------------------------------------------------------------ close

    def close(self, *, grace: float | None = None) -> None:
        """Stop the worker (see Settings.grace, in seconds), and let go of the database."""
        if self._closed:
            return
        self._closed = True
        for subscription in list(self._subscriptions):
            subscription.close()
        if self.lost is not None and not self._loop.answers(ANSWERS_WITHIN):
            log.error("the engine's loop is blocked, and is left as it is")
            return
        try:
            with contextlib.suppress(UcopError):
                self._loop.call(self._shut(grace))
        finally:
            self._loop.stop()
            if self._reader is not None:
                self._reader.close()

    async def aclose(self, *, grace: float | None = None) -> None:
        """`close`, awaited."""
        await asyncio.to_thread(lambda: self.close(grace=grace))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # ------------------------------------------------------------ on the loop

    async def _open(self, worker: bool) -> None:
        from .stores.memory import JobStore

        await self._database.open()
        self._store = JobStore(self._database.url, self._models, model=self.settings.memory.model)
        if worker:
            await self._start_worker()
        self._ear = asyncio.create_task(self._listen(), name="ucop-ear")

    async def _start_worker(self) -> None:
        assert self._store is not None
        self._worker = Worker(
            database=self._database,
            queue=self._queue,
            settings=self.settings,
            models=self._models,
            store=self._store,
            notices=self._notices,
            workflow=self._restore,
            knows=self._knows,
            # Whoever looks for a worker for a job is not to find this one.
            serves=names(list(self.settings.served) if self._own is None else []),
            on_lost=self._lost,
            on_live=self._live.tell,
            interceptors=self._interceptors,
            on_end=self._ended,
            duties=self._duties,
        )
        await self._worker.start()

    def _duties(self, worker: WorkerId) -> list[Duty]:
        """What goes on beside the jobs."""
        post = self._post(worker)
        others: list[Duty] = [*couriers(self.settings.webhooks, post), *plugins(post)]
        if self._own is not None:  # what is due would be queued, and run by nobody
            return others
        scheduler = Scheduler(
            self._database,
            make=self.schedules.job_of,
            pause=self.settings.sweep,
            on_job=self._wake,
        )
        return [scheduler, *others]

    def _post(self, worker: WorkerId) -> Post:
        return Post(
            database=self._database,
            worker=worker,
            lease=self.settings.lease,
            listen=self._notices.listen,
        )

    def _wake(self) -> None:
        """There may be work for this process's worker."""
        if self._worker is not None:
            self._worker.wake()

    def _learned(self) -> None:
        """This process's worker knows another workflow."""
        self._wake()
        if self._worker is not None and not self._closed:
            telling = asyncio.create_task(self._tell_known(self._worker.id), name="ucop-add")
            self._telling.add(telling)
            telling.add_done_callback(self._telling.discard)

    async def _tell_known(self, worker: WorkerId) -> None:
        """Tell those who ask why a job waits. Jobs run without."""
        try:
            await self._database.write(lambda: workers.learn(worker, self._knows()))
        except DatabaseError as error:
            log.error("cannot tell what this worker knows: %s", error)

    def _queue(self, worker: WorkerId) -> Queue:
        settings, database = self.settings, self._database
        claims = Claims(
            database,
            serving=Serving(
                worker=worker,
                queues=settings.served,
                workflows=settings.workflow_concurrency,
                only=None if self._own is None else lambda: self._own or frozenset(),
            ),
            known=self._knows,
            slots=settings.concurrency,
        )
        if dialect_of(database.url) is SQLITE:
            return EmbeddedQueue(claims)
        from .queue.dbos import DbosQueue

        return DbosQueue(
            database.url,
            claims,
            worker=worker,
            slots=settings.concurrency,
            poll=settings.poll,
        )

    def _ended(self, why: str) -> None:
        """The loop broke, or never comes back: nothing runs here any more, and others may have this
        worker's jobs. From any thread."""
        self.lost = why
        if self._worker is not None:
            self._worker.let_go()
        if self.on_lost is not None:
            self.on_lost(why)

    async def _hear_listeners(self) -> None:
        if self._worker is not None:
            await self._worker.hear_listeners()

    def _lost(self, message: str) -> None:
        self.lost = message
        self._worker = None
        if self.on_lost is not None:
            self.on_lost(message)
            return
        if not self._closed:
            self._restarting = asyncio.create_task(self._restart_worker(), name="ucop-restart")

    async def _restart_worker(self) -> None:
        log.error("a new worker takes its place")
        while True:
            try:
                return await self._start_worker()
            except DatabaseError as error:
                self._worker = None
                log.error("no new worker yet: %s", error)
                await asyncio.sleep(1)

    async def _shut(self, grace: float | None) -> None:
        """From the last to the first; each ends though another could not."""
        async with contextlib.AsyncExitStack() as parts:
            parts.push_async_callback(self._database.close)
            if self._reader is not None:  # before: the last to close writes SQLite's log back
                parts.push_async_callback(asyncio.to_thread, self._reader.close)
            parts.push_async_callback(self._models.aclose, connections_only=not self._owns_models)
            if self._store is not None:
                parts.push_async_callback(self._store.aclose)
            parts.push_async_callback(self._stop_worker, grace)
            for telling in self._telling:
                parts.push_async_callback(_ended, telling)
            parts.push_async_callback(_ended, self._restarting)
            parts.push_async_callback(self._live.close)
            parts.push_async_callback(_ended, self._ear)

    async def _stop_worker(self, grace: float | None) -> None:
        if self._worker is not None:
            await self._worker.stop(grace=grace)

    async def _listen(self) -> None:
        """Hear what other processes commit."""

        async def hear() -> float:
            if await self._database.changed():
                self._notices.tell_all()
                if self._worker is not None:
                    await self._worker.watch()
                    self._worker.wake()
            return self.settings.poll

        await asyncio.sleep(self.settings.poll)
        await repeat(hear, name="news of other processes", log=log, again=1 + self.settings.poll)

    async def _spending(self, id: JobId) -> dict[str, Usage]:
        """What the nodes of a job that run in this process spent so far."""
        return self._worker.spending(id) if self._worker is not None else {}

    async def _rest(self, id: JobId, timeout: float | None) -> lifecycle.Rest:
        """Wait until the job rests. Raises ResultTimeout, or what broke its attempt off."""
        with self._notices.subscribe(id) as news:
            try:
                async with asyncio.timeout(timeout):
                    while True:
                        news.clear()
                        rest = await self._database.read(lambda: lifecycle.rest(id))
                        if rest.status not in ACTIVE:
                            return rest
                        if (trouble := self._notices.take_trouble(id)) is not None:
                            raise trouble
                        await news.wait()
            except TimeoutError:
                raise ResultTimeout(
                    f"job {id} did not end within {timeout:g} s; it goes on. "
                    f"`ucop jobs watch {id}` shows it"
                ) from None

    async def _news(self, id: JobId, after: int) -> tuple[list[Event], bool]:
        """Events above `after`, waiting for at least one, and whether the job rests then."""
        with self._notices.follow(id) as news:
            while True:
                news.clear()
                status = (await self._database.read(lambda: lifecycle.rest(id))).status
                rows = await self._database.read(lambda: lifecycle.events(id, after, EVENT_PAGE))
                if (trouble := self._notices.take_trouble(id)) is not None:
                    raise trouble
                if rows or status not in ACTIVE:
                    return rows, status not in ACTIVE and len(rows) < EVENT_PAGE
                # Of another process's checkpoints PostgreSQL tells nobody (see ear.py).
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_AGAIN):
                        await news.wait()

    async def _submit(self, job: NewJob, listens: frozenset[str]) -> JobId:
        id = await self._commands.submit(job, listens)
        if id != job.id:  # the key was in use
            self._local.forget([job.id])
        if asked := self._local.oldest:
            tables = dialect_of(self._database.url).tables
            self._local.forget(await self._database.read(lambda: ended(tables, asked)))
        return id

    async def _restore(self, fingerprint: str, job: JobId) -> Workflow:
        """A job's workflow as it was submitted with it."""
        if (own := self._local.of(job)) is not None:
            return own
        workflows = self._workflows
        known = workflows.get(fingerprint)
        if known is None:
            stored = await self._database.read(lambda: lifecycle.definition(fingerprint))
            known = await asyncio.to_thread(self._rebuild, stored)
            workflows[fingerprint] = known
        return known

    def _rebuild(self, stored: dict[str, Any]) -> Workflow:
        workflow = restore(stored, catalog=self.catalog, registry=self.registry)
        workflow.graph()
        self._admit(workflow)
        return workflow

    def _admit(self, workflow: Workflow) -> None:
        """The NoMockGate. Raises DoublesRefused in production mode."""
        if self.settings.mode == "production" and workflow not in self._admitted:
            refuse_doubles(workflow, self._models)
            self._admitted.add(workflow)

    def _knows(self) -> str:
        if self._known is None:
            self._known = names([*self.catalog.supplies(), self._local.process])
        return self._known

    def _prepare(
        self,
        workflow: Workflow,
        input: Any,
        *,
        budget: Mapping[str, float | str] | None = None,
        context: Any = None,
        config: Mapping[str, Any] | None = None,
        **terms: Any,
    ) -> NewJob:
        """A job as `submit` takes it, for whoever submits it."""
        most = read_limits(budget, None)
        return self._new_job(workflow, input, read_terms(**terms), most, context, config)

    def _successor(self, workflow: str | Path | Workflow | Graph) -> Workflow:
        """A definition that a fork is to go on with. Raises as `submit` does."""
        found = self.workflow(workflow)
        self._admit(found)
        return self._workflows.setdefault(found.fingerprint, found)

    def _new_job(
        self,
        workflow: str | Path | Workflow | Graph,
        input: Any,
        terms: Terms,
        budget: Mapping[str, float],
        context: Any = None,
        config: Mapping[str, Any] | None = None,
        *,
        mine: bool = False,
    ) -> NewJob:
        given = read_config(config)
        found = self.workflow(workflow).configured(for_factory(given))
        said = self._notice(found) if not isinstance(workflow, str | Path | Workflow) else None
        self._admit(found)
        job = prepare(found, input, terms, budget, context, given, self.settings, said)
        if found.kind == "yaml" or found.is_known_by_name:
            self._workflows[found.fingerprint] = found
        if mine and self._runs_jobs:
            self._local.keep(job.id, found)
        return job

    def _notice(self, workflow: Workflow) -> str | None:
        if workflow.name in self._named:
            return None
        if workflow in self._notices_of:
            return self._notices_of[workflow]
        said = notice(workflow, listed=self.catalog.lists, worker=self._runs_jobs)
        self._notices_of[workflow] = said
        if said is not None:
            log.warning("graph %r: %s", workflow.name, said)
        return said


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _note_model(use: ModelUse) -> None:
    """Tell the job that is being run which model it uses."""
    attempt = current_attempt.get(None)
    if attempt is not None:
        attempt.note_model(use)


def _note_fallback(fallback: ModelFallback) -> None:
    """Tell the job that is being run that another model than the first one is asked."""
    attempt = current_attempt.get(None)
    if attempt is not None:
        attempt.note_fallback(fallback)


def _note_warning(warning: ModelWarning) -> None:
    """Tell the job that is being run that an answer may not be what was wanted."""
    attempt = current_attempt.get(None)
    if attempt is not None:
        attempt.note_warning(warning)
