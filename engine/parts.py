"""What an engine is made of: each part, built from those before it, and ended in the other order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ucop.agents.models.models import Models

from .attempts.model_news import follow_models
from .commands.workflow_commands import WorkflowCommands
from .connect import connect
from .dialect import SQLITE, dialect_of
from .errors import UcopError
from .events.listeners import Post
from .events.plugins import plugins
from .events.waiting import Waiting
from .events.webhook_sender import couriers
from .handle import JobAccess, JobHandle
from .live.readers import LiveReaders
from .loop.cancellation import end
from .loop.duty import Duty, repeat
from .loop.loop import LoopThread
from .notices import Notices
from .queue.claims import Claims
from .queue.embedded import EmbeddedQueue
from .queue.order import Serving
from .queue.queue import Queue
from .reading.reader import Reader, open_reader
from .schedules.scheduler import Scheduler
from .schedules.timetable import Timetable
from .stores.answers import ModelAnswers
from .stores.model_rates import DatabaseRates
from .threads.commands import ThreadCommands
from .threads.expiry import Expiry
from .threads.handle import ThreadAccess
from .worker.interceptors import interceptors_of
from .worker.supervisor import Supervisor
from .worker.worker import Worker
from .workflows.known import KnownWorkflows, names

if TYPE_CHECKING:
    from ucop.agents.models.interceptor import Interceptor
    from ucop.agents.spec.registry import Registry
    from ucop.graphs.workflows.catalog import Catalog

    from .jobs.job import WorkerId
    from .settings import Settings
    from .stores.memory import JobStore

log = logging.getLogger("ucop.engine")


ANSWERS_WITHIN = 5.0
"""Seconds in which a loop whose worker was lost must answer, to be closed in good order."""


class Parts:
    """All that lives as long as the engine; for the arguments see Engine. `open` and `close` run on
    `loop`."""

    def __init__(
        self,
        settings: Settings,
        *,
        runs_jobs: bool,
        own_jobs: bool,
        catalog: Catalog | None,
        registry: Registry | None,
        models: Models | None,
        interceptors: Sequence[Interceptor],
    ) -> None:
        self._settings, self.runs_jobs = settings, runs_jobs
        self._interceptors = interceptors_of(interceptors)
        self._own_jobs: frozenset[str] | None = frozenset() if own_jobs else None
        """The jobs that the worker takes, if it takes no others."""
        self.notices = Notices()
        self.database = connect(settings)
        self.loop = LoopThread("ucop-engine", lambda why: self.supervisor.let_go(why))
        self.models, self._owns_models = models or self._new_models(), models is None
        follow_models(self.models)
        self.workflows = KnownWorkflows(
            settings,
            self.database,
            self.models,
            registry=registry,
            catalog=catalog,
            runs_jobs=runs_jobs,
            on_new=lambda: self.loop.soon(self.supervisor.learned),
        )
        self.supervisor = Supervisor(self.database, self._new_worker, self.workflows.names)
        self.commands = WorkflowCommands(
            self.database,
            self.notices,
            self.supervisor,
            types=settings.state.types,
            workflows=self.workflows,
        )
        self.live = LiveReaders(
            self.database, self.notices, on_listeners=self.supervisor.hear_listeners
        )
        self.access = JobAccess(
            loop=self.loop,
            reader=lambda: self.reader,
            waiting=Waiting(self.database, self.notices),
            live=self.live,
            commands=self.commands,
            spending=self.supervisor.spending,
            successor=self.workflows.admitted,
        )
        self.timetable = Timetable(
            self.database,
            self.loop,
            find=lambda name: self.workflows.catalog.find(name),
            make=self.workflows.job_of,
            handle=partial(JobHandle, self.access),
            changed=self.supervisor.wake,
        )
        self.threads = ThreadAccess(
            loop=self.loop,
            reader=lambda: self.reader,
            commands=ThreadCommands(
                self.database,
                types=settings.state.types,
                restore=self.workflows.restore,
                changed=self.commands.tell_all,
            ),
        )
        self.store: JobStore | None = None
        self._reader: Reader | None = None
        self._reading = threading.Lock()
        self._ear: asyncio.Task[None] | None = None

    @property
    def reader(self) -> Reader:
        """Reads the ledger from any thread, beside the loop."""
        with self._reading:
            if self._reader is None:
                self._reader = open_reader(self.database.url)
            return self._reader

    def close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()

    async def open(self) -> None:
        from .stores.memory import JobStore

        await self.database.open()
        self.store = JobStore(self.database.url, self.models, model=self._settings.memory.model)
        if self.runs_jobs:
            await self.supervisor.start()
        self._ear = asyncio.create_task(self._listen(), name="ucop-ear")

    def shut(self, grace: float | None) -> None:
        """`close`, and end the loop; from any other thread."""
        if self.supervisor.lost is not None and not self.loop.answers(ANSWERS_WITHIN):
            log.error("the engine's loop is blocked, and is left as it is")
            return
        try:
            with contextlib.suppress(UcopError):
                self.loop.call(self.close(grace))
        finally:
            self.loop.stop()
            self.close_reader()

    async def close(self, grace: float | None) -> None:
        """From the last to the first; each ends though another could not."""
        async with contextlib.AsyncExitStack() as parts:
            parts.push_async_callback(self.database.close)
            # Before: the last to close writes SQLite's log back.
            parts.push_async_callback(asyncio.to_thread, self.close_reader)
            parts.push_async_callback(self.models.aclose, connections_only=not self._owns_models)
            if self.store is not None:
                parts.push_async_callback(self.store.aclose)
            parts.push_async_callback(self.supervisor.stop, grace)
            parts.push_async_callback(self.supervisor.end_tasks)
            parts.push_async_callback(self.live.close)
            parts.push_async_callback(end, self._ear)

    async def _listen(self) -> None:
        """Hear what other processes commit."""
        poll = self._settings.poll

        async def hear() -> float:
            if await self.database.changed():
                self.notices.tell_all()
                await self.supervisor.watch()
                self.supervisor.wake()
            return poll

        await asyncio.sleep(poll)
        await repeat(hear, name="news of other processes", log=log, again=1 + poll)

    def _new_models(self) -> Models:
        settings = self._settings
        return Models(
            **settings.model_options(),
            rates=DatabaseRates(self.database, self.loop),
            answers=ModelAnswers(self.database, self.loop),
            cache=settings.model_cache,
        )

    # ------------------------------------------------------------ the worker

    def take_on(self, job: str) -> None:
        """Let the worker run this job, if it runs its own jobs alone."""
        if self._own_jobs is not None:
            self._own_jobs |= {job}
            self.loop.soon(self.supervisor.wake)

    def _new_worker(self, on_lost: Callable[[str], None]) -> Worker:
        assert self.store is not None
        return Worker(
            database=self.database,
            queue=self._new_queue,
            settings=self._settings,
            models=self.models,
            store=self.store,
            notices=self.notices,
            workflow=self.workflows.restore,
            knows=self.workflows.names,
            # Whoever looks for a worker for a job is not to find this one.
            serves=names(self._settings.served if self._own_jobs is None else ()),
            on_lost=on_lost,
            on_live=self.live.tell,
            interceptors=self._interceptors,
            on_end=self.supervisor.let_go,
            duties=self._new_duties,
        )

    def _new_duties(self, worker: WorkerId) -> list[Duty]:
        """What goes on beside the jobs."""
        settings = self._settings
        post = Post(
            database=self.database,
            worker=worker,
            lease=settings.lease,
            listen=self.notices.listen,
        )
        duties: list[Duty] = [*couriers(settings.webhooks, post), *plugins(post)]
        if self._own_jobs is not None:  # what is due would be queued, and run by nobody
            return duties
        scheduler = Scheduler(
            self.database,
            make=self.timetable.job_of,
            pause=settings.sweep,
            on_job=self.supervisor.wake,
        )
        return [scheduler, Expiry(self.database, 10 * settings.sweep), *duties]

    def _new_queue(self, worker: WorkerId) -> Queue:
        settings = self._settings
        claims = Claims(
            self.database,
            serving=Serving(
                worker=worker,
                queues=settings.served,
                workflows=settings.workflow_concurrency,
                only=None if self._own_jobs is None else lambda: self._own_jobs or frozenset(),
            ),
            known=self.workflows.names,
            slots=settings.concurrency,
        )
        if dialect_of(self.database.url) is SQLITE:
            return EmbeddedQueue(claims)
        from .queue.dbos import DbosQueue

        return DbosQueue(
            self.database.url,
            claims,
            worker=worker,
            slots=settings.concurrency,
            poll=settings.poll,
        )
