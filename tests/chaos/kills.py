"""Random kills: workers die by SIGKILL at any moment while real jobs run; nothing may be lost.

    python -m tests.chaos.kills --kills 200 --seed 7
    python -m tests.chaos.kills --kills 200 --seed 7 --postgres

Prints the seed first and a JSON summary last; exits with 1 where anything is wrong. What is
checked is in audit.py; what is run, in mazes.py.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import roles
from tests.chaos.audit import Auditor, Findings, Held, hold, judge, run_again
from tests.chaos.fleet import Fleet, Forge, Process, fresh_seed
from tests.chaos.mazes import start_of
from tests.support.waiting import until

WORKERS = 3
IN_FLIGHT = 12
"""Jobs that are kept unsettled while workers die."""

DRAINED = 0.1
"""Share of stops by SIGTERM: the worker gives its jobs back. All others are SIGKILL."""
ALL_AT_ONCE = 0.05
"""Share of kills that take every worker."""
WAITED_FOR = 0.6
"""Share of new workers that may come up before the next kill."""


@dataclass
class Tally:
    """What happened, for the summary."""

    kills: int = 0
    kills_amid_jobs: int = 0
    drains: int = 0
    blackouts: int = 0
    ended_by_themselves: list[str] = field(default_factory=list)
    poisoned: int = 0
    held: list[Held] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    """Job id by name."""


@dataclass(frozen=True)
class Verdict:
    """How a run went."""

    findings: Findings
    again: list[tuple[str, str]]
    tally: Tally
    summary: dict[str, Any]

    @property
    def violations(self) -> int:
        return self.findings.count + len(self.again) + len(self.tally.ended_by_themselves)

    def __str__(self) -> str:
        shown = {name: found[:5] for name, found in vars(self.findings).items() if found}
        lines = [f"{name}: {line}" for name, found in shown.items() for line in found]
        lines += [f"run again although held: {each}" for each in self.again[:5]]
        lines += [f"ended by itself: {each}" for each in self.tally.ended_by_themselves]
        return "\n".join([json.dumps(self.summary), *lines])


class Carnage:
    """One run: a fleet of workers, a stream of jobs, and a killer."""

    def __init__(self, fleet: Fleet, engine: Any, auditor: Auditor, chance: Random) -> None:
        self._fleet, self._engine, self._auditor = fleet, engine, auditor
        self._chance = chance
        self._tally = Tally()
        self._workers: list[Process] = []

    def run(self, kills: int) -> Verdict:
        began = time.monotonic()
        self._workers = [self._fleet.worker() for _ in range(WORKERS)]
        while self._tally.kills < kills:
            self._submit()
            time.sleep(self._chance.uniform(0.02, 0.5))
            self._strike()
        killing = time.monotonic() - began
        self._settle()
        settling = time.monotonic() - began - killing
        self._close()
        return self._verdict(killing, settling)

    def _submit(self) -> None:
        for _ in range(IN_FLIGHT - len(self._auditor.unsettled())):
            name = f"j{len(self._tally.accepted)}"
            workflow = self._chance.choice(["maze", "maze", "quarry"])
            job = self._engine.submit(workflow, start_of(workflow, name), key=name)
            self._tally.accepted[name] = job.id

    def _strike(self) -> None:
        dice = self._chance.random()
        if dice < DRAINED:
            self._tally.drains += 1
            worker = self._chance.choice(self._workers)
            worker.signal(signal.SIGTERM)
            if worker.wait(60) != 0:
                self._note_end(worker)
            self._replace(worker)
        elif dice < DRAINED + ALL_AT_ONCE:
            self._tally.blackouts += 1
            for worker in list(self._workers):
                self._kill(worker)
            for worker in list(self._workers):
                self._replace(worker)
        else:
            worker = self._chance.choice(self._workers)
            self._kill(worker)
            self._replace(worker)

    def _kill(self, worker: Process) -> None:
        if not worker.kill():
            self._note_end(worker)
        self._tally.kills += 1
        held = hold(self._auditor, self._fleet.witness, worker.pid)
        self._tally.kills_amid_jobs += bool(held)
        self._tally.held += held

    def _note_end(self, worker: Process) -> None:
        self._tally.ended_by_themselves.append(f"{worker.pid}: {worker.status}\n{worker.log}")

    def _replace(self, worker: Process) -> None:
        # Not always waited for: a kill may well meet a worker that only just starts.
        ready = self._chance.random() < WAITED_FOR
        self._workers[self._workers.index(worker)] = self._fleet.worker(ready=ready)

    def _settle(self) -> None:
        """Nobody tells the workers anything: they must find what is left by themselves."""
        until(self._is_settled, "the jobs to settle", self._standing, seconds=120)
        until(self._is_queue_empty, "the queue to be empty", self._standing, seconds=60)

    def _is_settled(self) -> bool:
        for row in self._auditor.rows("select id, error from jobs where status = 'failed'"):
            if json.loads(row["error"])["type"] == "PoisonJob" and self._stalled(row["id"]):
                # Three workers in a row were shot before they saved a thing: as designed,
                # the job waits for a person, who lets it go on.
                self._tally.poisoned += 1
                self._engine.job(row["id"]).resume()
        return self._auditor.settled()

    def _stalled(self, job: str) -> bool:
        """Whether the last three attempts began with the same progress."""
        sql = "select progress from attempts where job_id = ? order by number desc"
        return len({row["progress"] for row in self._auditor.rows(sql, job)[:3]}) == 1

    def _is_queue_empty(self) -> bool:
        return not self._auditor.queued()

    def _standing(self) -> str:
        """What is not as it should be, and who is there to see to it."""
        rows = [*self._auditor.unsettled(), *self._auditor.queued()]
        rows += self._auditor.rows("select id, pid, lost, beat_at from workers where lost = 0")
        states = {worker.pid: worker.state for worker in self._workers}
        return "\n".join([*map(str, rows), f"processes: {states}"])

    def _close(self) -> None:
        for worker in self._workers:
            worker.signal(signal.SIGTERM)
        for worker in self._workers:
            if worker.wait(60) != 0:
                self._note_end(worker)

    def _verdict(self, killing: float, settling: float) -> Verdict:
        tally = self._tally
        records = self._fleet.records()
        findings = judge(self._auditor, records, tally.accepted.values())
        again = run_again(self._fleet.witness, tally.held)
        begun = sum(record.what == "begin" for record in records)
        summary = {
            "database": "postgresql" if self._auditor.is_postgres else "sqlite",
            "kills": tally.kills,
            "kills_amid_jobs": tally.kills_amid_jobs,
            "drains": tally.drains,
            "blackouts": tally.blackouts,
            "jobs": len(tally.accepted),
            "completed": len(
                self._auditor.rows("select 1 as one from jobs where status = 'completed'")
            ),
            "poisoned_and_resumed": tally.poisoned,
            "attempts_made": len(self._auditor.rows("select 1 as one from attempts")),
            "visits": begun,
            "held_checked": sum(len(each.labels) for each in tally.held),
            "held_and_run_again": len(again),
            **findings.counts(),
            "ended_by_themselves": len(tally.ended_by_themselves),
            "kills_per_minute": round(tally.kills / killing * 60),
            "settled_after_seconds": round(settling, 1),
        }
        return Verdict(findings, again, tally, summary)


def carnage(
    folder: Path, url: str, *, kills: int, seed: int, forge: Forge | None = None
) -> Verdict:
    """Kill workers of a fresh database, let the rest settle, and judge."""
    with (
        Fleet(folder, url, forge=forge) as fleet,
        roles.open_engine(folder, url, worker=False) as engine,
    ):
        with Auditor(url) as auditor:
            return Carnage(fleet, engine, auditor, Random(seed)).run(kills)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument(
        "--keep", action="store_true", help="keep the folder with logs and database"
    )
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-kills-"))
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            verdict = carnage(folder, server.fresh(), kills=given.kills, seed=seed)
    else:
        url = f"sqlite:///{folder / 'ucop.db'}"
        verdict = carnage(folder, url, kills=given.kills, seed=seed)
    print(verdict)
    if verdict.violations or given.keep:
        print(f"kept: {folder}")
    else:
        import shutil

        shutil.rmtree(folder)
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
