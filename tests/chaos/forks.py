"""Forks of random graphs from random checkpoints: the parent stays as it is, to the byte.

    python -m tests.chaos.forks --forks 500 [--seed N] [--postgres]

The graphs are those of tests/support/shapes.py, with nodes that answer the same in each run. Jobs
run to their end; then they, and the forks that have ended, are forked at random checkpoints, or
where they stand. All rows of a parent (job, attempts, steps, events, questions, checkpoints, writes
and blobs, of workflows inside too) must hash the same before and after, and a fork that changes
nothing must give what its parent gave. Prints the seed first and a JSON summary last; exits with 1
where anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.fleet import fresh_seed
from tests.chaos.graphs import Graph, random_graphs
from tests.support.ledger_rows import LedgerRows
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Engine, JobHandle, Settings
from ucop.graphs.workflows.catalog import Catalog

GRAPHS = 25
AT_ONCE = 10
"""Forks that run at the same time."""
DEADLINE = 120.0


@agent("graph_step", description="Gives the first of its answers, or fails.")
def graph_step(answers: list[int]) -> int:
    if answers[0] < 0:
        raise ValueError("is told to fail")
    return answers[0]


@dataclass(frozen=True)
class Verdict:
    wrong: Sequence[str]
    summary: dict[str, Any]

    def __str__(self) -> str:
        return "\n".join([json.dumps(self.summary), *self.wrong[:5]])


class Branching:
    """One run: parents, and forks of them and of each other."""

    def __init__(self, engine: Engine, rows: LedgerRows, chance: Random) -> None:
        self._engine, self._rows, self._chance = engine, rows, chance
        self._ended: list[tuple[JobHandle, Any]] = []
        """Jobs, and what they gave."""
        self._wrong: list[str] = []
        self._count: Counter[str] = Counter()

    def run(self, graphs: Sequence[Graph], forks: int) -> Verdict:
        jobs = [self._engine.submit(graph.name, {}) for graph in graphs]
        self._ended = [(job, job.result(DEADLINE)) for job in jobs]
        while self._count["forks"] < forks:
            self._fork(min(AT_ONCE, forks - self._count["forks"]))
        summary = {
            "database": "postgresql" if self._rows.is_postgres else "sqlite",
            "graphs": len(graphs),
            **self._count,
            "wrong": len(self._wrong),
        }
        return Verdict(self._wrong, summary)

    def _fork(self, count: int) -> None:
        parents = self._chance.choices(self._ended, k=count)
        before = {job.id: self._hash(job.id) for job, _ in parents}
        made = [(job, self._forked(job), output) for job, output in parents]
        for job, (fork, checkpoint), output in made:
            fork.wait(DEADLINE)
            given = fork.get()
            if given.output != output:
                at = f"{given.workflow}, {job.id} at {checkpoint}"
                self._wrong.append(f"{at}: {given.status} {given.output}, not {output}")
            self._ended.append((fork, output))
        for id, known in before.items():
            self._count["parents_hashed"] += 1
            if self._hash(id) != known:
                self._wrong.append(f"{id} was changed by its forks")

    def _forked(self, job: JobHandle) -> tuple[JobHandle, str]:
        checkpoint = self._chance.choice(job.checkpoints())
        self._count["forks"] += 1
        self._count["forks_of_forks"] += job.get().parent is not None
        if self._chance.random() < 0.1:
            self._count["where_it_stands"] += 1
            return job.fork(), "its end"
        return job.fork(checkpoint.id), checkpoint.id

    def _hash(self, job: str) -> str:
        rows = self._rows.of([job])[job]
        assert rows["jobs"]
        assert rows["checkpoints"]
        return hashlib.sha256(repr(rows).encode()).hexdigest()


def branching(folder: Path, url: str, *, forks: int, seed: int, graphs: int = GRAPHS) -> Verdict:
    """Fork jobs of random graphs on a fresh database, and judge."""
    drawn = random_graphs(graphs, seed)
    (folder / "graphs").mkdir(parents=True)
    for graph in drawn:
        graph.answers = {node: answers[:1] for node, answers in graph.answers.items()}
        for name, text in graph.files():
            (folder / "graphs" / name).write_text(text)
    registry = Registry.of(graph_step)
    settings = Settings.load(folder, database=url, poll=0.05, embedded=False)
    catalog = Catalog(folder, ["graphs/*.yaml"], registry)
    with Engine(settings=settings, catalog=catalog, registry=registry) as engine:
        rows = LedgerRows(url)
        try:
            return Branching(engine, rows, Random(seed)).run(drawn, forks)
        finally:
            rows.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--forks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-forks-"))
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            verdict = branching(folder, server.fresh(), forks=given.forks, seed=seed)
    else:
        verdict = branching(folder, f"sqlite:///{folder / 'ucop.db'}", forks=given.forks, seed=seed)
    print(verdict)
    if verdict.wrong:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
