"""Twins whose worker is killed at a named point, each time at another one.

The job is begun, answered and retried by this process, and run by forked workers: the first has
a fault armed (`ucop.engine.faults`) and dies of SIGKILL there, another one takes its place.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg

from tests.chaos.fleet import Forge, Process
from tests.twins import witness
from tests.twins.compare import Difference, differences
from tests.twins.job import JobSide
from tests.twins.play import Observation
from tests.twins.run import observe
from tests.twins.twin import Twin
from ucop.engine import Engine
from ucop.engine.checkpoints.position import UNDONE
from ucop.engine.errors import UcopError

POINTS = ("after put", "after writes", "inside saver write", "before finish")
"""At each checkpoint, at each pending write, amid each transaction, and before the end."""

MOST = 16
"""Up to which number of such a point it is tried."""

LONG = 300.0
"""Seconds in which a job rests, whose workers have to start again and again."""

ALWAYS = ("after put:1",)
"""Where every worker of a job can die: each saves a checkpoint before. Elsewhere three deaths in a
row may save none, and the job fails as PoisonJob."""


@dataclass
class Killing:
    """One play in which the worker dies at a point: the first one, or each."""

    twin: Twin
    engine: Engine
    forge: Forge
    folder: Path
    point: str
    always: bool = False
    deaths: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _again: list[str] = field(default_factory=list)

    def run(self) -> tuple[Observation, list[str]]:
        """What was seen, and the tasks that ran again though they were held as done."""
        side = JobSide(self.twin, self.engine, long=LONG)
        watch = threading.Thread(target=self._replace_worker, args=[side])
        watch.start()
        try:
            seen = observe(self.twin, side, self.folder)
        finally:
            self._over.set()
            watch.join()
        return seen, self._again

    def _replace_worker(self, side: JobSide) -> None:
        worker, held, before = self._worker(self.point), frozenset[tuple[str, str]](), 0
        while not self._over.is_set():
            if worker.wait(0.02) is None:
                continue
            self.deaths += 1
            self._again += self._repeated(held, before)
            held = done_tasks(self.engine.settings.database, side.threads)
            before = len(self._visits())
            worker = self._worker(self.point if self.always else "")
        worker.kill()
        self._again += self._repeated(held, before)

    def _repeated(self, held: frozenset[tuple[str, str]], before: int) -> list[str]:
        return [visit.label for visit in self._visits()[before:] if visit.task in held]

    def _visits(self) -> list[witness.Visit]:
        return witness.visits(self.folder / "witness")

    def _worker(self, fault: str) -> Process:
        log = self.folder / f"worker-{uuid4().hex[:8]}.log"
        answer = self.forge.order(
            "start",
            role="work",
            folder=str(self.folder),
            url=self.engine.settings.database,
            witness="",
            nap=0,
            log=str(log),
            given={
                "name": self.twin.name,
                "witness": str(self.folder / "witness"),
                "fault": fault,
            },
        )
        return Process(answer["pid"], log, self.forge)


def killed(
    twin: Twin,
    bare: Observation,
    engine: Engine,
    forge: Forge,
    folder: Path,
    point: str,
    *,
    always: bool = False,
) -> tuple[int, list[Difference]]:
    """How often a worker died there, and what was not as on bare LangGraph."""
    killing = Killing(twin, engine, forge, folder, point, always)
    try:
        seen, again = killing.run()
    except (UcopError, AssertionError) as error:
        found = [Difference(twin.name, "raised", None, repr(error))]
    else:
        found = differences(twin, bare, seen, broken=True)
        if again:
            found.append(Difference(twin.name, "ran again", None, again))
    where = f"every worker dies {point}" if always else f"a worker dies {point}"
    return killing.deaths, [each.at(where) for each in found]


def done_tasks(url: str, threads: list[str]) -> frozenset[tuple[str, str]]:
    """Thread and id of the tasks that the checkpointer holds as done, read without ucop."""
    rows = _sqlite_rows(url) if url.startswith("sqlite") else _postgres_rows(url)
    return frozenset(
        (thread, task)
        for thread, task, channel in rows
        if thread in threads and channel not in UNDONE
    )


def _sqlite_rows(url: str) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(urlsplit(url).path)) as connection:
        return connection.execute("select thread_id, task_id, channel from writes").fetchall()


def _postgres_rows(url: str) -> list[tuple[str, str, str]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "select thread_id, task_id, channel from checkpoint_writes"
        ).fetchall()
