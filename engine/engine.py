"""The engine: the one entry to jobs from Python. What it is made of is in parts.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from ucop.agents.models.interceptor import Interceptor
from ucop.agents.models.models import Models
from ucop.agents.spec.registry import Registry
from ucop.graphs.workflow import Workflow
from ucop.graphs.workflows.catalog import Catalog

from .errors import EngineClosed, InvalidInput
from .events.subscriptions import Subscription, wanted
from .events.webhook_sender import delivered
from .handle import JobHandle
from .jobs.command import Changed, Command, read_command
from .jobs.filter import Filter, Statuses
from .jobs.job import DEFAULT_QUEUE, Event, Job, JobId, OnBusy
from .jobs.thread_run import ThreadRun
from .ledger.commands import read_new_terms
from .ledger.retention import Rule
from .live.stream import Modes, read_modes
from .loop.loop import CLOSED
from .loop.twins import aside, awaited, on_loop, waited
from .parts import Parts
from .queue.limits import QueueState
from .reading.reader import Reader, open_reader
from .schedules.timetable import Timetable
from .settings import Settings
from .threads.engine_threads import EngineThreads
from .transfer.job_file import read_job_file
from .workflows.submission import new_job, read_submission

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from ucop.agents.memory.memory import Memory
    from ucop.graphs.workflow import Graph

    from .ledger.records import NewJob
    from .workflows.known import Source
    from .workflows.submission import Submission


class Engine(EngineThreads):
    """Submits jobs, runs them (unless `worker=False`), and reads them.

    Each method that waits has an `a…` twin to await; both work inside a running event loop and
    outside one. Close the engine, or use it in a `with`: a closing engine gives the jobs that it
    runs back to the queue.

    Args:
        url: The database; `sqlite:///path` or `postgresql://…`. Default: the project's.
        worker: Whether a worker runs in this process.
        root: The project's folder; default: found from the current folder upward.
        settings: Ready settings; then `url` and `root` must not be given.
        concurrency: Jobs that the worker runs at the same time.
        own_jobs: Whether the worker runs only the jobs that `take_on` names.
        interceptors: Wrap the nodes, agents and models of the jobs that the worker runs. The first
            wraps the others, and all of them wrap those of installed packages.

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
        if settings is None:
            settings = Settings.load(root, database=url, concurrency=concurrency)
        self.settings = settings
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._closed = False
        self._parts = parts = Parts(
            settings,
            runs_jobs=worker,
            own_jobs=own_jobs,
            catalog=catalog,
            registry=registry,
            models=models,
            interceptors=interceptors,
        )
        self._loop, self._database, self._commands = parts.loop, parts.database, parts.commands
        self._workflows, self._supervisor = parts.workflows, parts.supervisor
        self._threads = parts.threads
        try:
            self._loop.call(parts.open())
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
        return self._workflows.registry

    @property
    def catalog(self) -> Catalog:
        """The workflows that this engine knows."""
        return self._workflows.catalog

    @property
    def reader(self) -> Reader:
        """Reads the ledger from any thread, beside the engine's loop."""
        return self._parts.reader

    @property
    def schedules(self) -> Timetable:
        """Jobs that are submitted on a schedule."""
        return self._parts.timetable

    @property
    def lost(self) -> str | None:
        """Why this engine's worker was declared lost, if it was."""
        return self._supervisor.lost

    @property
    def on_lost(self) -> Callable[[str], None] | None:
        """Called on the engine's loop when the worker is lost. Without it a new worker starts."""
        return self._supervisor.on_lost

    @on_lost.setter
    def on_lost(self, call: Callable[[str], None] | None) -> None:
        self._supervisor.on_lost = call

    def add(self, name: str, graph: Graph) -> Workflow:
        """Register a LangGraph graph, compiled graph or factory under `name`. Every process that
        is to run its jobs must do the same.

        A second graph with the same name replaces the first for jobs submitted later, and for jobs
        of other processes. Jobs that this process submitted before keep their graph as long as the
        process lives."""
        return self._workflows.add(name, graph)

    def workflow(self, workflow: str | Path | Workflow | Graph) -> Workflow:
        """Find a workflow by name or file, or make one of a graph. Raises UnknownWorkflow,
        InvalidDefinition."""
        return self._workflows.find(workflow)

    def take_on(self, job: str) -> None:
        """Let the worker run this job (a whole id), if it runs only its own jobs."""
        self._parts.take_on(job)

    def deliver(self, job: str, *, timeout: float) -> bool:
        """Wait until all events of a job were sent to the webhooks. Returns False if that takes more
        than `timeout` seconds."""
        webhooks, poll = self.settings.webhooks, self.settings.poll
        return self._loop.call(
            delivered(self._database, webhooks, job, timeout=timeout, pause=poll)
        )

    # ------------------------------------------------------------ submit and find

    @waited
    async def submit(
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
        run: ThreadRun | None = None,
    ) -> JobHandle:
        """Submit a job. When this returns, the job survives whatever happens to this process.

        Args:
            workflow: A name, a YAML file, or a LangGraph graph.
            input: Checked against the workflow's declared input before anything is written. Times,
                enums, messages and objects that a Python graph declares may be passed as such, or
                as JSON.
            key: For idempotence: a second submit with this key returns the first one's job.
            queue: One that the settings declare.
            priority: Higher goes first, among the jobs of its tenant.
            delay: Seconds, or a time such as `30m`, before which the job does not start.
            start_at: The time before which it does not start.
            deadline: A time from now, or a moment. The job fails if it has not ended by then.
            tenant: Workers' slots are shared out evenly among the tenants that have work.
            budget: The most that the job may use: `deadline`, `steps`, `model_calls`, `tokens`,
                `cost`. Overrides the workflow's `limits`.
            thread_id: The LangGraph thread. Default: one of the job's own. Jobs on one thread run
                one at a time, in the order of their submission.
            on_busy: What to do if jobs of that thread are queued or run: `enqueue` waits for them,
                `reject` refuses this one, `interrupt` cancels them and goes on from the state
                that they saved, `rollback` cancels them and deletes what they saved.
            context: What nodes find as `runtime.context`: an instance of the graph's
                `context_schema`, or an object that fits it. In a workflow of YAML it is for the
                Python graphs inside.
            config: LangGraph's config, as far as a job can keep it: `configurable`, `tags`,
                `metadata`, `recursion_limit`; and `interrupt_before`, `interrupt_after`: names of
                nodes, or `"*"`, in place of those that the graph was compiled with. `${env:NAME}`
                in a text of the context or the config is a secret. It is looked up where the job
                runs, and never stored.
            stream: Stream modes to keep from the start, for a `stream` or `astream` that is called
                within 30 seconds. Without it a stream begins with what is emitted then.
            run: How it goes on with its thread, such as by a command: see `thread_run`. A job that
                waits on the thread, or is paused, is ended by it.

        Raises UnknownWorkflow, InvalidDefinition, DoublesRefused (in production mode),
        InvalidInput, KeyConflict, ThreadBusy, ThreadNotFound, CheckpointNotFound, DatabaseError.
        """
        submission = read_submission(
            key=key,
            queue=queue,
            priority=priority,
            delay=delay,
            start_at=start_at,
            deadline=deadline,
            tenant=tenant,
            labels=labels or {},
            budget=budget,
            thread_id=thread_id,
            on_busy=on_busy,
            context=context,
            config=config,
            run=run,
        )
        listens = read_modes(stream) if stream is not None else frozenset()
        job = await aside(self._new_job, workflow, input, submission)
        id = await on_loop(self._loop, self._commands.submit(job, listens))
        return self._handle(id, is_new=id == job.id)

    asubmit = awaited(submit)

    def _new_job(self, source: Source, input: Any, submission: Submission) -> NewJob:
        workflow, notice = self._workflows.ready(source, submission.config)
        job = new_job(workflow, input, submission, self.settings, notice)
        if self._parts.runs_jobs:
            self._workflows.keep(job.id, workflow)
        return job

    @waited
    async def job(self, id: str) -> JobHandle:
        """A job by its id or the beginning of it. Raises JobNotFound."""
        return self._handle(JobId(await aside(lambda: self.reader.find(id))))

    ajob = awaited(job)

    @waited
    async def jobs(
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
        """List jobs, the newest first, with their usage and without their steps. All given conditions
        must hold; see Filter. `status` names one or several. Archived jobs are left out;
        `archived=True` lists only them, and None lists both. Raises InvalidInput for a status or a
        queue that does not exist."""
        filter = Filter(
            status=status,
            queue=queue,
            workflow=workflow,
            tenant=tenant,
            labels=labels or {},
            before=before,
            after=after,
            archived=archived,
        )
        if limit < 0:
            raise InvalidInput(f"limit: 0 or more, not {limit}")

        def read() -> list[Job]:
            self.reader.check_queue(filter.queue, self.settings.declared)
            return self.reader.jobs(filter, limit=limit)

        return await aside(read)

    ajobs = awaited(jobs)

    @waited
    async def change(
        self,
        action: Command | str,
        jobs: Filter | Iterable[str],
        *,
        now: bool = False,
        budget: Mapping[str, float | str] | None = None,
        priority: int | None = None,
    ) -> list[Changed]:
        """Pause, resume, cancel, retry, archive or delete many jobs, each in a transaction of its own.

        Args:
            action: What to do, as JobHandle's method of this name does it.
            jobs: Whole ids, or a filter, which selects the jobs whose status allows the action.
            now: For `pause`: in the middle of running nodes. For `resume`: at once, also jobs that
                were delayed.
            budget: For `resume` and `retry`: limits from now on.
            priority: For `resume` and `retry`: the priority from now on.

        A context belongs to one workflow, and the jobs may be of many: pass it to JobHandle's
        `resume` or `retry` of each job.

        Returns what became of each job. A job that refuses, or is not found, does not stop the
        others. Raises InvalidInput for an invalid budget or priority, and if `jobs` is a text.
        """
        terms = read_new_terms(budget, priority, at_once=now)
        command, declared = read_command(action), self.settings.declared
        ids = await aside(lambda: self.reader.taken(command, jobs, declared, now=now))
        return await on_loop(self._loop, self._commands.change(command, ids, now, terms))

    achange = awaited(change)

    @waited
    async def import_job(self, path: Path | str, *, new_id: bool = False) -> JobHandle:
        """Read a job from a file of `JobHandle.export`, under its own id or a new one. It starts
        nothing: a job that ran is paused, and can be read, forked and resumed.

        Raises InvalidJobFile, before anything is written, JobExists, OSError.
        """
        contents = await aside(read_job_file, path)
        return self._handle(await on_loop(self._loop, self._commands.add(contents, new_id)))

    aimport_job = awaited(import_job)

    @waited
    async def tidy(self, *, dry_run: bool = False) -> dict[Rule, int]:
        """Apply the setting `retention` to all jobs now: delete or archive those that ended long
        ago, or prune their states. Workers do the same, a few jobs at a time.

        Returns how many jobs each rule changed, or with `dry_run` would change.
        """
        return await on_loop(self._loop, self._commands.tidy(self.settings.retention, dry_run))

    atidy = awaited(tidy)

    @waited
    async def queues(self) -> list[QueueState]:
        """List all queues: their limits, and what is in them by tenant."""
        return await aside(lambda: self.reader.queues(self.settings.declared))

    aqueues = awaited(queues)

    @waited
    async def set_queue(self, name: str, **changes: Any) -> None:
        """Override the declared limits of a queue: `concurrency`, `worker_concurrency`, `rate`,
        `paused`. None lifts a limit. It holds for all workers until it is reset. Raises
        InvalidInput."""
        await on_loop(self._loop, self._commands.set_queue(name, changes, self.settings.declared))

    aset_queue = awaited(set_queue)

    @waited
    async def reset_queue(self, name: str) -> None:
        """Return to the declared limits of a queue. Raises InvalidInput."""
        await on_loop(self._loop, self._commands.set_queue(name, None, self.settings.declared))

    areset_queue = awaited(reset_queue)

    def memory(self, *, tenant: str | None = None) -> Memory:
        """What the agents of this project remember for a tenant: `memory().documents()`,
        `memory().of("agents", NAME)`, `memory().shared`. Usable as long as the engine is open."""
        if (store := self._parts.store) is None or self._closed:
            raise EngineClosed(CLOSED)
        return store.memory(self.settings.memory.project, tenant)

    def store(self, *, tenant: str | None = None) -> BaseStore:
        """What graphs have as `runtime.store`, for a tenant; without one, the whole. Its methods
        that wait work on any thread but the engine's own."""
        if (store := self._parts.store) is None or self._closed:
            raise EngineClosed(CLOSED)
        return store.of_tenant(tenant)

    @waited
    async def subscribe(
        self,
        callback: Callable[[Event], object] | None = None,
        *,
        types: Collection[str] | str | None = None,
        job: str | None = None,
        workflow: Collection[str] | str | None = None,
        after: int | None = None,
    ) -> Subscription:
        """Follow the events of all jobs, of any process, as they are committed; see Subscription.

        Args:
            callback: Called with each event, on a thread of its own. If it raises, the error is
                logged and the next event follows. Without it, iterate over the subscription.
            types: Only events of these types, such as `job.failed`, or `job.*`.
            job: Only events of the job with this whole id.
            workflow: Only events of jobs of this workflow, or of these.
            after: The position to continue from; 0 is the beginning. Default: only new events.

        Subscribers read at their own pace: one that is slow, or fails, delays no job.
        """
        wants = wanted(types, job, workflow)
        open_one, listen = partial(open_reader, self._database.url), self._parts.notices.listen
        subscription = await aside(Subscription, open_one, listen, wants, after, callback)
        self._subscriptions.add(subscription)
        return subscription

    asubscribe = awaited(subscribe)

    def _handle(self, id: JobId, *, is_new: bool = False) -> JobHandle:
        return JobHandle(self._parts.access, id, is_new=is_new)

    # ------------------------------------------------------------ close

    def close(self, *, grace: float | None = None) -> None:
        """Stop the worker within `grace` seconds (default: Settings.grace), and close the database."""
        if self._closed:
            return
        self._closed = True
        for subscription in list(self._subscriptions):
            subscription.close()
        self._parts.shut(grace)

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
