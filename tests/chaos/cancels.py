"""Cancel and pause of jobs whose models hang, from another process than the one that works.

    python -m tests.chaos.cancels --tries 200 --pauses 50 [--seed N] [--postgres]

The worker is a process of its own; the endpoint is scripted, and is in this process, which also
asks for the cancel or pause. Several jobs are in flight, each with a fan-out. Measured: the time
from the call of `cancel` to the moment when the endpoint has seen the last of the job's connections
close, and the model calls that begin after that, or after a job is paused. Prints the seed first
and a JSON summary last; exits with 1 where the 99th percentile is above 2 s, or a call began.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos import roles
from tests.chaos.audit import Auditor
from tests.chaos.fleet import Fleet, Forge, fresh_seed
from tests.support.ollama import Reply, Request, ScriptedOllama, hang, text
from tests.support.waiting import until
from ucop.engine.errors import RefusedChange

IN_FLIGHT = 5
ITEMS = 8
LIMIT = 3
"""Items of a fan-out that ask at the same time."""
MOST = 2.0
"""Seconds that a cancel may take, at the 99th percentile."""
RIGHT = {"all": [f"i{number}" for number in range(ITEMS)], "final": "last"}
LATER = 0.5
"""Seconds in which a call that should not begin would have begun: several polls."""

FLOW = f"""\
name: asking
input: {{name: string, items: {{type: array, items: string}}}}
nodes:
  one: {{agent: asker, with: {{text: "${{name}} one"}}, writes: first}}
  many:
    agent: asker
    each: "${{items}}"
    limit: {LIMIT}
    with: {{text: "${{name}} ${{item}}"}}
    writes: all
  last: {{agent: asker, with: {{text: "${{name}} last"}}, writes: final}}
edges: [START -> one -> many -> last -> END]
agents:
  asker: {{prompt: "${{text}}", input: {{text: string}}}}
