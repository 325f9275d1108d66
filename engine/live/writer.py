"""What running attempts emit for those who listen: gathered, batched and written as fenced rows.

Each attempt has an outlet. While nobody listens to its job it is shut, and LangGraph emits nothing
that the job itself does not need. A worker has one channel, which writes what its outlets gathered
in one transaction, at most each BATCH seconds. Readers are in stream.py. On the engine's loop
only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ucop.graphs.pregel.stream_modes import Emission

from ..errors import DatabaseError
from ..jobs.job import JobId
from ..ledger import live_rows
from ..ledger.live_rows import Bounds, LiveRow
from .batch import Batch

if TYPE_CHECKING:
    from ucop.graphs.workflow import Workflow

    from ..database.database import Database

log = logging.getLogger("ucop.live")

BATCH = 0.02
"""Seconds for which parts gather, after some were written."""

AGAIN = 1.0
"""Seconds before rows that the database did not take are tried again."""

LAST_WORDS = 5.0
"""Seconds that the database gets to take what an attempt that ends has emitted."""

TRIM_BYTES, TRIM_ROWS = 1 << 20, 500
"""After so much more the oldest rows of a job are looked at."""

Part = Mapping[str, Any]


class Outlet:
    """What one attempt emits."""

    def __init__(self, channel: LiveChannel | None = None, job: str = "", attempt: int = 0) -> None:
        self.emission = Emission()
        self.wanted: frozenset[str] = frozenset()
        self._shown: Callable[[Part], Part | None] = _all
        """What of a part is the graph's own, and not the compiler's."""
        self._channel, self._job, self._attempt = channel, job, attempt
        self._secret: frozenset[str] = frozenset()
        self._batch = Batch()
        self._n = 0
        self._rows: list[LiveRow] = []
        """Made, and not written yet."""
        self._bytes, self._count = 0, 0
        """Written since the oldest rows were last looked at."""

    def want(self, modes: Collection[str]) -> None:
        """Somebody, or nobody any more, listens to these modes."""
        if modes != self.wanted:
            self.wanted = frozenset(modes)
            self.emission.want(self.wanted)

    def follow(
        self,
        stream: AsyncGenerator[Any],
        workflow: Workflow,
        secret: frozenset[str] = frozenset(),
    ) -> None:
        """This is the run, not begun yet; of its config nothing is told by the names `secret`."""
        self.emission.of(stream)
        self._secret, self._batch = secret, Batch(secret)
        self._shown = workflow.shown_part

    def put(self, part: Part) -> None:
        """The graph emitted a part."""
        self.emission.begin()
        if part["type"] not in self.wanted or self._channel is None:
            return
        if (shown := self._shown(part)) is not None:
            self._batch.add(shown)
            if full := self._batch.is_full:
                self._end_batch()
            self._channel.gather(self, at_once=full)

    def take(self, most: int) -> list[LiveRow]:
        """The rows to write now. Where the database takes none, the oldest go beyond `most` bytes:
        readers see from the numbers that some are missing."""
        if self._batch:
            self._end_batch()
        held = sum(len(row.body) for row in self._rows)
        while len(self._rows) > 1 and held > most:
            held -= len(self._rows.pop(0).body)
        return list(self._rows)

    def _end_batch(self) -> None:
        self._n += 1
        body, self._batch = self._batch.body(), Batch(self._secret)
        row = LiveRow(job=self._job, attempt=self._attempt, n=self._n, body=body)
        self._rows.append(row)

    def written(self, rows: Collection[LiveRow]) -> None:
        """These rows are in the database, or refused there for good."""
        ids = {row.n for row in rows}
        self._rows = [row for row in self._rows if row.n not in ids]
        self._bytes += sum(len(row.body) for row in rows)
        self._count += len(rows)

    @property
    def job(self) -> str:
        return self._job

    def is_due(self) -> bool:
        """Whether the job's oldest rows are to be looked at; asked once for each time."""
        if self._bytes < TRIM_BYTES and self._count < TRIM_ROWS:
            return False
        self._bytes = self._count = 0
        return True

    async def close(self) -> None:
        """The run has ended: write what is left, so that it is there before the job rests."""
        self.want(frozenset())
        if self._channel is not None and (self._batch or self._rows):
            await self._channel.drain(self)


