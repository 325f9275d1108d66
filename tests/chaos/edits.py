"""Forks, edits, restores, retries, pruned and carried jobs of random graphs, judged by a reading.

    python -m tests.chaos.edits --jobs 1000 [--seed N] [--postgres]

The graphs are those of tests/support/shapes.py (YAML) and tests/support/weaves.py (Python). A job runs
to its end, or fails where its graph is told to. Then it, or what came of it, is forked, set back,
edited, edited again on top of the edit, retried, pruned, and carried through a file, at random. The
readings, in plain Python, follow each checkpoint that is made, and must allow it; at the end nothing
may be due, each node on the way has run just as often as they say, and the output is theirs. An edit
that writes what is there already must lead where the parent went. Rows of a parent are hashed before
and after. Prints the seed first and a JSON summary last; exits with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from time import sleep, time_ns
from typing import Any

from langgraph.checkpoint.base import id as checkpoint_ids

from tests.chaos.fleet import fresh_seed
from tests.chaos.graphs import random_graphs
from tests.chaos.readings import Drawn, Kind, NotAllowed, Place, Woven, graph_step, told
from tests.support import weaves
from tests.support.ledger_rows import LedgerRows
from tests.support.weaves import BROKEN
from ucop.agents.spec.registry import Registry
from ucop.engine import Checkpoint, Engine, JobHandle, Settings
from ucop.engine.errors import InvalidInput, RefusedChange
from ucop.graphs.workflows.catalog import Catalog

GRAPHS = 12
"""Of each kind."""
DEADLINE = 120.0
PAUSED_WITHIN = 0.05
"""Seconds in which a run may be asked to pause."""
RESTS = ("failed", "paused")
MOST_CHANGES = 14
"""Things done to what came of one job."""


# ---------------------------------------------------------------- one job and what came of it


@dataclass
class Thread:
    """A job, and what each of its checkpoints must hold."""

    kind: Kind
    job: JobHandle
    engine: Engine
    moments: dict[str, Any]
    stands: Any
    """The moment it goes on from."""
    ran: Counter[str] = field(default_factory=Counter)
    """How often its nodes have run in it."""
    spared: Counter[str] = field(default_factory=Counter)
    """What had run in those that it came from, after the checkpoint at which it began."""


class Judge:
    """Follows what jobs do."""

    def __init__(self, chance: Random, answers: bool = True) -> None:
        self.chance = chance
        self.wrong: list[str] = []
        self.count: Counter[str] = Counter()

    def follow(self, thread: Thread, what: str) -> bool:
        """Wait until a job rests, and see whether it went as it must. False where not."""
        job, kind = thread.job, thread.kind
        status = self.answered(thread)
        try:
            at = thread.stands
            due: Counter[str] = Counter()
            for made in reversed(job.checkpoints()):
                if made.id not in thread.moments:
                    at = self._made(thread, at, made)
                    due.update(made.nodes)
                    thread.moments[made.id] = at
            thread.stands = at
            self._check(thread, status, at, due)
        except NotAllowed as error:
            story = [(c.id[:13], c.step, c.nodes, c.next) for c in reversed(job.checkpoints())]
            self.wrong.append(f"{kind.name} {job.id} {what}: {error} {story}")
            return False
        return True

    def answered(self, thread: Thread) -> str:
        """The job's status, once it waits for nobody."""
        job, says = thread.job, "yes" if isinstance(thread.kind, Woven) else {"yes": True}
        while (status := job.wait(DEADLINE)) == "waiting":
            open_ = job.questions()
            job.answer(says, question=self.chance.choice(open_).id)
            self.count["answers"] += 1
        return status

    def _made(self, thread: Thread, at: Any, made: Checkpoint) -> Any:
        if isinstance(thread.kind, Woven) and at.input is not None:
            if made.nodes:
                raise NotAllowed(f"{made.nodes} ran before the input was taken in")
            return weaves.Reading(thread.kind.weave).after(at)
        if not made.nodes:  # by what decides where to begin, or waits: no node's own
            return replace(at, before=None, ran=()) if isinstance(at, Place) else at
        return thread.kind.follow(at, made.nodes)

    def _check(self, thread: Thread, status: str, at: Any, due: Counter[str]) -> None:
        kind, job = thread.kind, thread.job
        ran = kind.runs(job.steps())
        if status == "paused" or (status == "failed" and self.is_broken(kind)):
            # Siblings of the node that raised may have ended: they count once they are saved.
            thread.ran = ran
            return
        if status != "completed":
            raise NotAllowed(f"{status}: {job.get().error}")
        if left := kind.left(at):
            raise NotAllowed(f"completed although {left} were due")
        if (given := kind.given(job.get().output)) != kind.output(at):
            raise NotAllowed(f"gave {given}, not {kind.output(at)}")
        if ran - thread.ran - due or due - (ran - thread.ran) - thread.ran - thread.spared:
            raise NotAllowed(f"ran {dict(ran - thread.ran)}, and its states say {dict(due)}")
        thread.ran = ran

    def is_broken(self, kind: Kind) -> bool:
        return kind.name in BROKEN


