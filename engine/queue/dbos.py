"""DBOS dispatches on PostgreSQL: it tells a worker with a free slot, in time, that there is
work; the ledger says which job's turn it is (order.py).

Each attempt is queued with a ticket of DBOS's, in one transaction. A worker that is handed a
ticket takes the job whose turn it is, which need not be the one that the ticket was made for,
and holds the ticket while that job runs. A ticket that finds nothing to take is spent; from then
on that worker looks by itself whenever something was written, until the line is empty. So
limits, shares and the order of a thread are one rule for both databases, and a lost ticket costs
a moment (see docs/decisions/queues.md).

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
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

os.environ.setdefault("DBOS__CONSOLE_LOG_LEVEL", "CRITICAL")

from dbos import DBOS, DBOSClient, DBOSConfig
from dbos import DBOSPortableJSONSerializer as PortableJson

from ..database.tickets import APPLICATION, QUEUE, VERSION, WORKFLOW
from ..errors import UcopError
from ..faults import fault
from ..jobs.job import WorkerId
from ..loop.cancellation import end
from ..loop.duty import repeat
from .queue import Run

if TYPE_CHECKING:
    from .claims import Claims

log = logging.getLogger("ucop.queue")

Ticket = asyncio.Future["asyncio.Task[None] | None"]
"""What a delivery waits for: the job that was taken, or None."""


class DbosQueue:
    """See queue.Queue."""

    def __init__(
        self, url: str, claims: Claims, *, worker: WorkerId, slots: int, poll: float
    ) -> None:
        self._url, self._claims, self._worker = url, claims, worker
        self._slots, self._poll = slots, poll
        self._client: DBOSClient | None = None
        self._tickets: list[Ticket] = []
        """Those that wait for a job, in the order in which they were handed over."""
        self._news = claims.ended
        self._loop: asyncio.Task[None] | None = None

    async def start(self, run: Run) -> None:
        self._claims.run = run
        _claim_process(self)
        self._client = await asyncio.to_thread(client, self._url)
        # Before the launch: a queue that is registered later is first polled after a second.
        await asyncio.to_thread(
            self._client.register_queue,
            QUEUE,
            polling_interval_sec=self._poll,
            worker_concurrency=self._slots,
        )
        DBOS(config=_config(self._url, self._worker))
        DBOS.workflow(name=WORKFLOW, max_recovery_attempts=None)(_attempt)
        # Inside a running loop DBOS adopts that loop for asynchronous workflows: ours.
        DBOS.launch()
        self._loop = asyncio.create_task(self._claim_always(), name="ucop-queue")

    async def stop(self) -> None:
        if self._loop is not None:
            await end(self._loop)
            self._loop = None
        self._spend(self._tickets)
        try:
            await asyncio.to_thread(DBOS.destroy, workflow_completion_timeout_sec=0)
            if self._client is not None:
                await asyncio.to_thread(self._client.destroy)
                self._client = None
        finally:
            _release_process(self)

    def wake(self) -> None:
        # What is new comes with a ticket.
        if self._claims.left:
            self._news.set()

    async def deliver(self) -> None:
        """DBOS hands over a ticket: take the job whose turn it is, and hold the ticket while it
        runs."""
        fault("after delivery")
        if self._loop is None:
            return
        ticket: Ticket = asyncio.get_running_loop().create_future()
        self._tickets.append(ticket)
        self._news.set()
        if (task := await ticket) is not None:
            # Whatever ends this wait, the attempt goes on: its worker alone stops it.
            await asyncio.wait([task])

    def is_claiming(self, job: str, attempt: int) -> bool:
        return self._claims.is_claiming(job, attempt)

    async def repair(self, alive: Callable[[str], Awaitable[bool]]) -> None:
        """Clear away the tickets of dead workers, and look whether jobs have none."""
        self._news.set()
        if self._client is None:
            return
        held = await self._client.list_workflows_async(
            status=["PENDING"], load_input=False, load_output=False
        )
        for row in held:
            executor = row.executor_id or ""
            if executor != self._worker and not await alive(executor):
                await self._client.cancel_workflow_async(row.workflow_id)
                fault("after cancel row")

    async def _claim_always(self) -> None:
        await repeat(self._claim, name="cannot claim jobs", log=log, again=0.0, sleep=self._wait)

    async def _claim(self) -> float:
        self._news.clear()
        waiting = list(self._tickets)
        try:
            tasks = await self._claims.take()
        except BaseException:
            self._spend(self._tickets)
            raise
        for ticket, task in zip(waiting, tasks, strict=False):
            self._spend([ticket], task)
        if not self._claims.is_full:
            self._spend(waiting[len(tasks) :])
        # Else they are held until a slot is free: DBOS hands over no more than there are slots.
        if tasks:
            self._news.set()  # until a look finds nothing more
        return 0.0

    def _spend(self, tickets: Iterable[Ticket], task: asyncio.Task[None] | None = None) -> None:
        for ticket in list(tickets):
            self._tickets.remove(ticket)
            if not ticket.done():
                ticket.set_result(task)

    async def _wait(self, _: float) -> None:
        again = self._claims.again_at - time.monotonic()
        try:
            async with asyncio.timeout(None if again == float("inf") else max(0.0, again)):
                await self._news.wait()
        except TimeoutError:
            pass


def client(url: str) -> DBOSClient:
    return DBOSClient(
        system_database_url=url, serializer=PortableJson(), application_name=APPLICATION
    )


def migrate(url: str) -> None:
    """Create or upgrade DBOS's own schema."""
    DBOS.migrate(url)


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
        await queue.deliver()


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