output: {{all: "${{all}}", final: "${{final}}"}}
"""


class Endpoint(ScriptedOllama):
    """Says the last word of what it is asked, or hangs where it is told to."""

    def __init__(self) -> None:
        self.hanging: dict[str, dict[str, Reply]] = {}
        """By job and word."""
        self.asked: list[tuple[str, str, float]] = []
        """Job, word and moment (time.monotonic) of each call."""
        self._lock = threading.Lock()
        super().__init__(self._reply)

    def _reply(self, request: Request) -> Reply:
        job, word = _said(request)
        with self._lock:
            self.asked.append((job, word, time.monotonic()))
        return self.hanging.get(job, {}).get(word) or text(word, delay=0.05)

    def calls_of(self, job: str, after: float = 0.0) -> list[str]:
        return [word for name, word, at in list(self.asked) if name == job and at > after]

    def hung_up(self, job: str) -> list[float]:
        return [at for request, at in list(self.left) if _said(request)[0] == job]


def _said(request: Request) -> tuple[str, str]:
    job, _, word = str(request["messages"][-1]["content"]).partition(" ")
    return job, word


@dataclass
class Tally:
    took: list[float] = field(default_factory=list)
    """Seconds from each cancel to its last hang-up."""
    cancelled: dict[str, float] = field(default_factory=dict)
    """When the last call of each cancelled job had ended."""
    wrong: list[str] = field(default_factory=list)
    later: list[str] = field(default_factory=list)
    """Calls that began when none should."""
    paused: list[float] = field(default_factory=list)
    """Seconds until each pause was acknowledged."""


@dataclass(frozen=True)
class Verdict:
    tally: Tally
    summary: dict[str, Any]

    @property
    def violations(self) -> int:
        return len(self.tally.wrong) + len(self.tally.later)

    @property
    def is_slow(self) -> bool:
        return bool(self.tally.took) and _percentile(self.tally.took, 99) > MOST

    def __str__(self) -> str:
        shown = [*self.tally.wrong[:5], *self.tally.later[:5]]
        return "\n".join([json.dumps(self.summary), *shown])


class Trial:
    """One run: a worker, an endpoint, and a person who changes their mind."""

    def __init__(
        self, fleet: Fleet, engine: Any, auditor: Auditor, endpoint: Endpoint, chance: Random
    ) -> None:
        self._fleet, self._engine, self._auditor = fleet, engine, auditor
        self._endpoint, self._chance = endpoint, chance
        self._tally = Tally()
        self._number = 0
        self._flying: dict[str, tuple[Any, int]] = {}
        """Jobs by name, and how many of their calls hang."""

    def run(self, tries: int, pauses: int) -> Verdict:
        self._fleet.worker(ollama_host=self._endpoint.url, poll=0.1)
        for _ in range(tries):
            self._fill()
            self._cancel(self._chance.choice(sorted(self._flying)))
        for job, _ in self._flying.values():
            job.cancel()
        for number in range(pauses):
            self._pause(at_once=number % 2 == 1)
        return self._verdict()

    # ------------------------------------------------------------ cancel

    def _fill(self) -> None:
        while len(self._flying) < IN_FLIGHT:
            name = self._name()
            stuck = hang(after=self._chance.choice([-1, 0, 2]))
            if self._chance.random() < 0.4:
                words, hangs = ["one"], 1
            else:  # amid a fan-out: some of it is done, and more is to come
                words = self._chance.sample([f"i{n}" for n in range(ITEMS)], LIMIT)
                hangs = LIMIT
            self._endpoint.hanging[name] = dict.fromkeys(words, stuck)
            self._flying[name] = (self._submit(name), hangs)

    def _cancel(self, name: str) -> None:
        job, hangs = self._flying.pop(name)
        stuck = self._endpoint.hanging[name]
        until(
            lambda: len(set(self._endpoint.calls_of(name)) & set(stuck)) == hangs,
            "a job's calls to hang",
            self._fleet.logs,
        )
        time.sleep(self._chance.uniform(0, 0.15))
        began = time.monotonic()
        job.cancel()
        until(
            lambda: len(self._endpoint.hung_up(name)) >= hangs,
            f"the endpoint to see the end of {hangs} calls",
            self._fleet.logs,
        )
        ended = max(self._endpoint.hung_up(name))
        self._tally.took.append(ended - began)
        self._tally.cancelled[name] = ended
        if job.status != "cancelled":
            self._tally.wrong.append(f"{job.id} is {job.status}, not cancelled")

    # ------------------------------------------------------------ pause

    def _pause(self, *, at_once: bool) -> None:
        """Pause several jobs whose fan-outs are under way; later they go on to their end."""
        jobs = {name: self._submit(name) for name in (self._name() for _ in range(IN_FLIGHT))}
        paused: dict[str, float] = {}
        for name, job in jobs.items():
            self._wait_for_calls(name, self._chance.randint(1, ITEMS))
            began = time.monotonic()
            try:
                job.pause(now=at_once)
            except RefusedChange:  # it was faster
                continue
            if job.wait(60) == "paused":
                paused[name] = time.monotonic()
                self._tally.paused.append(paused[name] - began)
        time.sleep(LATER)
        for name, since in paused.items():
            self._tally.later += [f"{name} {w}" for w in self._endpoint.calls_of(name, since)]
            jobs[name].resume()
        for job in jobs.values():
            if job.result(60) != RIGHT:
                self._tally.wrong.append(f"{job.id} gave {job.get().output}")

    # ------------------------------------------------------------ parts

    def _wait_for_calls(self, name: str, calls: int) -> None:
        until(
            lambda: len(self._endpoint.calls_of(name)) >= calls,
            f"{calls} calls",
            self._fleet.logs,
        )

    def _name(self) -> str:
        self._number += 1
        return f"j{self._number}"

    def _submit(self, name: str) -> Any:
        items = [f"i{number}" for number in range(ITEMS)]
        return self._engine.submit("asking", {"name": name, "items": items})

    def _verdict(self) -> Verdict:
        tally = self._tally
        time.sleep(LATER)
        for name, since in tally.cancelled.items():
            tally.later += [f"{name} {word}" for word in self._endpoint.calls_of(name, since)]
        tally.wrong += list(_left_open(self._auditor))
        summary = {
            "database": "postgresql" if self._auditor.is_postgres else "sqlite",
            "cancels": len(tally.took),
            "seconds_to_hang_up": _spread(tally.took),
            "pauses": len(tally.paused),
            "seconds_to_pause": _spread(tally.paused),
            "calls": self._endpoint.calls,
            "calls_that_began_later": len(tally.later),
            "wrong": len(tally.wrong),
        }
        return Verdict(tally, summary)


def _left_open(auditor: Auditor) -> Iterator[str]:
    """What a job that was cancelled must not have."""
    jobs = auditor.rows("select id, seq from jobs where status = 'cancelled'")
    for job in jobs:
        events = auditor.rows(
            "select seq, type from events where job_id = ? order by seq", job["id"]
        )
        if [event["seq"] for event in events] != list(range(1, job["seq"] + 1)):
            yield f"{job['id']}: event numbers with gaps"
        if events[-1]["type"] != "job.cancelled":
            yield f"{job['id']}: {events[-1]['type']} after its cancel"
        if auditor.rows(
            "select 1 as one from steps where job_id = ? and status = 'running'", job["id"]
        ):
            yield f"{job['id']}: steps that run for ever"


def _percentile(seconds: Sequence[float], percent: int) -> float:
    return sorted(seconds)[min(len(seconds) * percent // 100, len(seconds) - 1)]


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    named = {"p50": 50, "p99": 99, "max": 100}
    return {name: round(_percentile(seconds, percent), 3) for name, percent in named.items()}


def trial(
    folder: Path, url: str, *, tries: int, pauses: int, seed: int, forge: Forge | None = None
) -> Verdict:
    """Cancel and pause jobs of a fresh database, and judge."""
    (folder / "graphs").mkdir(parents=True)
    (folder / "graphs" / "asking.yaml").write_text(FLOW)
    with (
        Endpoint() as endpoint,
        Fleet(folder, url, forge=forge) as fleet,
        roles.open_engine(folder, url, worker=False) as engine,
        Auditor(url) as auditor,
    ):
        return Trial(fleet, engine, auditor, endpoint, Random(seed)).run(tries, pauses)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tries", type=int, default=200)
    parser.add_argument("--pauses", type=int, default=20, help=f"each of {IN_FLIGHT} jobs")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-cancels-"))
    much = {"tries": given.tries, "pauses": given.pauses, "seed": seed}
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            verdict = trial(folder, server.fresh(), **much)
    else:
        verdict = trial(folder, f"sqlite:///{folder / 'ucop.db'}", **much)
    print(verdict)
    if verdict.violations or verdict.is_slow:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
