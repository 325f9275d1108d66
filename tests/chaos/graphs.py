"""Random graphs in YAML, run while their workers are killed.

    python -m tests.chaos.graphs --kills 200 [--seed N] [--postgres]

The graphs are those of tests/support/shapes.py: forks with branches not taken and of different
lengths, joins, nodes that fail and go on, loops inside loops, workflows inside. Each job's runs, as
its nodes told the witness, must be what an independent reading of the rules allows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.chaos import roles
from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet, Forge, Process, fresh_seed, wait_for
from tests.chaos.mazes import registry
from tests.chaos.witness import Record
from tests.support.shapes import REFUSED_BY_DESIGN, Reading, Shape, is_bounded, shapes
from ucop.agents.errors import InvalidDefinition
from ucop.agents.text.source import read_yaml
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

GRAPHS = 30
"""Different graphs in a run; each is run by several jobs."""
LEAST_NODES = 5
WORKERS = 2
IN_FLIGHT = 8


@dataclass
class Graph(Shape):
    """A random graph as files of a project: its nodes are told what to answer."""

    def work(self, node: str) -> str:
        given = f"with: {{answers: {self.answers[node]}}}"
        if node in self.nested:
            return f"workflow: {self.name}_{node}, {given}"
        return f"agent: graph_step, {given}"

    def inner(self, node: str) -> str:
        return (
            f"name: {self.name}_{node}\ninput: {{answers: array}}\n"
            f"nodes: {{{node}: {{agent: graph_step, with: {{answers: '${{answers}}'}}, writes: x}}}}\n"
            "output: ${x}\n"
        )

    def files(self) -> Iterator[tuple[str, str]]:
        yield f"{self.name}.yaml", self.text()
        for node in sorted(self.nested):
            yield f"{self.name}_{node}.yaml", self.inner(node)

    def is_accepted(self) -> bool:
        """Whether the check takes it. Raises what it finds wrong that is not so by design."""
        known = registry()

        def inner(name: str) -> YamlWorkflow:
            text = self.inner(name.removeprefix(f"{self.name}_"))
            return workflow_of(read_yaml(text, name), known)

        try:
            workflow_of(read_yaml(self.text(), self.name), known, inner)
        except InvalidDefinition as error:
            if {finding.code for finding in error.findings} <= REFUSED_BY_DESIGN:
                return False
            raise
        return True


def random_graphs(count: int, number: int) -> list[Graph]:
    """The same graphs for the same number."""
    found: list[Graph] = []

    @seed(number)
    @settings(
        max_examples=50 * count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(shape=shapes())
    def collect(shape: Shape) -> None:
        if len(found) < count and len(shape.nodes) >= LEAST_NODES and is_bounded(shape):
            graph = Graph(**{**vars(shape), "name": f"g{len(found)}"})
            if graph.is_accepted():
                found.append(graph)

    collect()
    return found


@dataclass
class Tally:
    """What happened, for the summary."""

    kills: int = 0
    kills_amid_nodes: int = 0
    poisoned: int = 0
    ended_by_themselves: list[str] = field(default_factory=list)
    graphs: dict[str, Graph] = field(default_factory=dict)
    """By job."""


@dataclass(frozen=True)
class Verdict:
    """How a run went."""

    wrong: Sequence[str]
    summary: dict[str, Any]

    def __str__(self) -> str:
        return "\n".join([json.dumps(self.summary), *self.wrong[:5]])


class Rampage:
    """One run: workers, jobs of random graphs, and a killer."""

    def __init__(
        self, fleet: Fleet, engine: Any, auditor: Auditor, graphs: Sequence[Graph], chance: Random
    ) -> None:
        self._fleet, self._engine, self._auditor = fleet, engine, auditor
        self._graphs, self._chance = graphs, chance
        self._tally = Tally()
        self._workers: list[Process] = []

    def run(self, kills: int) -> Verdict:
        self._workers = [self._fleet.worker() for _ in range(WORKERS)]
        while self._tally.kills < kills:
            self._submit()
            self._let_run(self._chance.randrange(60))
            self._kill(self._chance.randrange(WORKERS))
        wait_for(self._is_settled, "the jobs to settle", self._fleet.logs, timeout=180)
        return self._verdict()

    def _submit(self) -> None:
        for _ in range(IN_FLIGHT - len(self._auditor.unsettled())):
            graph = self._graphs[len(self._tally.graphs) % len(self._graphs)]
            self._tally.graphs[self._engine.submit(graph.name, {}).id] = graph

    def _let_run(self, visits: int) -> None:
        """Wait for so many more beginnings and ends of nodes, or for the jobs' end."""
        mark = self._fleet.witness.size
        wait_for(
            lambda: len(self._fleet.records(mark)) >= visits or not self._auditor.unsettled(),
            "nodes to run",
            self._fleet.logs,
        )

    def _kill(self, number: int) -> None:
        worker = self._workers[number]
        if not worker.kill():
            self._tally.ended_by_themselves.append(f"{worker.status}\n{worker.log}")
        self._tally.kills += 1
        self._tally.kills_amid_nodes += bool(_open(self._fleet.records(), worker.pid))
        # Not always waited for: a kill may well meet a worker that only just starts.
        self._workers[number] = self._fleet.worker(ready=self._chance.random() < 0.8)

    def _is_settled(self) -> bool:
        for row in self._auditor.rows("select id, error from jobs where status = 'failed'"):
            if json.loads(row["error"])["type"] == "PoisonJob":
                # Workers in a row were shot before they saved a thing: a person lets it go on.
                self._tally.poisoned += 1
                self._engine.job(row["id"]).resume()
        return self._auditor.settled()

    def _verdict(self) -> Verdict:
        tally, records = self._tally, self._fleet.records()
        wrong = [f"ended by itself: {told}" for told in tally.ended_by_themselves]
        for job, graph in tally.graphs.items():
            if (found := self._wrong_with(job, graph, records)) is not None:
                wrong.append(f"job {job}: {found}\n{graph.text()}")
        summary = {
            "database": "postgresql" if self._auditor.is_postgres else "sqlite",
            "kills": tally.kills,
            "kills_amid_nodes": tally.kills_amid_nodes,
            "graphs": len(self._graphs),
            "jobs": len(tally.graphs),
            "nodes_run": len({(r.name, r.label) for r in records if r.what == "end"}),
            "nodes_run_again": _repeats(records),
            "poisoned_and_resumed": tally.poisoned,
            "wrong": len(wrong),
        }
        return Verdict(wrong, summary)

    def _wrong_with(self, job: str, graph: Graph, records: Sequence[Record]) -> str | None:
        (row,) = self._auditor.rows("select status, error from jobs where id = ?", job)
        if row["status"] != "completed":
            return f"{row['status']}: {row['error']}"
        open_steps = self._auditor.rows(
            "select node, status from steps where job_id = ? and status in ('running', 'pending')",
            job,
        )
        if open_steps:
            return f"open steps {open_steps}"
        return wrong_order(graph, _ended(records, job))


