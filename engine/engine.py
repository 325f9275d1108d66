"""The engine: the one entry to jobs from Python, and the place where the parts are joined."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

from pydantic import ValidationError

from ucop.agents.meter import Usage
from ucop.agents.models import Models, ModelUse
from ucop.agents.registry import Registry, load_registry
from ucop.engine import control, forks, ledger, threads
from ucop.engine.actions import TOGETHER, Action, Changed, batched, taking
from ucop.engine.budget import read_budget
from ucop.engine.database import connect
from ucop.engine.errors import (
    CheckpointNotFound,
    DatabaseError,
    EngineClosed,
    InvalidInput,
    JobNotFound,
    RefusedChange,
    ResultTimeout,
    UcopError,
)
from ucop.engine.faults import fault
from ucop.engine.filter import Filter, filter_of
from ucop.engine.forks import Edit
from ucop.engine.handle import EVENT_PAGE, JobHandle
from ucop.engine.job import Event, Job, JobId, Terms, ThreadId, WorkerId, new_job_id
from ucop.engine.loop import CLOSED, LoopThread
from ucop.engine.notices import Notices
from ucop.engine.queue import Queue
from ucop.engine.reader import Reader, open_reader
from ucop.engine.rows import NewJob, to_json
from ucop.engine.runner import current_attempt
from ucop.engine.settings import Settings
from ucop.engine.states import ACTIVE, JobStatus
from ucop.engine.worker import Worker, names
from ucop.graphs.catalog import Catalog
from ucop.graphs.gate import refuse_doubles
from ucop.graphs.workflow import Workflow, restore

if TYPE_CHECKING:
    from langgraph.graph import StateGraph
    from langgraph.graph.state import CompiledStateGraph

    from ucop.agents.memory import Memory
    from ucop.engine.memory import JobStore

    Graph = StateGraph[Any] | CompiledStateGraph[Any] | Callable[[], Any]

log = logging.getLogger("ucop.engine")


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
    ) -> None:
        if settings is None:
            settings = Settings.load(root, database=url, concurrency=concurrency)
        self.settings = settings
        self._registry = registry
        self._catalog = catalog
        self._models = models or Models(
            aliases=settings.models,
            ollama_host=settings.ollama_host,
            embedded=settings.embedded,
            timeout=settings.model_timeout,
            idle_timeout=settings.model_idle_timeout,
        )
        self._models.listen(_note_model)
        self._owns_models = models is None
        self._workflows: dict[str, Workflow] = {}
        self._admitted: WeakSet[Workflow] = WeakSet()
        """Workflows in which no test double was found."""
        self._known: str | None = None
        self._notices = Notices()
        self._database = connect(settings)
        self._store: JobStore | None = None
        self._worker: Worker | None = None
        self._ear: asyncio.Task[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._reader: Reader | None = None
        self.lost: str | None = None
        """Why this engine's worker was declared lost, where it was."""
        self.on_lost: Callable[[str], None] | None = None
        """Called on the engine's loop when that happens; without it a new worker starts."""
        self._closed = False
        self._loop = LoopThread("ucop-engine")
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
        that shall run its jobs must do the same."""
        workflow = self.catalog.add(name, graph)
        self._known = None
        if self._worker is not None:
            self._worker.wake()
        return workflow

    def workflow(self, workflow: str | Path | Workflow | Graph) -> Workflow:
        """A workflow by name, by file, or from a graph. Raises UnknownWorkflow,
        InvalidDefinition."""
        if isinstance(workflow, Workflow):
            return workflow
        if isinstance(workflow, str | Path):
            return self.catalog.get(workflow)
        return self.add(_graph_name(workflow), workflow)

    # ------------------------------------------------------------ submit and find

    def submit(
        self,
        workflow: str | Path | Workflow | Graph,
        input: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        priority: int = 0,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        budget: Mapping[str, float | str] | None = None,
        thread_id: str | None = None,
    ) -> JobHandle:
        """Accept a job. When this returns, it survives whatever happens to this process.

        Args:
            workflow: A name, a YAML file, or a LangGraph graph.
            input: Checked against the workflow's declared input before anything is written.
            key: For idempotence: a second submit with this key returns the first one's job.
            priority: Higher goes first.
            budget: What the job may use at most, with the keys of a workflow's `limits`, and
                before them: `deadline`, `steps`, `model_calls`, `tokens`, `cost`.
            thread_id: The LangGraph thread; default: one of the job's own. Jobs on one
                thread never run at the same time.

        Raises UnknownWorkflow, InvalidDefinition, DoublesRefused (in production mode),
        InvalidInput, KeyConflict, DatabaseError.
        """
        terms = _terms(key, priority, tenant, labels, thread_id)
        job = self._new_job(workflow, input, terms, read_budget(budget or {}))
        return JobHandle(self, self._loop.call(self._submit(job)))

    async def asubmit(
        self,
        workflow: str | Path | Workflow | Graph,
        input: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        priority: int = 0,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        budget: Mapping[str, float | str] | None = None,
        thread_id: str | None = None,
    ) -> JobHandle:
        """`submit`, awaited."""
        terms = _terms(key, priority, tenant, labels, thread_id)
        most = read_budget(budget or {})
        job = await asyncio.to_thread(self._new_job, workflow, input, terms, most)
        return JobHandle(self, await self._loop.acall(self._submit(job)))

    def job(self, id: str) -> JobHandle:
        """A job by its id or the beginning of it. Raises JobNotFound."""
        return JobHandle(self, JobId(self.reader.find(id)))

    async def ajob(self, id: str) -> JobHandle:
        """`job`, awaited."""
        return await asyncio.to_thread(self.job, id)

    def jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        before: datetime | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Jobs, the newest first, without their steps and usage. A job may have more labels than
        `labels`; it was created before `before`."""
        return self.reader.jobs(
            status=status,
            workflow=workflow,
            tenant=tenant,
            labels=labels,
            before=before,
            limit=limit,
        )

    async def ajobs(
        self,
        *,
        status: JobStatus | str | None = None,
        workflow: str | None = None,
        tenant: str | None = None,
        labels: Mapping[str, str] | None = None,
        before: datetime | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """`jobs`, awaited."""
        found = filter_of(status, workflow, tenant, labels, before)
        return await asyncio.to_thread(self.reader.select, found, limit=limit)

    def change(
        self,
        action: Action | str,
        jobs: Filter | Iterable[str],
        *,
        now: bool = False,
        budget: Mapping[str, float | str] | None = None,
    ) -> list[Changed]:
        """Pause, resume, cancel or retry many jobs; each change is a transaction of its own.

        Args:
            action: What to do; as JobHandle's method of this name does it.
            jobs: Whole ids, or a filter: then those jobs whose status takes the action.
            now: For `pause`: in the middle of running nodes.
            budget: For `resume` and `retry`: limits that are to hold from now on.

        Returns what became of each; one that refused, or was not found, keeps no other back.
        Raises InvalidInput for a budget that is none.
        """
        work = self._changes(Action(action), jobs, now, read_budget(budget or {}))
        return self._loop.call(work)

    async def achange(
        self,
        action: Action | str,
        jobs: Filter | Iterable[str],
        *,
        now: bool = False,
        budget: Mapping[str, float | str] | None = None,
    ) -> list[Changed]:
        """`change`, awaited."""
        work = self._changes(Action(action), jobs, now, read_budget(budget or {}))
        return await self._loop.acall(work)

    def memory(self, *, tenant: str | None = None) -> Memory:
        """What the agents of this project remember for a tenant: `memory().documents()`,
        `memory().of("agents", NAME)`, `memory().shared`. It works as long as the engine is open."""
        if self._store is None or self._closed:
            raise EngineClosed(CLOSED)
        return self._store.memory(self.settings.memory.project, tenant)

    @property
    def reader(self) -> Reader:
        """Reads the ledger from any thread, beside the engine's loop."""
        if self._reader is None:
            self._reader = open_reader(self._database.url)
        return self._reader

    # ------------------------------------------------------------ close

    def close(self, *, grace: float | None = None) -> None:
        """Stop the worker (see Settings.grace, in seconds), and let go of the database."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(UcopError):
            self._loop.call(self._shut(grace))
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
        from ucop.engine.memory import JobStore

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
            on_lost=self._lost,
        )
        await self._worker.start()

    def _queue(self, worker: WorkerId) -> Queue:
        slots = self.settings.concurrency
        if self._database.url.startswith("sqlite:"):
            from ucop.engine.queue.embedded import EmbeddedQueue

            return EmbeddedQueue(self._database, worker=worker, known=self._knows, slots=slots)
        from ucop.engine.postgres import PostgresDatabase
        from ucop.engine.queue.dbos import DbosQueue

        assert isinstance(self._database, PostgresDatabase)
        return DbosQueue(
            self._database,
            worker=worker,
            known=self._knows,
            slots=slots,
            poll=self.settings.poll,
        )

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
        if self._ear is not None:
            self._ear.cancel()
            await asyncio.gather(self._ear, return_exceptions=True)
        if self._worker is not None:
            await self._worker.stop(grace=grace)
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        if self._store is not None:
            await self._store.aclose()
        await self._models.aclose(connections_only=not self._owns_models)
        await self._database.close()

    async def _listen(self) -> None:
        """Hear what other processes commit."""
        while True:
            await asyncio.sleep(self.settings.poll)
            try:
                if not await self._database.changed():
                    continue
                self._notices.tell_all()
                if self._worker is not None:
                    await self._worker.watch()
                    self._worker.wake()
            except DatabaseError as error:
                log.error("%s", error)
                await asyncio.sleep(1)

    async def _submit(self, job: NewJob) -> JobId:
        fault("before submit")
        now = time.time()
        id, new = await self._database.dispatch(lambda: ledger.submit(job, now))
        fault("after submit")
        if new and self._worker is not None:
            self._worker.wake()
        return id

    async def _resume(self, id: JobId, budget: Mapping[str, float]) -> None:
        await self._database.dispatch(lambda: control.resume(id, time.time(), budget))
        self._notices.tell(id)
        if self._worker is not None:
            self._worker.wake()

    async def _retry(self, id: JobId, budget: Mapping[str, float]) -> None:
        await self._database.dispatch(lambda: control.retry(id, time.time(), budget))
        self._notices.tell(id)
        if self._worker is not None:
            self._worker.wake()

    async def _changes(
        self, action: Action, jobs: Filter | Iterable[str], now: bool, budget: Mapping[str, float]
    ) -> list[Changed]:
        ids = await asyncio.to_thread(taking, action, jobs, lambda: self.reader)
        changed: list[Changed] = []
        for some in batched(ids, TOGETHER):
            each = (self._change(action, id, now, budget) for id in some)
            changed += await asyncio.gather(*each)
        return changed

    async def _change(
        self, action: Action, id: JobId, now: bool, budget: Mapping[str, float]
    ) -> Changed:
        refused = None
        try:
            match action:
                case Action.PAUSE:
                    await self._pause(id, now)
                case Action.CANCEL:
                    await self._cancel(id)
                case Action.RESUME:
                    await self._resume(id, budget)
                case Action.RETRY:
                    await self._retry(id, budget)
        except JobNotFound as error:
            return Changed(id=id, status=None, refused=str(error))
        except RefusedChange as error:
            refused = str(error)
        status = (await self._database.read(lambda: ledger.rest(id))).status
        return Changed(id=id, status=status, refused=refused)

    async def _pause(self, id: JobId, at_once: bool) -> None:
        await self._database.write(lambda: control.pause(id, time.time(), at_once=at_once))
        await self._heed(id)

    async def _cancel(self, id: JobId) -> None:
        await self._database.write(lambda: control.cancel(id, time.time()))
        await self._heed(id)

    async def _answer(self, id: JobId, question: str, answer: str) -> None:
        await self._database.dispatch(lambda: control.answer(id, question, answer, time.time()))
        self._notices.tell(id)
        if self._worker is not None:
            self._worker.wake()

    async def _fork(self, id: JobId, checkpoint: str | None, edit: Edit) -> JobId:
        thread, fingerprint = await self._database.read(lambda: ledger.thread(id))
        at = await self._checkpoint(id, thread, checkpoint)
        workflow = await self._restore(fingerprint)
        saver, draft = self._database.saver(), []
        if not edit.is_none:
            draft = await forks.edited(workflow, saver, id, thread, at, edit)
        new, tables = new_job_id(time.time()), self._tables
        standing = checkpoint is None and edit.is_none
        await self._database.dispatch(
            lambda: forks.fork(tables, id, thread, at, new, draft, time.time(), standing=standing)
        )
        if self._worker is not None:
            self._worker.wake()
        return new

    async def _set_back(
        self, id: JobId, checkpoint: str, retry: Mapping[str, float] | None = None
    ) -> None:
        # First the attempt: where another follows meanwhile, what is made here fits no more.
        attempt, _ = await self._database.read(lambda: ledger.stands(id))
        thread, fingerprint = await self._database.read(lambda: ledger.thread(id))
        at = await self._checkpoint(id, thread, checkpoint)
        workflow = await self._restore(fingerprint)
        draft = await forks.set_back(workflow, self._database.saver(), thread, at)
        await self._database.dispatch(
            lambda: forks.restore(id, attempt, thread, at, draft, time.time(), retry=retry)
        )
        self._notices.tell(id)
        if self._worker is not None:
            self._worker.wake()

    async def _checkpoint(self, id: JobId, thread: ThreadId, given: str | None) -> str:
        """A checkpoint's whole id; where none is given, the job's last."""
        if given is not None:
            return await self._database.read(lambda: threads.find(thread, given))
        _, last = await self._database.read(lambda: ledger.stands(id))
        if last is None:
            raise CheckpointNotFound(f"job {id} has saved no checkpoint yet")
        return last

    @property
    def _tables(self) -> threads.Tables:
        lite = self._database.url.startswith("sqlite:")
        return threads.SQLITE if lite else threads.POSTGRES

    async def _heed(self, id: JobId) -> None:
        """See at once to what was asked of a job that may run in this process."""
        self._notices.tell(id)
        if self._worker is not None:
            await self._worker.watch()

    async def _spending(self, id: JobId) -> dict[str, Usage]:
        """What the nodes of a job that run in this process spent so far."""
        return self._worker.spending(id) if self._worker is not None else {}

    async def _rest(self, id: JobId, timeout: float | None) -> ledger.Rest:
        """Wait until the job rests. Raises ResultTimeout, or what broke its attempt off."""
        with self._notices.subscribe(id) as news:
            try:
                async with asyncio.timeout(timeout):
                    while True:
                        news.clear()
                        rest = await self._database.read(lambda: ledger.rest(id))
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
                status = (await self._database.read(lambda: ledger.rest(id))).status
                rows = await self._database.read(lambda: ledger.events(id, after, EVENT_PAGE))
                if (trouble := self._notices.take_trouble(id)) is not None:
                    raise trouble
                if rows or status not in ACTIVE:
                    return rows, status not in ACTIVE and len(rows) < EVENT_PAGE
                await news.wait()

    async def _restore(self, fingerprint: str) -> Workflow:
        """A workflow as jobs were submitted with it."""
        known = self._workflows.get(fingerprint)
        if known is None:
            stored = await self._database.read(lambda: ledger.definition(fingerprint))
            known = await asyncio.to_thread(self._rebuild, stored)
            self._workflows[fingerprint] = known
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
            self._known = names(self.catalog.supplies())
        return self._known

    def _new_job(
        self,
        workflow: str | Path | Workflow | Graph,
        input: Mapping[str, Any] | None,
        terms: Terms,
        budget: Mapping[str, float],
    ) -> NewJob:
        found = self.workflow(workflow)
        self._admit(found)
        data = found.accept({} if input is None else input)
        self._workflows.setdefault(found.fingerprint, found)
        id = new_job_id(time.time())
        return NewJob(
            id=id,
            workflow=found.name,
            fingerprint=found.fingerprint,
            definition=to_json(found.stored),
            needs=to_json(list(found.needs)),
            input=_input_json(found.name, data),
            thread_id=ThreadId(terms.thread_id or id),
            key=terms.key,
            priority=terms.priority,
            tenant=terms.tenant,
            labels=to_json(terms.labels),
            budget=to_json({**found.limits.given(), **budget}),
        )


def _terms(
    key: str | None,
    priority: int,
    tenant: str | None,
    labels: Mapping[str, str] | None,
    thread_id: str | None,
) -> Terms:
    given = {
        "key": key,
        "priority": priority,
        "tenant": tenant,
        "labels": {} if labels is None else labels,
        "thread_id": thread_id,
    }
    try:
        return Terms.model_validate(given)
    except ValidationError as error:
        wrong = "; ".join(f"{_path(e['loc'])}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"the job cannot be submitted so: {wrong}") from None


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _input_json(workflow: str, data: Mapping[str, Any]) -> str:
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"the input of {workflow!r} must be JSON: {error}; pass texts, numbers, lists and "
            "objects, and let the graph build the rest"
        ) from error


def _graph_name(graph: Any) -> str:
    name = getattr(graph, "name", None) or getattr(graph, "__name__", None)
    if isinstance(name, str) and name not in ("LangGraph", "<lambda>"):
        return name
    return f"graph-{id(graph):x}"


def _note_model(use: ModelUse) -> None:
    """Tell the job that is being run which model it uses."""
    attempt = current_attempt.get(None)
    if attempt is not None:
        attempt.note_model(use)