class LiveChannel:
    """Writes what the outlets of one worker gathered.

    Args:
        tell: Called with the jobs of which something was written.
    """

    def __init__(
        self,
        database: Database,
        *,
        keep: Bounds,
        tell: Callable[[Sequence[str]], None],
    ) -> None:
        self._database, self._keep, self._tell = database, keep, tell
        self._open: dict[tuple[str, int], Outlet] = {}
        self._dirty: dict[int, Outlet] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        self._wrote = 0.0

    # ------------------------------------------------------------ who listens

    def open(self, job: str, attempt: int, listened: Collection[str]) -> Outlet:
        """An outlet for an attempt whose job is `listened` to already."""
        outlet = Outlet(self, job, attempt)
        outlet.want(listened)
        self._open[job, attempt] = outlet
        return outlet

    def shut(self, job: str, attempt: int) -> None:
        """The attempt has ended."""
        self._open.pop((job, attempt), None)

    @property
    def is_listened_to(self) -> bool:
        """Whether anybody listens to anything here, as far as is known."""
        return any(outlet.wanted for outlet in self._open.values())

    def listen(self, wanted: Mapping[JobId, Collection[str]]) -> None:
        """Who listens to this worker's jobs now, and to what."""
        for (job, _), outlet in self._open.items():
            outlet.want(frozenset(wanted.get(JobId(job), ())))

    # ------------------------------------------------------------ writing

    def gather(self, outlet: Outlet, *, at_once: bool) -> None:
        """An outlet has something to write."""
        self._dirty[id(outlet)] = outlet
        if self._writing is not None:
            return
        if self._timer is not None:
            if not at_once:
                return
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        due = 0.0 if at_once else self._wrote + BATCH - loop.time()
        self._timer = loop.call_later(max(due, 0.0), self._begin)

    async def drain(self, outlet: Outlet) -> None:
        """Write what an outlet has. Gives up where the database takes nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            async with asyncio.timeout(LAST_WORDS):
                if self._writing is not None:
                    await asyncio.wait([self._writing])
                await self._write([outlet])
        except (DatabaseError, TimeoutError) as error:
            log.warning("job %s: the last it emitted could not be written: %s", outlet.job, error)
        finally:
            self._dirty.pop(id(outlet), None)
            if self._dirty and self._timer is None and self._writing is None:
                self._later(BATCH)

    def _begin(self) -> None:
        self._timer = None
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="ucop-live")

    async def _write_all(self) -> None:
        dirty, self._dirty = list(self._dirty.values()), {}
        pause = 0.0
        try:
            await self._write(dirty)
        except DatabaseError as error:
            log.debug("what runs emitted is not written yet: %s", error)
            self._dirty = {id(outlet): outlet for outlet in dirty} | self._dirty
            pause = AGAIN
        except Exception:  # a defect; what jobs do must not depend on who listens
            log.exception("what runs emitted is lost")
        finally:
            self._writing = None
            if self._dirty:
                self._later(pause or BATCH)

    def _later(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    async def _write(self, outlets: Sequence[Outlet]) -> None:
        taken = [(outlet, outlet.take(self._keep.bytes)) for outlet in outlets]
        rows = [row for _, some in taken for row in some]
        if not rows:
            return
        full = [outlet.job for outlet, _ in taken if outlet.is_due()]
        jobs = tuple(dict.fromkeys(row.job for row in rows))
        await self._database.emit(lambda: live_rows.put(rows, full, self._keep), jobs)
        self._wrote = asyncio.get_running_loop().time()
        for outlet, some in taken:
            outlet.written(some)
        self._tell(jobs)


def _all(part: Part) -> Part:
    return part
