"""Jobs, workers and people in any order, on a real ledger and saver, beside a plain model.

A Hypothesis state machine. Its workers are real ones (engine/worker/worker.py) whose attempts run a real
LangGraph graph (engine/worker/attempt.py); what each shall claim, and when a node ends or raises, the
machine decides, so that a run can be repeated. After each step everything that the database holds
is compared with `lifecycle.Life`, which has been told the same; whatever a step was not to touch
must be as it was, row by row.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import operator
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.support.ledger_rows import LedgerRows, Rows
from tests.support.lifecycle import ASKS, FINAL, FOLLOWS, SUPERSTEPS, Asked, Life, Refused
from tests.support.quiet_loop import QuietLoop
from ucop.agents.models.models import Models
from ucop.engine.checkpoints.savers import saver_of
from ucop.engine.connect import connect
from ucop.engine.database.database import Database
from ucop.engine.dialect import dialect_of
from ucop.engine.edits import editing, forks
from ucop.engine.edits.edit import Edit
from ucop.engine.errors import RefusedChange
from ucop.engine.jobs.job import JobId, ThreadId, WorkerId
from ucop.engine.ledger import commands, lifecycle, reads
from ucop.engine.ledger.records import Claimed, NewJob
from ucop.engine.notices import Notices
from ucop.engine.settings import Settings
from ucop.engine.stores.memory import JobStore
from ucop.engine.values.json_text import to_json
from ucop.engine.worker.worker import Worker
from ucop.graphs.workflows.python_workflow import PythonWorkflow

MOST_JOBS = 10
MOST_UNSETTLED = 4
MOST_WORKERS = 4
KNOWN = '["graph:mill"]'

Gate = tuple[str, int, str]
"""A node that has begun: job, attempt, node."""

gates: dict[Gate, asyncio.Future[str]] = {}
"""What runs, and waits to be told how it shall end."""


class Mill(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    mark: str


def mill() -> StateGraph[Any]:
    graph = StateGraph(Mill)
    for node in (node for nodes in SUPERSTEPS for node in nodes):
        graph.add_node(node, _node(node))
    for before, after in itertools.pairwise([(START,), *SUPERSTEPS, (END,)]):
        for node in after:
            graph.add_edge(before[0] if len(before) == 1 else list(before), node)
    return graph


def _node(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def node(state: Mill, config: RunnableConfig) -> dict[str, list[str]]:
        who = config["metadata"]
        gate = (who["ucop_job"], who["ucop_attempt"], name)
        gates[gate] = asyncio.get_running_loop().create_future()
        try:
            how = await gates[gate]
        finally:
            del gates[gate]
        if how == "raise":
            raise ValueError(f"{name} is told to raise")
        for number in range(ASKS.get(name, 0)):
            question = f"{name} {number}?"
            if (given := interrupt(question)) != question:
                raise AssertionError(f"{question} was given the answer to {given}")
        return {"log": [name]}

    return node


class HandQueue:
    """A queue whose deliveries the test makes."""

    run: Callable[[Claimed], asyncio.Task[None]]

    async def start(self, run: Callable[[Claimed], asyncio.Task[None]]) -> None:
        self.run = run

    async def stop(self) -> None:
        pass

    def wake(self) -> None:
        pass

    def is_claiming(self, job: str, attempt: int) -> bool:
        return False

    async def repair(self, alive: Any) -> int:
        return 0


@dataclass(eq=False)
class Hand:
    """A worker, and what has become of its process."""

    worker: Worker
    queue: HandQueue
    process: str = "lives"
    """`lives`, `dead` (its nodes stand still for ever), or `left` (stopped in good order)."""
    lock: bool = True
    """Whether it holds its lock. A process that lives without it was cut off from the database's
    server, or was declared lost."""
    lost: bool = False
    """Whether it was declared lost."""

    @property
    def id(self) -> str:
        return self.worker.id


@dataclass
class Place:
    """A database, and a loop to work on it."""

    url: str
    folder: Path
    loop: QuietLoop = field(default_factory=QuietLoop)

    def __post_init__(self) -> None:
        # Nothing happens by itself: neither heartbeat nor sweep comes in the time of a run.
        self.settings = Settings.load(
            self.folder, database=self.url, lease=1e6, sweep=1e6, grace=0.0, embedded=False
        )
        self.open()
        self.rows = LedgerRows(self.url)

    def open(self) -> None:
        self.database: Database = connect(self.settings)
        self.loop.complete(self.database.open())
        self.store = self.loop.complete(self._store())

    async def _store(self) -> JobStore:
        return JobStore(self.url, MODELS)

    def close(self) -> None:
        self.rows.close()
        self.loop.complete(self.database.close())
        self.loop.finish()


class SqlitePlaces:
    """A new file for each run, copied from one that has the schema."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ucop-machine-"))
        self._numbers = itertools.count()
        from ucop.engine.database.sqlite import prepare

        self._ready = self.folder / "ready.db"
        prepare(self._ready)

    def take(self) -> Place:
        file = self.folder / f"{next(self._numbers)}.db"
        shutil.copy(self._ready, file)
        return Place(f"sqlite:///{file}", self.folder)

    def give_back(self, place: Place) -> None:
        place.close()
        for file in self.folder.glob(f"{Path(place.url).name}*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()

    def close(self) -> None:
        shutil.rmtree(self.folder)


class PostgresPlaces:
    """One database for all runs: to connect takes longer than a run."""

    def __init__(self, url: str, folder: Path) -> None:
        self._place = Place(url, folder)

    def take(self) -> Place:
        return self._place

    def give_back(self, place: Place) -> None:
        pass

    def close(self) -> None:
        self._place.close()


Places = SqlitePlaces | PostgresPlaces

runs = itertools.count()

Draw = Callable[[st.SearchStrategy[Any]], Any]
Move = Callable[["JobMachine", Draw], None]


@dataclass(frozen=True)
class Possible:
    """A move of the machine, and when there is any point in it."""

    make: Move
    often: int
    when: Callable[[JobMachine], Any]


MOVES: dict[str, Possible] = {}


def move(
    *, often: int = 1, when: Callable[[JobMachine], Any] = lambda machine: True
) -> Callable[[Move], Move]:
    """Marks a method as something that may happen; `often` weighs it against others."""

    def marked(make: Move) -> Move:
        MOVES[make.__name__] = Possible(make, often, when)
        return make

    return marked


class JobMachine(RuleBasedStateMachine):
    places: Places

    def __init__(self) -> None:
        super().__init__()
        gates.clear()
        self.place = self.places.take()
        self.loop, self.rows = self.place.loop, self.place.rows
        self.workflow = WORKFLOW
        self.run_number = next(runs)
        self.lives: dict[str, Life] = {}
        self.marks: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self.hands: list[Hand] = []
        self.touched: set[str] = set()
        self.before: dict[str, Rows] = {}
        self.sound = True
        """Whether the last step was found to be right."""

    @property
    def database(self) -> Database:
        return self.place.database

    @initialize(workers=st.integers(1, 2), jobs=st.integers(1, 2))
    def begin(self, workers: int, jobs: int) -> None:
        for _ in range(workers):
            self._start_worker()
        for _ in range(jobs):
            self._submit(None)

    # One rule for all: Hypothesis switches rules off at random, and a run in which nothing can be
    # claimed says little. It likes what comes first: so what moves jobs on comes first.
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        names = [
            name
            for name, possible in MOVES.items()
            if possible.when(self)
            for _ in range(possible.often)
        ]
        name = data.draw(st.sampled_from(names))
        MOVES[name].make(self, data.draw)

    # ------------------------------------------------------------ jobs

    @move(often=5, when=lambda self: self._stale_gates())
    def end_stale_node(self, draw: Draw) -> None:
        """A node of an attempt that lost its job, and does not know it."""
        self._open(draw(st.sampled_from(self._stale_gates())), "end")

    @move(often=5, when=lambda self: self._open_gates())
    def end_node(self, draw: Draw) -> None:
        self._open(draw(st.sampled_from(self._open_gates())), "end")

    @move(often=3, when=lambda self: self._in("running"))
    def end_nodes(self, draw: Draw) -> None:
        """Several nodes of a job end, one after the other."""
        life = draw(st.sampled_from(self._in("running")))
        for _ in range(draw(st.integers(2, 4))):
            mine = [gate for gate in self._open_gates() if gate[:2] == (life.id, life.attempt)]
            if life.status == "running" and mine:
                self._open(draw(st.sampled_from(mine)), "end")

    @move(often=5, when=lambda self: self._in("pending") and self.working)
    def claim(self, draw: Draw) -> None:
        life = draw(st.sampled_from(self._in("pending")))
        self._claim(life, life.attempt, draw(st.sampled_from(self.working)))

    @move(when=lambda self: self._has_room())
    def submit(self, draw: Draw) -> None:
        self._submit(draw(st.none() | st.sampled_from("kl")))

    @move(often=2, when=lambda self: self._open_gates())
    def raise_in_node(self, draw: Draw) -> None:
        self._open(draw(st.sampled_from(self._open_gates())), "raise")

    # ------------------------------------------------------------ workers

    @move(often=4, when=lambda self: self._locked_and_busy())
    def cut_worker_off(self, draw: Draw) -> None:
        """Its lock is free, and it goes on; maybe a new worker takes its jobs at once."""
        hand = draw(st.sampled_from(self._locked_and_busy()))
        hand.lock = False
        hand.worker._held.close()
        if draw(st.sampled_from([True, False])):
            mine = self._owned(hand)
            self._start_worker()
            for life in mine:
                if life.status == "pending":
                    self._claim(life, life.attempt, self.hands[-1])

    @move(when=lambda self: len(self.working) < MOST_WORKERS)
    def start_worker(self, draw: Draw) -> None:
        self._start_worker()

    @move(when=lambda self: self.working)
    def kill_worker(self, draw: Draw) -> None:
        """kill -9: its lock is free, and nothing moves in it any more."""
        hand = draw(st.sampled_from(self.working))
        hand.process, hand.lock = "dead", False
        hand.worker._held.close()

    @move(when=lambda self: self.working)
    def stop_worker(self, draw: Draw) -> None:
        """SIGTERM: it gives its jobs back."""
        hand = draw(st.sampled_from(self.working))
        mine = self._owned(hand)
        self._do(hand.worker.stop())
        hand.process, hand.lock = "left", False
        for life in mine:
            self._touch(life).stop()

    @move(often=2, when=lambda self: self.working and self._abandoned())
    def sweep(self, draw: Draw) -> None:
        """A worker looks for jobs whose worker is gone."""
        hand = draw(st.sampled_from(self.working))
        self._do(hand.worker._sweep())
        self._swept(hand)

    @move(often=2, when=lambda self: self.working)
    def watch(self, draw: Draw) -> None:
        """A worker looks what is asked for."""
        asked = {life.worker for life in self.lives.values() if life.want}
        first = [hand for hand in self.working if hand.id in asked]
        self._watch(draw(st.sampled_from(first or self.working)))

    @move(when=lambda self: any(not hand.lock for hand in self.working))
    def beat(self, draw: Draw) -> None:
        """A worker says that it lives, and hears where it is taken for lost."""
        hand = draw(st.sampled_from(self.working))
        self._do(hand.worker._beat())
        if hand.lost:
            assert hand.worker._abandoning is not None
            hand.process = "left"

    @move(when=lambda self: self._in("running"))
    def lose_power(self, draw: Draw) -> None:
        """All processes end at once; a new one opens the database."""
        self._kill_all()
        if isinstance(self.places, SqlitePlaces):
            self._do(self.database.close())
            self.place.open()
        self._start_worker()

    # ------------------------------------------------------------ people

    @move(often=3)
    def pause(self, draw: Draw) -> None:
        life = draw(self._any("running", "pending"))
        at_once = draw(st.booleans())
        self._ask(
            life,
            lambda: commands.pause(life.id, at_once=at_once),
            lambda: life.pause(at_once),
        )
        if draw(st.booleans()):
            self._all_watch()

    @move()
    def cancel(self, draw: Draw) -> None:
        life = draw(self._any("running", "pending", "paused", "waiting"))
        self._ask(life, lambda: commands.cancel(life.id), life.cancel)
        if draw(st.booleans()):
            self._all_watch()

    @move(often=3)
    def resume(self, draw: Draw) -> None:
        life = draw(self._any("paused", "failed"))
        self._ask(life, lambda: commands.resume(life.id), life.resume)

    @move()
    def retry(self, draw: Draw) -> None:
        life = draw(self._any("failed"))
        self._ask(life, lambda: commands.retry(life.id), life.retry)

    @move(often=3, when=lambda self: self._in("waiting"))
    def answer(self, draw: Draw) -> None:
        life = draw(st.sampled_from(self._in("waiting")))
        rows = [row for row in self._questions(life) if _is_open(row)]
        self._answer(life, draw(st.sampled_from(rows)))

    @move(when=lambda self: any(life.questions for life in self.lives.values()))
    def answer_late(self, draw: Draw) -> None:
        """Also questions that were answered, and those of jobs that do not wait for it."""
        life = draw(st.sampled_from([each for each in self.lives.values() if each.questions]))
        self._answer(life, draw(st.sampled_from(self._questions(life))))

    @move(when=lambda self: self._begun() and self._has_room())
    def fork(self, draw: Draw) -> None:
        life = draw(st.sampled_from(self._begun()))
        checkpoint, at = self._checkpoint(life, draw)
        self._fork(life, checkpoint, at, edit=draw(st.booleans()))

    @move(when=lambda self: self._begun() and self._has_room())
    def fork_where_it_stands(self, draw: Draw) -> None:
        life = draw(st.sampled_from(self._begun()))
        last = self._read(lambda: reads.submitted(life.id)).checkpoint_id
        assert last is not None
        self._fork(life, last, life.at, edit=False, as_it_stands=True)

    @move(often=2, when=lambda self: self._begun())
    def restore(self, draw: Draw) -> None:
        resting = [life for life in self._begun() if life.status in ("paused", "failed")]
        life = draw(st.sampled_from(resting or self._begun()))
        checkpoint, at = self._checkpoint(life, draw)
        retry = draw(st.booleans())
        thread, saver = ThreadId(life.id), self._do(self._saver())
        attempt = self._read(lambda: reads.submitted(life.id)).attempt
        draft = self._do(editing.set_back(self.workflow, saver, thread, checkpoint))
        entered = self._has_entered(life.id, checkpoint)
        terms = commands.NewTerms() if retry else None
        self._ask(
            life,
            lambda: forks.restore(JobId(life.id), attempt, thread, checkpoint, draft, retry=terms),
            lambda: life.restore(at, entered=entered, retry=retry),
        )
        if life.id in self.touched:
            self.marks[life.id] = self._mark(life.id, checkpoint)

    @move(when=lambda self: self.lives and self.working)
    def claim_what_is_not_queued(self, draw: Draw) -> None:
        """A queue delivers late, twice, or what was stopped meanwhile."""
        life = draw(self._any())
        attempt = life.attempt + draw(st.sampled_from([-1, 0, 1]))
        self._claim(life, attempt, draw(st.sampled_from(self.working)))

    # ------------------------------------------------------------ what must hold

    @invariant()
    def is_as_it_must_be(self) -> None:
        self.sound = False
        rows = self.rows.of(self.lives)
        for id, life in self.lives.items():
            if id in self.touched:
                self._compare(life, rows[id], self.before.get(id))
            else:
                assert rows[id] == self.before[id], f"job {id} was changed by what is none of it"
        self._compare_work()
        self.before, self.touched = rows, set()
        self.sound = True

    def _compare(self, life: Life, rows: Rows, before: Rows | None) -> None:
        assert len(rows["jobs"]) == 1, f"job {life.id} is lost"
        (job,) = rows["jobs"]
        told = (job["status"], job["attempt"], job["want"], job["worker"])
        assert told == (life.status, life.attempt, life.want, life.worker), _told(rows)
        assert (job["finished_at"] is not None) == (life.status in (*FINAL, "failed"))
        assert (job["error"] is not None) == (life.status == "failed"), _told(rows)
        if before is not None:
            assert before["jobs"][0]["status"] not in FINAL, "a final job was changed"
        self._compare_events(life, rows, before)
        self._compare_attempts(life, rows)
        self._compare_steps(life, rows)
        self._compare_checkpoints(life, job)
        times = ("answered_at", "consumed_at", "withdrawn_at")
        asked = [(r["node"], *(r[each] is not None for each in times)) for r in rows["questions"]]
        must = [(q.node, q.answered, q.consumed, q.withdrawn) for q in life.questions]
        assert sorted(asked) == sorted(must), rows["questions"]

    def _compare_events(self, life: Life, rows: Rows, before: Rows | None) -> None:
        events = rows["events"]
        assert [e["seq"] for e in events] == list(range(1, rows["jobs"][0]["seq"] + 1))
        if before is not None:
            assert events[: len(before["events"])] == before["events"], "an event was changed"
        story = [e["type"][4:] for e in events if e["type"].startswith("job.")]
        assert story == life.story, _told(rows)
        stations = ["pending", *(s for s in story if s not in ("submitted", "pausing", "restored"))]
        assert all(pair in FOLLOWS for pair in itertools.pairwise(stations)), stations
        assert stations[-1] == life.status
        steps = Counter(
            (e["type"][5:], json.loads(e["data"])["node"])
            for e in events
            if e["type"].startswith("step.")
        )
        assert steps == life.steps, _told(rows)

    def _compare_attempts(self, life: Life, rows: Rows) -> None:
        attempts = rows["attempts"]
        assert [a["number"] for a in attempts] == list(range(1, life.attempt + 1))
        last = {"pending": "queued", "running": "running"}.get(life.status, "ended")
        states = [a["status"] for a in attempts]
        assert states == ["ended"] * (life.attempt - 1) + [last], _told(rows)
        assert all((a["finished_at"] is not None) == (a["status"] == "ended") for a in attempts)

    def _compare_steps(self, life: Life, rows: Rows) -> None:
        steps = rows["steps"]
        runs = Counter(s["node"] for s in steps if s["status"] == "completed")
        assert runs == life.runs, _told(rows)
        done = [s["task_id"] for s in steps if s["status"] == "completed"]
        assert len(set(done)) == len(done), "one task was done twice"
        running = {s["node"] for s in steps if s["status"] == "running"}
        assert running == (life.open if life.status == "running" else set()), _told(rows)
        assert all(s["attempt"] == life.attempt for s in steps if s["status"] == "running")

    def _compare_checkpoints(self, life: Life, job: dict[str, Any]) -> None:
        newest, values, wrote = self.rows.held(life.id)
        assert job["checkpoint_id"] == newest
        assert (newest is not None) == life.begun
        log = values.get("log", [])
        assert len(set(log)) == len(log), f"a node's work is held twice: {log}"
        assert {*log, *wrote} == life.kept, (log, wrote, life.kept)
        if life.status == "completed":
            assert log == [node for nodes in SUPERSTEPS for node in nodes]
            mark = self.marks[life.id]
            output = {"log": log, "mark": mark} if mark else {"log": log}
            assert json.loads(job["output"]) == output, (job, self.lives)

    def _compare_work(self) -> None:
        """The nodes that really run are those that shall, and no job runs twice at once."""
        for life in self.lives.values():
            owners: list[tuple[str | None, int]] = [
                (hand.id, number)
                for hand in self.hands
                if not hand.lost and hand.process == "lives"
                for (job, number) in hand.worker.running.attempts
                if job == life.id
            ]
            if life.status == "running":
                mine = (life.worker, life.attempt)
                at_work = {node for job, n, node in gates if (job, n) == (life.id, life.attempt)}
                assert at_work == life.open, (at_work, life.open)
                assert owners.count(mine) == (self._hand(life.worker).process == "lives")
            elif life.status == "paused":
                assert not owners, f"{life.id} is paused, and {owners} run it"

    def teardown(self) -> None:
        try:
            if self.sound and self.hands and self.run_number % 2:
                self._lead_to_the_end()
        finally:
            for hand in self.hands:
                hand.worker._held.close()
                attempts = [task for _, task in hand.worker.running.attempts.values()]
                for task in [*attempts, *hand.worker._loops]:
                    task.cancel()
            self.loop.settle()
            self.places.give_back(self.place)

    def _lead_to_the_end(self) -> None:
        """Nothing is stuck: wherever the jobs stand, what is left to do leads to their end. In
        every other run: it takes as long as the run."""
        if self.run_number % 4 == 1:
            self._kill_all()
        self._start_worker()
        mine = self.hands[-1]
        self.is_as_it_must_be()
        for life in list(self.lives.values()):
            for _ in range(40):
                if life.status in FINAL:
                    break
                self._lead_on(life, mine)
                self.is_as_it_must_be()
            assert life.status in FINAL, f"{life} is stuck"

    def _lead_on(self, life: Life, hand: Hand) -> None:
        match life.status:
            case "pending":
                self._claim(life, life.attempt, hand)
            case "running" if life.want:
                self._watch(self._hand(life.worker))
                if life.draining:
                    self._end_first(life)
            case "running":
                self._end_first(life)
            case "waiting":
                rows = self._questions(life)
                self._answer(life, next(row for row in rows if _is_open(row)))
            case _:
                self._ask(life, lambda: commands.resume(life.id), life.resume)

    def _end_first(self, life: Life) -> None:
        self._open(min(g for g in gates if g[:2] == (life.id, life.attempt)), "end")

    # ------------------------------------------------------------ parts

    @property
    def working(self) -> list[Hand]:
        return [hand for hand in self.hands if hand.process == "lives"]

    def _in(self, status: str) -> list[Life]:
        return [life for life in self.lives.values() if life.status == status]

    def _begun(self) -> list[Life]:
        return [life for life in self.lives.values() if life.begun]

    def _any(self, *statuses: str) -> st.SearchStrategy[Life]:
        """A job in one of the statuses; now and then another, that will refuse."""
        everyone = list(self.lives.values())
        fitting = [life for life in everyone if life.status in statuses]
        return st.sampled_from([*(fitting * 5), *everyone])

    def _has_room(self) -> bool:
        unsettled = [life for life in self.lives.values() if life.status not in FINAL]
        return len(self.lives) < MOST_JOBS and len(unsettled) < MOST_UNSETTLED

    def _abandoned(self) -> list[Hand]:
        return [hand for hand in self.hands if not hand.lock and self._owned(hand)]

    def _hand(self, worker: str | None) -> Hand:
        return next(hand for hand in self.hands if hand.id == worker)

    def _owned(self, hand: Hand) -> list[Life]:
        return [life for life in self.lives.values() if life.worker == hand.id]

    def _open_gates(self) -> list[Gate]:
        """Nodes of processes that live; also those whose attempt is no longer the current one."""
        alive = {key for hand in self.working for key in hand.worker.running.attempts}
        return sorted(gate for gate in gates if gate[:2] in alive)

    def _locked_and_busy(self) -> list[Hand]:
        return [hand for hand in self.working if hand.lock and self._owned(hand)]

    def _stale_gates(self) -> list[Gate]:
        current = {(life.id, life.attempt) for life in self._in("running")}
        return [gate for gate in self._open_gates() if gate[:2] not in current]

    def _touch(self, life: Life) -> Life:
        self.touched.add(life.id)
        return life

    def _new_id(self) -> str:
        return f"j{self.run_number}-{len(self.lives)}"

    async def _workflow(self, fingerprint: str, job: str) -> PythonWorkflow:
        return self.workflow

    async def _saver(self) -> Any:
        return saver_of(self.database)  # belongs to the loop

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        self.sound = False
        return self.loop.complete(work)

    def _dispatch(self, make: Callable[[], Any]) -> Any:
        return self._do(self.database.write(make))

    def _read(self, make: Callable[[], Any]) -> Any:
        return self._do(self.database.read(make))

    def _ask(self, life: Life, make: Callable[[], Any], expect: Callable[[], None]) -> None:
        """A person asks for something, and gets what the model says."""
        try:
            expect()
        except Refused:
            try:
                self._dispatch(make)
            except RefusedChange:
                return
            raise AssertionError(f"{life} should have refused") from None
        self.touched.add(life.id)
        status = self._dispatch(make)
        assert status == life.status

    def _answer(self, life: Life, row: dict[str, Any]) -> None:
        question = self._question(life, row)
        self._ask(
            life,
            lambda: commands.answer(life.id, row["id"], row["question"]),
            lambda: life.answer(question),
        )

    def _questions(self, life: Life) -> list[dict[str, Any]]:
        """In an order that is the same when a run is repeated; their ids are others each time."""
        rows = self.before[life.id]["questions"]
        return sorted(rows, key=lambda row: (row["node"], row["asked_at"]))

    def _question(self, life: Life, row: dict[str, Any]) -> Asked:
        """The model's question for a row: those of one node come in the same order."""
        ids = [each["id"] for each in self._questions(life) if each["node"] == row["node"]]
        asked = [question for question in life.questions if question.node == row["node"]]
        return asked[ids.index(row["id"])]

    def _start_worker(self) -> None:
        queue = HandQueue()

        async def make() -> Worker:
            return Worker(
                database=self.database,
                queue=lambda _: queue,  # type: ignore[arg-type, return-value]
                settings=self.place.settings,
                models=MODELS,
                store=self.place.store,
                serves='["default"]',
                notices=Notices(),
                workflow=self._workflow,
                knows=lambda: KNOWN,
                on_lost=lambda _: None,
                on_end=lambda _: None,
            )

        worker = self._do(make())
        hand = Hand(worker, queue)
        self.hands.append(hand)
        self._do(worker.start())
        self._swept(hand)

    def _kill_all(self) -> None:
        for hand in self.working:
            hand.process, hand.lock = "dead", False
            hand.worker._held.close()

    def _submit(self, key: str | None) -> None:
        id = self._new_id()
        asked = f"{self.run_number}-{key}" if key else None
        job = NewJob(
            id=JobId(id),
            workflow=self.workflow.name,
            fingerprint=self.workflow.fingerprint,
            definition=to_json(self.workflow.stored),
            needs=KNOWN,
            input="{}",
            thread_id=ThreadId(id),
            key=asked,
        )
        found, new = self._dispatch(lambda: lifecycle.submit(job))
        assert new is (asked not in self.keys)
        if new:
            self.lives[id] = Life(id)
            self.touched.add(id)
            self.marks[id] = ""
            if asked:
                self.keys[asked] = id
        else:
            assert asked is not None
            assert found == self.keys[asked]

    def _claim(self, life: Life, attempt: int, hand: Hand) -> None:
        async def deliver() -> bool:
            claimed = await self.database.write(
                lambda: lifecycle.claim(life.id, attempt, WorkerId(hand.id))
            )
            if claimed is not None:
                hand.queue.run(claimed)
            return claimed is not None

        due = life.status == "pending" and attempt == life.attempt and not hand.lost
        if due:
            self._touch(life).claim(hand.id)
        assert self._do(deliver()) is due

    def _open(self, gate: Gate, how: str) -> None:
        job, attempt, node = gate
        life = self.lives[job]
        # What is no longer current may end as it likes, and must change nothing.
        if life.status == "running" and life.attempt == attempt:
            self._touch(life)
            life.end(node) if how == "end" else life.fail(node)
        self.sound = False
        gates[gate].set_result(how)
        self.loop.settle()

    def _watch(self, hand: Hand) -> None:
        for life in self._owned(hand):
            if life.want:
                self._touch(life).hear_pause()
        self._do(hand.worker.watch())

    def _all_watch(self) -> None:
        for hand in self.working:
            self._watch(hand)

    def _swept(self, by: Hand) -> None:
        """What a sweep must have done: the jobs of workers without a lock were taken over."""
        for hand in self.hands:
            if hand is by or hand.lock:
                continue
            mine = self._owned(hand)
            for life in mine:
                self._touch(life).lose()
            hand.lost = hand.lost or bool(mine)

    def _checkpoint(self, life: Life, draw: Draw) -> tuple[str, int]:
        """One of a job's checkpoints, and the supersteps that it holds."""
        rows = [row for row in self.before[life.id]["checkpoints"] if row["checkpoint_ns"] == ""]
        checkpoint = draw(st.sampled_from(rows))["checkpoint_id"]
        log = self.rows.values(life.id, checkpoint).get("log", [])
        return checkpoint, sum(set(nodes) <= set(log) for nodes in SUPERSTEPS)

    def _has_entered(self, job: str, checkpoint: str) -> bool:
        """Whether a checkpoint holds more than the input."""
        return START not in self.rows.values(job, checkpoint)

    def _mark(self, job: str, checkpoint: str) -> str:
        values = self.rows.values(job, checkpoint)
        # The input is kept as a whole until the first superstep takes it apart.
        return str(values.get("mark") or values.get(START, {}).get("mark", ""))

    def _fork(
        self, life: Life, checkpoint: str, at: int, *, edit: bool, as_it_stands: bool = False
    ) -> None:
        id, thread, saver = JobId(self._new_id()), ThreadId(life.id), self._do(self._saver())
        mark, draft = self._mark(life.id, checkpoint), []
        if edit:
            mark = f"edited {id}"
            as_node = SUPERSTEPS[at - 1][0] if at else None
            change = Edit(replace={"mark": mark}, as_node=as_node)
            draft = self._do(
                editing.edited(self.workflow, saver, JobId(life.id), thread, checkpoint, change)
            )
        tables = dialect_of(self.database.url).tables
        self._dispatch(
            lambda: forks.fork(
                tables,
                JobId(life.id),
                thread,
                checkpoint,
                id,
                draft,
                standing=as_it_stands,
            )
        )
        entered = self._has_entered(life.id, checkpoint)
        self.lives[id] = life.fork(id, at, entered=entered, as_it_stands=as_it_stands)
        self.marks[id] = mark
        self.touched.add(id)


def _is_open(question: dict[str, Any]) -> bool:
    return question["answered_at"] is None and question["withdrawn_at"] is None


def _told(rows: Rows) -> str:
    """All that is known of a job, for a finding."""
    shown = ("jobs", "attempts", "steps", "events", "questions")
    return "\n".join(f"{table}: {row}" for table in shown for row in rows[table])


WORKFLOW = PythonWorkflow("mill", mill)
MODELS = Models(embedded=False)
