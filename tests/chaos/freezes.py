"""Zombies: a worker is stopped beyond its lease, another takes over, the first is continued.

    python -m tests.chaos.freezes --tries 30 --seed 7
    python -m tests.chaos.freezes --tries 30 --seed 7 --postgres
    python -m tests.chaos.freezes --tries 10 --no-fence     # shows that the audit can find something

Triggers in the database note every commit of checkpoints, writes, steps and events together
with the attempt that is current in that very transaction: what another attempt writes is
stale. Prints the seed first and a JSON summary last; exits with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import roles
from tests.chaos.audit import Auditor, Findings, judge, story
from tests.chaos.fleet import Fleet, Forge, Process, fresh_seed
from tests.chaos.mazes import start_of
from tests.support.waiting import until

JOBS = 3
LEASE = 1.5
NAP = 0.12

CLEAR_ERRORS = ("no longer current", "was declared lost", "this worker was declared lost")

SQLITE_TRIGGERS = """
create table audit (kind text, job text, stale integer);
create trigger audit_checkpoints after insert on checkpoints begin
    insert into audit select 'checkpoint', new.thread_id, j.status <> 'running'
        or json_extract(new.metadata, '$.ucop_attempt') <> j.attempt
    from jobs j where j.thread_id = new.thread_id and new.checkpoint_ns = ''; end;
create trigger audit_writes after insert on writes
when new.channel = 'who' and length(new.value) > 1 begin
    insert into audit select 'write', new.thread_id, j.status <> 'running'
        or instr(cast(new.value as text), '@' || ifnull(w.pid, '-') || '.') = 0
    from jobs j left join workers w on w.id = j.worker where j.thread_id = new.thread_id; end;
create trigger audit_steps after insert on steps begin
    insert into audit select 'step', new.job_id, new.attempt <> j.attempt or j.status <> 'running'
    from jobs j where j.id = new.job_id; end;
create trigger audit_step_ends after update on steps
when new.status = 'completed' begin
    insert into audit select 'step', new.job_id, new.attempt <> j.attempt or j.status <> 'running'
    from jobs j where j.id = new.job_id; end;
create trigger audit_events after insert on events
when json_extract(new.data, '$.attempt') is not null begin
    insert into audit select 'event', new.job_id,
        json_extract(new.data, '$.attempt') <> j.attempt
    from jobs j where j.id = new.job_id; end;
"""

POSTGRES_TRIGGERS = """
create table ucop.audit (kind text, job text, stale boolean);
create function ucop.audit() returns trigger language plpgsql as $$
declare j record; stale boolean;
begin
    if tg_argv[0] in ('checkpoint', 'write') then
        select jobs.*, w.pid into j from ucop.jobs left join ucop.workers w on w.id = jobs.worker
            where thread_id = new.thread_id;
    else
        select * into j from ucop.jobs where id = new.job_id;
    end if;
    if tg_argv[0] = 'checkpoint' then
        if new.checkpoint_ns <> '' then return new; end if;
        stale := j.status <> 'running'
            or (new.metadata->>'ucop_attempt')::int is distinct from j.attempt;
    elsif tg_argv[0] = 'write' then
        if new.channel <> 'who' or length(new.blob) <= 1 then return new; end if;
        stale := j.status <> 'running' or j.pid is null
            or position(convert_to('@' || j.pid || '.', 'UTF8') in new.blob) = 0;
    elsif tg_argv[0] = 'step' then
        if tg_op = 'UPDATE' and new.status <> 'completed' then return new; end if;
        stale := j.status <> 'running' or new.attempt <> j.attempt;
    else
        if (new.data::jsonb)->>'attempt' is null then return new; end if;
        stale := ((new.data::jsonb)->>'attempt')::int <> j.attempt;
    end if;
    insert into ucop.audit values (tg_argv[0], j.id, stale);
    return new;
end $$;
create trigger audit after insert on checkpoints
    for each row execute function ucop.audit('checkpoint');
create trigger audit after insert on checkpoint_writes
    for each row execute function ucop.audit('write');
create trigger audit after insert or update on ucop.steps
    for each row execute function ucop.audit('step');
create trigger audit after insert on ucop.events
    for each row execute function ucop.audit('event');