class Clock:
    """What gives the ids of checkpoints their time: each time another machine's, which may be
    behind, and which has given none yet."""

    def __init__(self) -> None:
        self.behind = 0

    def time_ns(self) -> int:
        return time_ns() - self.behind

    def change(self, seconds: int) -> None:
        self.behind = seconds * 10**9
        checkpoint_ids._last_v6_timestamp = None

    def __enter__(self) -> Clock:
        vars(checkpoint_ids)["time"] = self
        return self

    def __exit__(self, *_: object) -> None:
        vars(checkpoint_ids)["time"] = time


class Changes:
    """One run: jobs, one after the other, and what is done to each."""

    def __init__(
        self,
        engines: Sequence[tuple[Engine, LedgerRows]],
        kinds: Sequence[Kind],
        folder: Path,
        chance: Random,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._engines, self._kinds, self._folder = engines, kinds, folder
        self._chance = chance
        self._judge = Judge(chance)
        self._files = 0

    def run(self, jobs: int) -> Verdict:
        count = self._judge.count
        while count["jobs"] < jobs:
            self._life(self._chance.choice(self._kinds), jobs)
        summary = {
            "databases": ["postgresql" if r.is_postgres else "sqlite" for _, r in self._engines],
            "graphs": len(self._kinds),
            **dict(sorted(count.items())),
            "wrong": len(self._judge.wrong),
        }
        return Verdict(self._judge.wrong, summary)

    # ------------------------------------------------------------ a life

    def _life(self, kind: Kind, jobs: int) -> None:
        chance, (engine, _) = self._chance, self._engines[0]
        shared, earlier = None, None
        known: list[Thread] = []
        saved: dict[str, Any] = {}
        """What its thread holds of the jobs before."""
        for _ in range(chance.choice([1, 1, 2, 3])):
            broken = chance.random() < 0.6
            (BROKEN.add if broken else BROKEN.discard)(kind.name)
            input = kind.input(chance)
            job = engine.submit(kind.name, input, thread_id=shared)
            self._judge.count["jobs"] += 1
            thread = Thread(kind, job, engine, dict(saved), kind.begin(input, earlier))
            self._maybe_paused(thread)
            self._first(thread)
            if not self._judge.follow(thread, "submitted"):
                return
            known.append(thread)
            first = thread
            for _ in range(chance.randrange(MOST_CHANGES)):
                if self._judge.count["jobs"] >= jobs:
                    break
                resting = [each for each in known if each.job.status in RESTS]
                thread = chance.choice(resting if resting and chance.random() < 0.7 else known)
                if made := self._changed(thread):
                    known.append(made)
            if first.job.status != "completed":
                return
            shared = first.job.get().thread_id
            earlier, saved = first.stands, first.moments

    def _first(self, thread: Thread) -> None:
        """The checkpoint of the input is made by nothing."""
        self._judge.answered(thread)
        saved = thread.job.checkpoints()
        if saved:
            thread.moments[saved[-1].id] = thread.stands

    def _changed(self, thread: Thread) -> Thread | None:
        if self._chance.random() < 0.5:
            self._clock.change(self._chance.choice([0, 1, 3600]))
        does: list[Callable[[Thread], Thread | None]] = [self._fork, self._fork, self._fork]
        if thread.job.status in RESTS:
            does += [self._retry, self._resume, self._restore, self._restore, self._standing]
        does += [self._prune, self._carry]
        return self._chance.choice(does)(thread)

    def _maybe_paused(self, thread: Thread) -> None:
        """A pause at some moment, where it is not too late."""
        if self._chance.random() < 0.3:
            sleep(self._chance.random() * PAUSED_WITHIN)
            with suppress(RefusedChange):
                thread.job.pause()
                self._judge.count["pauses"] += 1

    def _broken(self, kind: Kind) -> None:
        (BROKEN.add if self._chance.random() < 0.5 else BROKEN.discard)(kind.name)

    def _picked(self, thread: Thread) -> Checkpoint | None:
        saved = [c for c in thread.job.checkpoints() if c.id in thread.moments]
        return self._chance.choice(saved) if saved else None

    # ------------------------------------------------------------ what is done

    def _fork(self, thread: Thread) -> Thread | None:
        at = self._picked(thread)
        if at is None:
            return None
        self._broken(thread.kind)
        rows = dict(self._engines)[thread.engine]
        before = _hash(rows, thread.job)
        moment, edit, node, same = self._edit(thread, at, self._chance.random() < 0.7)
        self._judge.count["jobs"] += 1
        self._judge.count["edits" if edit else "forks"] += 1
        self._judge.count["edits that change nothing"] += bool(edit and same)
        try:
            job = thread.job.fork(at.id, replace=edit, as_node=node)
        except InvalidInput as error:
            self._refused(thread, error)
            return None
        moments = dict(thread.moments)
        made = Thread(thread.kind, job, thread.engine, moments, moment)
        self._maybe_paused(made)
        self._forked(made, edit)
        what = f"forked at {at.id[:13]} {at.nodes} with {edit} as {node} of {thread.job.id}"
        good = self._judge.follow(made, what)
        if _hash(rows, thread.job) != before:
            self._judge.wrong.append(f"{thread.job.id} was changed by its fork {job.id}")
        return made if good else None

    def _standing(self, thread: Thread) -> Thread | None:
        """A fork of where a job stands, with what nodes have finished since."""
        if not thread.job.checkpoints():
            return None
        self._broken(thread.kind)
        self._judge.count["jobs"] += 1
        self._judge.count["forks of where it stands"] += 1
        made = Thread(
            thread.kind,
            thread.job.fork(),
            thread.engine,
            dict(thread.moments),
            thread.stands,
            spared=thread.spared + thread.kind.runs(thread.job.steps()),
        )
        return made if self._judge.follow(made, f"forked as {thread.job.id} stands") else None

    def _forked(self, made: Thread, edit: Mapping[str, Any]) -> None:
        """The checkpoint that an edit made is followed by what it leads to."""
        self._judge.answered(made)
        if edit:
            saved = reversed(made.job.checkpoints())
            new = next((c for c in saved if c.id not in made.moments), None)
            if new is not None:
                made.moments[new.id] = made.stands

    def _edit(
        self, thread: Thread, at: Checkpoint, wanted: bool
    ) -> tuple[Any, dict[str, Any], str | None, bool]:
        """A checkpoint's moment with an edit, what that writes and as which node."""
        # A moment is of its own kind of graph.
        kind: Any = thread.kind
        moment = thread.moments[at.id]
        # What made it is not known where that was pruned; see docs/jobs.md.
        before = at.parent_id is None or at.parent_id in {c.id for c in thread.job.checkpoints()}
        if not wanted or not before:
            return moment, {}, None, True
        node = self._chance.choice(kind.writers(moment))
        same = self._chance.random() < 0.4
        edit = kind.edit(moment, node, self._chance, same)
        if not edit:
            return moment, {}, None, True
        found = kind.edited(moment, node, edit)
        if same and kind.left(found) != kind.left(moment):
            raise AssertionError("by its own reading an edit that changes nothing changes the way")
        return found, edit, node, same

    def _refused(self, thread: Thread, error: Exception) -> None:
        self._judge.count["refused"] += 1
        self._judge.wrong.append(f"{thread.kind.name} {thread.job.id}: refused: {error}")

    def _retry(self, thread: Thread) -> Thread | None:
        self._broken(thread.kind)
        self._judge.count["retries"] += 1
        thread.job.resume()
        self._maybe_paused(thread)
        self._judge.follow(thread, "retried")
        return None

    def _restore(self, thread: Thread) -> Thread | None:
        at = self._picked(thread)
        if at is None:
            return None
        self._broken(thread.kind)
        thread.stands = moment = thread.moments[at.id]
        if thread.job.status == "failed" and self._chance.random() < 0.3:
            self._judge.count["retries from a checkpoint"] += 1
            thread.job.retry(checkpoint=at.id)
            self._forked(thread, {"": ""})
            self._judge.follow(thread, f"retried from {at.id[:13]}")
            return None
        self._judge.count["restores"] += 1
        thread.job.restore(at.id)
        thread.moments[thread.job.checkpoints()[0].id] = moment
        if self._chance.random() < 0.5:
            return self._resume(thread)
        thread.job.resume()
        self._judge.follow(thread, f"set back to {at.id[:13]} {at.nodes}")
        return None

    def _resume(self, thread: Thread) -> Thread | None:
        """From where it stands, with other values."""
        saved = thread.job.checkpoints()
        if not saved:
            return None
        at = saved[0]
        self._broken(thread.kind)
        moment, edit, node, _ = self._edit(thread, at, True)
        if not edit:
            return None
        self._judge.count["resumed with an edit"] += 1
        try:
            thread.job.resume(replace=edit, as_node=node)
        except InvalidInput as error:
            self._refused(thread, error)
            return None
        thread.stands = moment
        self._forked(thread, edit)
        self._judge.follow(thread, f"resumed at {at.id[:13]} {at.nodes} with {edit} as {node}")
        return None

    def _prune(self, thread: Thread) -> Thread | None:
        if thread.job.status not in ("completed", "failed"):
            return None
        self._judge.count["pruned"] += 1
        thread.job.prune(keep=self._chance.randint(1, 3))
        return None

    def _carry(self, thread: Thread) -> Thread | None:
        """Into a file and out of it, here or in the other database."""
        self._files += 1
        redact = self._chance.random() < 0.3
        path = self._folder / f"{self._files}.jsonl"
        thread.job.export(path, redact=redact)
        engine, _ = self._chance.choice(self._engines)
        job = engine.import_job(path, new_id=True)
        path.unlink()
        self._judge.count["carried, redacted" if redact else "carried"] += 1
        if redact:
            return None
        ids = {c.id for c in job.checkpoints()}
        if ids != {c.id for c in thread.job.checkpoints()}:
            self._judge.wrong.append(f"{thread.job.id}: other states than its copy {job.id}")
        return Thread(
            thread.kind,
            job,
            engine,
            dict(thread.moments),
            thread.stands,
            thread.kind.runs(job.steps()),
        )


def _hash(rows: LedgerRows, job: JobHandle) -> str:
    found = rows.of([job.id])[job.id]
    assert found["jobs"]
    return hashlib.sha256(repr(found).encode()).hexdigest()


# ---------------------------------------------------------------- a run


@dataclass(frozen=True)
class Verdict:
    wrong: Sequence[str]
    summary: dict[str, Any]

    def __str__(self) -> str:
        return "\n".join([*self.wrong[:10], json.dumps(self.summary)])


def changing(
    folder: Path, urls: Sequence[str], *, jobs: int, seed: int, graphs: int = GRAPHS
) -> Verdict:
    """Change jobs of random graphs on fresh databases, the first of which runs most, and judge."""
    chance = Random(seed)
    drawn = [told(graph, chance) for graph in random_graphs(graphs, seed)]
    woven = list(weaves.weaves(graphs, chance))
    (folder / "graphs").mkdir(parents=True)
    for graph in drawn:
        for name, text in graph.files():
            (folder / "graphs" / name).write_text(text)
    registry = Registry.of(graph_step)
    kinds: list[Kind] = [*map(Drawn, drawn), *map(Woven, woven)]
    with ExitStack() as stack:
        engines = []
        for url in urls:
            settings = Settings.load(folder, database=url, poll=0.05, embedded=False)
            catalog = Catalog(folder, ["graphs/*.yaml"], registry)
            engine = Engine(settings=settings, catalog=catalog, registry=registry)
            stack.enter_context(engine)
            for weave in woven:
                engine.add(weave.name, weave.graph())
            rows = LedgerRows(url)
            stack.callback(rows.close)
            engines.append((engine, rows))
        clock = stack.enter_context(Clock())
        return Changes(engines, kinds, folder, chance, clock).run(jobs)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    seed = fresh_seed() if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="ucop-edits-"))
    sqlite = f"sqlite:///{folder / 'ucop.db'}"
    if given.postgres:
        from tests.support.postgres import PostgresServer

        with PostgresServer() as server:
            urls = [server.fresh(), sqlite]
            verdict = changing(folder, urls, jobs=given.jobs, seed=seed)
    else:
        verdict = changing(folder, [sqlite], jobs=given.jobs, seed=seed)
    print(verdict)
    if verdict.wrong:
        print(f"kept: {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
