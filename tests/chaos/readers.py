"""Readers that are cut off: they resume with the last number, and get every event exactly once.

    python -m tests.chaos.readers --cuts 1000 --seed 7
    python -m tests.chaos.readers --cuts 1000 --seed 7 --postgres

A process reads the events of all jobs while workers run them, and is killed at any moment; the next
begins behind the last number that it wrote down. Workers are killed now and then too. At the end
each job is read again by itself, cut off as often. Prints the seed first and a JSON summary last;
exits with 1 where an event is missing, comes twice, or comes out of order.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import roles
from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet, Forge, Process, fresh_seed
from tests.chaos.mazes import start_of
from tests.support.waiting import until

WORKERS = 2
IN_FLIGHT = 4
"""Jobs that are kept unsettled while readers are cut off."""

LONGEST_LIFE = 0.3
"""Seconds after its first event in which a reader is cut off."""

WORKER_KILLED = 0.01
"""Share of cuts at which a worker is killed too."""


@dataclass
class Verdict:
    """How a run went."""

    wrong: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join([json.dumps(self.summary), *self.wrong[:20]])


class Notebook:
    """What readers wrote down: one line an event, in a file that outlives them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def mend(self) -> int:
        """Strike out a line that was cut off; returns the last number."""
        whole = self.path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            self.path.write_bytes(kept)
        return int(kept.splitlines()[-1].split()[0]) if kept else 0

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def lines(self) -> list[tuple[int, str, int]]:
        rows = (line.split() for line in self.path.read_text().splitlines())
        return [(int(position), job, int(seq)) for position, job, seq in rows]


class Cutting:
    """One run: workers, a stream of jobs, and a reader that is cut off again and again."""

    def __init__(self, fleet: Fleet, engine: Any, auditor: Auditor, chance: Random) -> None:
        self._fleet, self._engine, self._auditor = fleet, engine, auditor
        self._chance = chance
        self._notes = Notebook(fleet.folder / "read.txt")
        self._workers = [fleet.worker() for _ in range(WORKERS)]
        self._jobs = self._killed = self._idle = 0

    def run(self, cuts: int) -> Verdict:
        for _ in range(cuts):
            self._feed()
            self._cut(self._read())
            if self._chance.random() < WORKER_KILLED:
                self._kill_worker()
        until(self._auditor.settled, "the jobs to end", self._fleet.logs, seconds=300)
        rows = self._auditor.rows("select position, job_id, seq from events order by position")
        stored = [(row["position"], row["job_id"], row["seq"]) for row in rows]
        last = self._read()
        whole = len("".join(f"{p} {job} {seq}\n" for p, job, seq in stored))
        until(lambda: self._notes.size >= whole, "the rest to be read", self._fleet.logs)
        last.kill()
        wrong = [*self._compared(stored), *self._alone(stored)]
        counted = {"cuts": cuts, "cuts_before_any_event": self._idle, "killed": self._killed}
        return Verdict(wrong, {**counted, "jobs": self._jobs, "events": len(stored)})

    def _feed(self) -> None:
        while len(self._auditor.unsettled()) < IN_FLIGHT:
            name, kind = f"j{self._jobs}", self._chance.choice(["maze", "quarry", "twig"])
            self._engine.submit(kind, start_of(kind, name))
            self._jobs += 1

    def _read(self) -> Process:
        return self._fleet.start("read", after=self._notes.mend(), into=str(self._notes.path))

    def _cut(self, reader: Process) -> None:
        """Most are cut off amid events; some before they saw any."""
        before = self._notes.size
        if self._chance.random() < 0.9:
            until(lambda: self._notes.size > before, "an event", self._fleet.logs)
        reader.wait(self._chance.uniform(0, LONGEST_LIFE))
        reader.kill()
        self._idle += self._notes.size == before

    def _kill_worker(self) -> None:
        self._workers.pop(self._chance.randrange(WORKERS)).kill()
        self._workers.append(self._fleet.worker())
        self._killed += 1

    def _compared(self, stored: list[tuple[int, str, int]]) -> Iterator[str]:
        read = self._notes.lines()
        if read == stored:
            return
        yield f"{len(read)} events were read, {len(stored)} are stored"
        yield from (f"missing: {event}" for event in sorted(set(stored) - set(read))[:5])
        yield from (f"twice: {event}" for event, n in Counter(read).items() if n > 1)
        yield from (f"out of order: {b}" for a, b in pairwise(read) if b <= a)

    def _alone(self, stored: list[tuple[int, str, int]]) -> Iterator[str]:
        """Each job's own events, with its own numbers, cut off at random too."""
        for job in dict.fromkeys(job for _, job, _ in stored):
            read, handle = list[int](), self._engine.job(job)
            while True:
                after, number = read[-1] if read else 0, self._chance.randint(1, 9)
                got = [event.seq for event in islice(handle.events(after=after), number)]
                read += got
                if len(got) < number:
                    break
            expected = [seq for _, of, seq in stored if of == job]
            if read != expected or read != list(range(1, len(read) + 1)):
                yield f"job {job}: read {read}, stored {expected}"


def cutting(folder: Path, url: str, *, cuts: int, seed: int, forge: Forge | None = None) -> Verdict:
    with (
        Fleet(folder, url, nap=0.02, forge=forge) as fleet,
        roles.open_engine(folder, url, worker=False) as engine,
        Auditor(url) as auditor,
    ):
        return Cutting(fleet, engine, auditor, Random(seed)).run(cuts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-readers-"))
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            verdict = cutting(folder, server.fresh(), cuts=given.cuts, seed=seed)
    else:
        verdict = cutting(folder, f"sqlite:///{folder / 'ucop.db'}", cuts=given.cuts, seed=seed)
    print(verdict)
    if verdict.wrong:
        print(f"kept: {folder}")
        return 1
    import shutil

    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
