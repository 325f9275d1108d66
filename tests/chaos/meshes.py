"""Meshes whose workers are killed: each goes on at its hop, and nobody is asked twice.

    python -m tests.chaos.meshes --kills 100 [--seed N] [--postgres]

A visit may begin again only where the worker that made it was killed; every path must be whole.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos import mazes, roles
from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet, Forge, chance, fresh_seed, wait_for
from tests.chaos.witness import Record

WORKERS = 2
IN_FLIGHT = 8
DIGGERS = {"team_ann", "team_ben"}


@dataclass(frozen=True)
class Verdict:
    """How a run went."""

    jobs: int
    kills: int
    taken_over: int
    """Jobs with more than one attempt."""
    wrong: list[str]


def havoc(folder: Path, url: str, *, kills: int, seed: int, forge: Forge | None = None) -> Verdict:
    """Run meshes while workers are killed, then let all come to an end."""
    dice, killed, jobs = chance(seed), set[int](), dict[str, Any]()
    graphs = folder / "graphs"
    graphs.mkdir(parents=True)
    (graphs / "team.yaml").write_text(mazes.TEAM)
    with (
        Fleet(folder, url, nap=0.03, forge=forge, sweep=0.1, poll=0.02) as fleet,
        roles.open_engine(folder, url, worker=False) as engine,
        Auditor(url) as auditor,
    ):
        workers = [fleet.worker() for _ in range(WORKERS)]
        while len(killed) < kills:
            for _ in range(IN_FLIGHT - len(auditor.unsettled())):
                name = f"j{len(jobs)}"
                jobs[name] = engine.submit("team", {"name": name})
            time.sleep(dice.uniform(0.05, 0.6))
            index = dice.randrange(WORKERS)
            workers[index].kill()
            killed.add(workers[index].pid)
            workers[index] = fleet.worker()
        wait_for(auditor.settled, "the jobs to end", fleet.logs, timeout=120)
        found = {name: job.get() for name, job in jobs.items()}
        wrong = [why for name, job in found.items() for why in wrong_with(name, job)]
        wrong += repeated(fleet.records(), killed)
    attempts = [job.attempt for job in found.values()]
    return Verdict(len(jobs), len(killed), sum(number > 1 for number in attempts), wrong)


def wrong_with(name: str, job: Any) -> list[str]:
    """What is not as it must be in a job that ended."""
    if job.status != "completed":
        return [f"{name}: {job.status}: {job.error}"]
    parts, path = mazes.TEAM_PARTS, job.output["path"]
    askers: list[tuple[str | None, str]] = [(None, "team_lead")]
    for _ in range(parts):
        askers += [("team_lead", "dig"), ("dig", "team_scale")]
    shown = [(_role(hop["asker"]), _role(hop["agent"])) for hop in path]
    wrong = []
    if job.output["answer"] != sum(part + 1 for part in range(parts)):
        wrong.append(f"{name}: answered {job.output['answer']}")
    if shown != askers or any(hop["outcome"] != "answered" for hop in path):
        wrong.append(f"{name}: the path is {path}")
    if [hop["hop"] for hop in path] != list(range(1, len(path) + 1)):
        wrong.append(f"{name}: the hops are not counted: {path}")
    return wrong


def _role(agent: str | None) -> str | None:
    return "dig" if agent in DIGGERS else agent


def repeated(records: Sequence[Record], killed: set[int]) -> list[str]:
    """Visits that began again although the worker of the one before lived on."""
    begun: dict[tuple[str, str], list[int]] = defaultdict(list)
    for record in records:
        if record.what == "begin":
            begun[(record.name, record.label)].append(record.pid)
    return [
        f"{name}: {label} began in {pids}"
        for (name, label), pids in begun.items()
        if not set(pids[:-1]) <= killed
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.meshes", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-meshes-"))
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            verdict = havoc(folder, server.fresh(), kills=given.kills, seed=seed)
    else:
        verdict = havoc(folder, f"sqlite:///{folder}/ucop.db", kills=given.kills, seed=seed)
    print(verdict)
    if not verdict.wrong:
        shutil.rmtree(folder)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