def wrong_order(graph: Graph, nodes: Sequence[str]) -> str | None:
    """What is wrong with the order in which nodes of a graph ended; None for nothing."""
    reading = Reading(graph)
    try:
        for node in nodes:
            reading.ran(node)
    except AssertionError as error:
        return f"{error} in {list(nodes)}"
    return f"never ran: {reading.left()}" if reading.left() else None


def _ended(records: Sequence[Record], job: str) -> list[str]:
    """The nodes of a job in the order in which they ended for the last time."""
    ended: dict[str, str] = {}
    for record in records:
        if record.what == "end" and record.name == job:
            node, _, key = record.label.partition(" ")
            ended.pop(key, None)
            ended[key] = node
    return list(ended.values())


def _open(records: Sequence[Record], pid: int) -> set[str]:
    """What ran in a process when it was killed."""
    found: set[str] = set()
    for record in records:
        if record.pid == pid and record.what == "begin":
            found.add(record.label)
        elif record.pid == pid:
            found.discard(record.label)
    return found


def _repeats(records: Sequence[Record]) -> int:
    began = Counter((record.name, record.label) for record in records if record.what == "begin")
    return began.total() - len(began)


def rampage(
    folder: Path,
    url: str,
    *,
    kills: int,
    seed: int,
    forge: Forge | None = None,
    graphs: int = GRAPHS,
) -> Verdict:
    """Run random graphs on a fresh database while their workers are killed, and judge."""
    drawn = random_graphs(graphs, seed)
    (folder / "graphs").mkdir(parents=True)
    for name, text in (file for graph in drawn for file in graph.files()):
        (folder / "graphs" / name).write_text(text)
    with (
        Fleet(folder, url, forge=forge, nap=0.02) as fleet,
        roles.open_engine(folder, url, worker=False) as engine,
        Auditor(url) as auditor,
    ):
        return Rampage(fleet, engine, auditor, drawn, Random(seed)).run(kills)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    number = fresh_seed() if given.seed is None else given.seed
    print(f"seed {number}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-graphs-"))
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            verdict = rampage(folder, server.fresh(), kills=given.kills, seed=number)
    else:
        verdict = rampage(folder, f"sqlite:///{folder / 'ucop.db'}", kills=given.kills, seed=number)
    print(verdict)
    if verdict.wrong:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