"""

NO_POSTGRES_FENCE = """
create or replace function ucop.ucop_fence(job text, n integer) returns void
language plpgsql as $$ begin end $$"""


@dataclass(frozen=True)
class Verdict:
    findings: Findings
    summary: dict[str, Any]
    silent: list[str]
    """Logs of zombies that ended without a clear error."""

    @property
    def violations(self) -> int:
        return self.findings.count + int(self.summary["stale_commits"]) + len(self.silent)

    def __str__(self) -> str:
        shown = {name: found[:5] for name, found in vars(self.findings).items() if found}
        lines = [f"{name}: {line}" for name, found in shown.items() for line in found]
        return "\n".join([json.dumps(self.summary), *lines, *self.silent[:3]])


class Winter:
    """One run: in each try one worker freezes, another takes its jobs, the first thaws."""

    def __init__(
        self, fleet: Fleet, engine: Any, auditor: Auditor, chance: Random, *, fence: bool
    ) -> None:
        self._fleet, self._engine, self._auditor = fleet, engine, auditor
        self._chance, self._fence = chance, fence
        self._accepted: list[str] = []
        self._silent: list[str] = []
        self._taken_over = 0
        self._inside = 0

    def run(self, tries: int) -> Verdict:
        self._auditor.execute(POSTGRES_TRIGGERS if self._auditor.is_postgres else SQLITE_TRIGGERS)
        if not self._fence and self._auditor.is_postgres:
            self._auditor.execute(NO_POSTGRES_FENCE)
        for number in range(tries):
            self._try(number)
        return self._verdict(tries)

    def _try(self, number: int) -> None:
        # Every other zombie is deaf: it does not notice by itself that it was declared lost,
        # and runs on until the fence stops it.
        zombie = self._fleet.worker(fence=self._fence, deaf=number % 2 == 1)
        mark = self._fleet.witness.size
        jobs = [
            self._engine.submit("maze", start_of("maze", f"t{number}.{each}")).id
            for each in range(JOBS)
        ]
        self._accepted += jobs
        until(lambda: self._begun(mark) >= JOBS, "the jobs to begin", self._fleet.logs)
        time.sleep(self._chance.uniform(0, 0.4))
        zombie.freeze()
        had = {row["id"] for row in self._auditor.running_on(zombie.pid)}
        heir = self._fleet.worker(fence=self._fence, ready=False)
        until(lambda: self._moved(had, zombie), "a takeover", self._fleet.logs)
        self._taken_over += bool(had)
        time.sleep(self._chance.uniform(0, 0.6))
        zombie.thaw()
        until(lambda: self._settled(jobs), "the jobs to end", self._fleet.logs, seconds=120)
        if had:
            self._await_clear_error(zombie)
        self._fleet.wait_ready(heir)
        for worker in (zombie, heir):
            worker.kill()

    def _begun(self, mark: int) -> int:
        return len({r.name for r in self._fleet.witness.records(mark) if r.what == "begin"})

    def _moved(self, jobs: set[str], zombie: Process) -> bool:
        """Whether none of the zombie's jobs is the zombie's any more."""
        return jobs.isdisjoint(row["id"] for row in self._auditor.running_on(zombie.pid))

    def _settled(self, jobs: list[str]) -> bool:
        return not {row["id"] for row in self._auditor.unsettled()} & set(jobs)

    def _await_clear_error(self, zombie: Process) -> None:
        def told() -> bool:
            return any(error in zombie.log for error in CLEAR_ERRORS) or zombie.wait(0) is not None

        try:
            until(told, "a clear error of the zombie", seconds=60)
        except AssertionError:
            self._silent.append(zombie.log)
            return
        if zombie.wait(0) is not None:  # ended because it was stopped inside a transaction
            self._inside += 1

    def _verdict(self, tries: int) -> Verdict:
        rows = self._auditor.rows(
            "select kind, stale, count(*) as n from audit group by kind, stale"
        )
        audited: Counter[str] = Counter()
        stale: Counter[str] = Counter()
        for row in rows:
            audited[row["kind"]] += row["n"]
            if row["stale"]:
                stale[row["kind"]] += row["n"]
        findings = judge(self._auditor, self._fleet.records(), self._accepted)
        logs = "".join(process.log for process in self._fleet.processes)
        summary = {
            "database": "postgresql" if self._auditor.is_postgres else "sqlite",
            "fence": self._fence,
            "tries": tries,
            "taken_over": self._taken_over,
            "jobs": len(self._accepted),
            "commits_audited": audited.total(),
            "audited": dict(audited),
            "stale_commits": stale.total(),
            "stale": dict(stale),
            "attempts_superseded": logs.count("no longer current"),
            "declared_lost": logs.count("gave no sign of life"),
            "ended_inside_a_transaction": logs.count("was stopped inside a transaction")
            + logs.count("was ended with SIGKILL"),
            "without_clear_error": len(self._silent),
            **findings.counts(),
        }
        for found in {*findings.steps, *findings.events, *findings.falsely_completed}:
            job = found.split()[0]
            (self._fleet.folder / f"story-{job}").write_text(story(self._auditor, job))
        return Verdict(findings, summary, self._silent)


def winter(
    folder: Path,
    url: str,
    *,
    tries: int,
    seed: int,
    fence: bool = True,
    forge: Forge | None = None,
) -> Verdict:
    """Freeze workers of a fresh database, and judge."""
    with Fleet(folder, url, nap=NAP, forge=forge, lease=LEASE) as fleet:
        with roles.open_engine(folder, url, worker=False) as engine, Auditor(url) as auditor:
            return Winter(fleet, engine, auditor, Random(seed), fence=fence).run(tries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tries", type=int, default=30)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--no-fence", action="store_true", help="expect stale commits")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-freezes-"))
    options = {"tries": given.tries, "seed": seed, "fence": not given.no_fence}
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            verdict = winter(folder, server.fresh(), **options)
    else:
        verdict = winter(folder, f"sqlite:///{folder / 'ucop.db'}", **options)
    print(verdict)
    if verdict.violations:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
