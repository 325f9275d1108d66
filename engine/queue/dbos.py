"""DBOS dispatches on PostgreSQL: its queue says which attempt runs where, the ledger whether.

DBOS carries ids only; its recovery and resume are never used (a lost worker's jobs get new
attempts under new ids). This is the one file that imports DBOS, because DBOS is global to a
process: one configuration, one launch.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DBOS__CONSOLE_LOG_LEVEL", "CRITICAL")

from dbos import DBOS, DBOSClient, DBOSConfig
from dbos import DBOSPortableJSONSerializer as PortableJson

from ucop.engine import ledger
from ucop.engine.errors import DatabaseError, UcopError
from ucop.engine.faults import fault
from ucop.engine.job import WorkerId
from ucop.engine.operation import Enqueue
from ucop.engine.queue import Run
from ucop.engine.rows import Claimed

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ucop.engine.postgres import PostgresDatabase

log = logging.getLogger("ucop.queue")

APPLICATION = "ucop"
VERSION = "1"
"""DBOS's default is a hash of the code: an upgrade would strand what is queued."""
QUEUE = "ucop"
WORKFLOW = "ucop.attempt"

ORPHAN_AFTER = 2.0
"""Seconds that a pending job may be unknown to DBOS before it is queued again."""

FIRST = 1_000_000
"""DBOS serves low numbers first, ucop high priorities."""


class DbosQueue:
    """See queue.Queue."""

    def __init__(
        self,
        database: PostgresDatabase,
        *,
        worker: WorkerId,
        known: Callable[[], str],
        slots: int,
        poll: float,
    ) -> None:
        self._database, self._worker, self._known = database, worker, known
        self._slots, self._poll = slots, poll
        self._run: Run | None = None
        self._client: DBOSClient | None = None
        self._claiming: set[tuple[str, int]] = set()

    async def start(self, run: Run) -> None:
        self._run = run
        _claim_process(self)
        self._client = await asyncio.to_thread(client, self._database.url)
        # Before the launch: a queue that is registered later is first polled after a second.
        await asyncio.to_thread(
            self._client.register_queue,
            QUEUE,
            polling_interval_sec=self._poll,
            worker_concurrency=self._slots,
        )
        DBOS(config=_config(self._database.url, self._worker))
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(_attempt)
        # Inside a running loop DBOS adopts that loop for asynchronous workflows: ours.
        DBOS.launch()

    async def stop(self) -> None:
        await asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=0)
        if self._client is not None:
            await asyncio.to_thread(self._client.destroy)
            self._client = None
        _release_process(self)

    def wake(self) -> None:
        """DBOS polls by itself."""

    async def deliver(self, job: str, attempt: int) -> None:
        """DBOS hands over an attempt: claim it in the ledger, and run it."""
        fault("before claim")
        self._claiming.add((job, attempt))
        try:
            claimed = await self._claim(job, attempt)
        finally:
            self._claiming.discard((job, attempt))
        if claimed is not None and self._run is not None:
            # Whatever ends this wait, the attempt goes on: its worker alone stops it.
            await asyncio.wait([self._run(claimed)])

    async def _claim(self, job: str, attempt: int) -> Claimed | None:
        known = self._known()
        try:
            return await self._database.write(
                lambda: ledger.claim_known(job, attempt, self._worker, known, time.time())
            )
        except DatabaseError as error:
            log.error("job %s: attempt %d was not claimed: %s", job, attempt, error)
            return None

    def is_claiming(self, job: str, attempt: int) -> bool:
        return (job, attempt) in self._claiming

    async def repair(self, alive: Callable[[str], Awaitable[bool]]) -> int:
        if self._client is None:
            return 0
        # The ledger first: what was pending then has its row by now, because both were
        # committed as one. The other way round a slow look would find jobs without one.
        oldest, known = time.time() - ORPHAN_AFTER, self._known()
        waiting = await self._database.read(lambda: ledger.pending_before(oldest, known))
        held = await self._client.list_workflows_async(
            status=["PENDING", "ENQUEUED", "DELAYED"], load_input=False, load_output=False
        )
        dispatched: dict[str, tuple[str, str]] = {
            row.workflow_id: (row.status, row.executor_id or "") for row in held
        }
        await self._cancel_dead(dispatched, alive)
        return await self._queue_again(waiting, dispatched, alive)

    async def _queue_again(
        self,
        waiting: list[tuple[str, int]],
        dispatched: dict[str, tuple[str, str]],
        alive: Callable[[str], Awaitable[bool]],
    ) -> int:
        repaired = 0
        for job, attempt in waiting:
            status, executor = dispatched.get(name(job, attempt), ("", ""))
            if status and (status != "PENDING" or await alive(executor)):
                continue
            fault("before redispatch")
            done = await self._database.dispatch(
                partial(ledger.redispatch, job, attempt, time.time())
            )
            repaired += done is not None
            fault("after redispatch")
        return repaired

    async def _cancel_dead(
        self,
        dispatched: dict[str, tuple[str, str]],
        alive: Callable[[str], Awaitable[bool]],
    ) -> None:
        """Rows of dead workers count against the queue's limits until they are cancelled."""
        assert self._client is not None
        for id, (status, executor) in dispatched.items():
            if status == "PENDING" and executor != self._worker and not await alive(executor):
                await self._client.cancel_workflow_async(id)
                fault("after cancel row")


class Sender:
    """Puts attempts into the queue, each in the caller's own transaction."""

    def __init__(self, url: str) -> None:
        self._client = client(url)

    def enqueue(self, connection: sa.Connection, what: Enqueue) -> None:
        options: Any = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": name(what.job_id, what.attempt),
            "app_version": VERSION,
        }
        if what.priority:
            options["priority"] = max(1, FIRST - what.priority)
        if what.delay:
            options["delay_seconds"] = what.delay
        self._client.enqueue_in_transaction(connection, options, what.job_id, what.attempt)

    def close(self) -> None:
        self._client.destroy()


def client(url: str) -> DBOSClient:
    return DBOSClient(
        system_database_url=url, serializer=PortableJson(), application_name=APPLICATION
    )


def migrate(url: str) -> None:
    """Create or upgrade DBOS's own schema."""
    DBOS.migrate(url)


def name(job: str, attempt: int) -> str:
    """DBOS's id of an attempt: used once, never resumed."""
    return f"{job}/{attempt}"


def _config(url: str, worker: WorkerId) -> DBOSConfig:
    return {
        "name": APPLICATION,
        "system_database_url": url,
        "executor_id": worker,
        "application_version": VERSION,
        "serializer": PortableJson(),
        "log_level": "CRITICAL",
        "run_migrations": False,
        # A process stopped inside DBOS's own transactions keeps what it was about to take.
        "sys_db_idle_transaction_timeout_sec": 15.0,
        "notification_listener_polling_interval_sec": 0.05,
    }


async def _attempt(job: str, attempt: int) -> None:
    """The DBOS workflow: one delivery."""
    queue = _process["queue"]
    if queue is not None:
        await queue.deliver(job, attempt)


_process: dict[str, DbosQueue | None] = {"queue": None}
_process_lock = threading.Lock()


def _claim_process(queue: DbosQueue) -> None:
    with _process_lock:
        if _process["queue"] is not None:
            raise UcopError(
                "this process has a PostgreSQL worker already, and DBOS allows one: close that "
                "engine first, or open this one with worker=False"
            )
        _process["queue"] = queue


def _release_process(queue: DbosQueue) -> None:
    with _process_lock:
        if _process["queue"] is queue:
            _process["queue"] = None
