"""Every method with an `a…` twin does the same as its twin: all pairs that there are, on a real engine.

A new pair is found by itself, and its test fails until CASES says what to call it with.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel

from tests.support.graphs import Log, Node, chain
from tests.support.waiting import DEADLINE
from ucop import engine as public
from ucop.engine import Engine, JobHandle, Settings, ThreadHandle
from ucop.engine.events.subscriptions import Subscription
from ucop.engine.schedules.timetable import Timetable

CLASSES = (
    *(value for name in public.__all__ if inspect.isclass(value := getattr(public, name))),
    Timetable,
)

ODD = {("JobHandle", "wait"): "await_rest"}
"""Twins whose names are not the other's with an `a` before it: `await` is a word of Python."""

ALONE = {("LiveStream", "join")}
"""Coroutines without a twin: what an engine itself does with what it hands out."""


@dataclass(frozen=True)
class Pair:
    """A method and its twin."""

    owner: type
    name: str
    twin: str

    def __str__(self) -> str:
        return f"{self.owner.__name__}.{self.name}"


def public_names(owner: type) -> list[str]:
    return [name for name in dir(owner) if not name.startswith("_")]


def pairs() -> Iterator[Pair]:
    for owner in CLASSES:
        for name in public_names(owner):
            twin = ODD.get((owner.__name__, name), f"a{name}")
            if callable(getattr(owner, name)) and hasattr(owner, twin):
                yield Pair(owner, name, twin)


PAIRS = sorted(pairs(), key=str)


# ---------------------------------------------------------------- what both look like


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_twins_take_and_return_the_same(pair: Pair) -> None:
    method, twin = getattr(pair.owner, pair.name), getattr(pair.owner, pair.twin)
    ours, theirs = inspect.signature(method), inspect.signature(twin)
    assert ours.parameters == theirs.parameters, f"{pair} and {pair.twin} take different things"
    returned = str(theirs.return_annotation)
    if inspect.isasyncgenfunction(twin):
        returned = returned.replace("AsyncIterator", "Iterator")
    assert str(ours.return_annotation) == returned


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_the_docstring_stands_at_the_method_and_its_twin_refers_to_it(pair: Pair) -> None:
    assert inspect.getdoc(getattr(pair.owner, pair.name)), f"{pair} has no docstring"
    text = inspect.getdoc(getattr(pair.owner, pair.twin)) or ""
    assert text.startswith(f"`{pair.name}`, "), f"{pair.twin} says {text!r}"


def test_no_coroutine_is_without_its_twin() -> None:
    twins = {(pair.owner.__name__, pair.twin) for pair in PAIRS}
    coroutines = {
        (owner.__name__, name)
        for owner in CLASSES
        for name in public_names(owner)
        if inspect.iscoroutinefunction(getattr(owner, name))
        or inspect.isasyncgenfunction(getattr(owner, name))
    }
    assert coroutines - twins == ALONE


# ---------------------------------------------------------------- what both do


Call = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""On what, and with which arguments."""


class World:
    """An engine, and jobs for whoever needs one."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self._numbers = itertools.count()
        self.broken = True
        engine.add("quick", chain("a", "b"))
        engine.add("asks", self._graph("asks", self._ask))
        engine.add("breaks", self._graph("breaks", self._break))

    def done(self, **options: Any) -> JobHandle:
        return self._rested("quick", "completed", **options)

    def waiting(self) -> JobHandle:
        return self._rested("asks", "waiting")

    def failed(self) -> JobHandle:
        self.broken = True
        job = self._rested("breaks", "failed")
        self.broken = False
        return job

    def pending(self, **options: Any) -> JobHandle:
        """Not to be run before the test is over."""
        return self.engine.submit("quick", {"log": ["in"]}, delay=3600, **options)

    def paused(self) -> JobHandle:
        job = self.pending()
        job.pause()
        return job

    def archived(self) -> JobHandle:
        job = self.done()
        job.archive()
        return job

    def file(self) -> Path:
        """A job as a file."""
        file = self.unused_file()
        self.done().export(file)
        return file

    def unused_file(self) -> Path:
        return self.folder / f"{self.unused()}.jsonl"

    def unused(self) -> str:
        """A name that nothing has."""
        return f"n{next(self._numbers)}"

    def schedule(self, *, paused: bool = False) -> str:
        name = self.unused()
        self.engine.schedules.add(name, "quick", "every 30d", {"log": []})
        if paused:
            self.engine.schedules.pause(name)
        return name

    def only_schedule(self) -> Timetable:
        for schedule in self.engine.schedules.list():
            self.engine.schedules.remove(schedule.name)
        self.schedule()
        return self.engine.schedules

    def thread(self) -> ThreadHandle:
        """One with a job that has ended."""
        return self.engine.thread(self.done(thread_id=self.unused()).get().thread_id)

    def another_engine(self) -> Engine:
        return Engine(settings=self.engine.settings, worker=False)

    def with_a_declared_queue(self) -> Engine:
        self.engine.reset_queue("default")
        return self.engine

    def with_a_changed_queue(self) -> Engine:
        self.engine.set_queue("default", concurrency=5)
        return self.engine

    def _rested(self, name: str, status: str, **options: Any) -> JobHandle:
        job = self.engine.submit(name, {"log": ["in"]}, **options)
        assert job.wait(DEADLINE) == status
        return job

    def _graph(self, name: str, node: Node) -> StateGraph[Any]:
        graph = StateGraph(Log)
        graph.add_node(name, node)
        graph.add_edge(START, name)
        return graph

    def _ask(self, state: Log) -> dict[str, list[str]]:
        return {"log": [str(interrupt("well?"))]}

    def _break(self, state: Log) -> dict[str, list[str]]:
        if self.broken:
            raise ValueError("broken")
        return {"log": ["mended"]}


def labelled(world: World) -> dict[str, Any]:
    """A filter that names two jobs."""
    labels = {"of": world.unused()}
    world.pending(labels=labels)
    world.pending(labels=labels)
    return {"labels": labels}


def restored(job: JobHandle) -> Call:
    return job, (job.checkpoints()[-1].id,), {}


CASES: dict[str, Callable[[World], Call]] = {
    "Engine.change": lambda w: (w.engine, ("pause", [w.pending().id, w.done().id]), {"now": True}),
    "Engine.close": lambda w: (w.another_engine(), (), {"grace": 0.0}),
    "Engine.count_threads": lambda w: (w.engine, (), {"ids": [w.thread().id]}),
    "Engine.create_thread": lambda w: (
        w.engine,
        (w.unused(),),
        {"metadata": {"x": 1}, "workflow": "quick", "tenant": "a", "expires": "1d"},
    ),
    "Engine.import_job": lambda w: (w.engine, (w.file(),), {"new_id": True}),
    "Engine.job": lambda w: (w.engine, (w.done().id,), {}),
    "Engine.jobs": lambda w: (w.engine, (), labelled(w)),
    "Engine.queues": lambda w: (w.engine, (), {}),
    "Engine.reset_queue": lambda w: (w.with_a_changed_queue(), ("default",), {}),
    "Engine.set_queue": lambda w: (w.with_a_declared_queue(), ("default",), {"concurrency": 7}),
    "Engine.submit": lambda w: (
        w.engine,
        ("quick", {"log": ["x"]}),
        {"delay": 3600, "priority": 2},
    ),
    "Engine.subscribe": lambda w: (w.engine, (), {"job": w.done().id, "after": 0}),
    "Engine.thread": lambda w: (w.engine, (w.thread().id,), {}),
    "Engine.threads": lambda w: (w.engine, (), {"ids": [w.thread().id], "sort_by": "id"}),
    "Engine.tidy": lambda w: (w.engine, (), {"dry_run": True}),
    "JobHandle.answer": lambda w: (w.waiting(), ("yes",), {}),
    "JobHandle.archive": lambda w: (w.done(), (), {}),
    "JobHandle.attempts": lambda w: (w.failed(), (), {}),
    "JobHandle.cancel": lambda w: (w.pending(), (), {}),
    "JobHandle.checkpoints": lambda w: (w.done(), (), {}),
    "JobHandle.delete": lambda w: (w.done(), (), {}),
    "JobHandle.events": lambda w: (w.done(), (1,), {}),
    "JobHandle.export": lambda w: (w.done(), (w.unused_file(),), {"redact": True}),
    "JobHandle.fork": lambda w: (w.waiting(), (), {"update": {"log": ["forked"]}}),
    "JobHandle.get": lambda w: (w.failed(), (), {}),
    "JobHandle.pause": lambda w: (w.pending(), (), {"now": True}),
    "JobHandle.prune": lambda w: (w.done(), (), {"keep": 1}),
    "JobHandle.questions": lambda w: (w.waiting(), (), {}),
    "JobHandle.restore": lambda w: restored(w.failed()),
    "JobHandle.result": lambda w: (w.done(), (DEADLINE,), {}),
    "JobHandle.resume": lambda w: (w.paused(), (), {"priority": 3, "input": {"log": ["other"]}}),
    "JobHandle.retry": lambda w: (w.failed(), (), {"priority": 3}),
    "JobHandle.spending": lambda w: (w.done(), (), {}),
    "JobHandle.steps": lambda w: (w.failed(), (), {}),
    "JobHandle.stream": lambda w: (
        w.done(stream=("values", "updates")),
        (("values", "updates"),),
        {},
    ),
    "JobHandle.unarchive": lambda w: (w.archived(), (), {}),
    "JobHandle.wait": lambda w: (w.waiting(), (DEADLINE,), {}),
    "LiveStream.close": lambda w: (w.pending().stream(("values",)), (), {}),
    "ThreadHandle.copy": lambda w: (w.thread(), (w.unused(),), {}),
    "ThreadHandle.delete": lambda w: (w.thread(), (), {}),
    "ThreadHandle.get": lambda w: (w.thread(), (), {}),
    "ThreadHandle.history": lambda w: (w.thread(), (), {"limit": 2}),
    "ThreadHandle.jobs": lambda w: (w.thread(), (), {"status": "completed"}),
    "ThreadHandle.keep_latest": lambda w: (w.thread(), (), {}),
    "ThreadHandle.set_metadata": lambda w: (w.thread(), ({"x": 1},), {"expires": "1d"}),
    "ThreadHandle.state": lambda w: (w.thread(), (), {"subgraphs": True}),
    "ThreadHandle.update": lambda w: (w.thread(), ({"log": ["x"]},), {"as_node": "a"}),
    "Timetable.add": lambda w: (
        w.engine.schedules,
        (w.unused(), "quick", "every 30d", {"log": []}),
        {"timezone": "Europe/Berlin", "priority": 2},
    ),
    "Timetable.get": lambda w: (w.engine.schedules, (w.schedule(),), {}),
    "Timetable.list": lambda w: (w.only_schedule(), (), {}),
    "Timetable.pause": lambda w: (w.engine.schedules, (w.schedule(),), {}),
    "Timetable.remove": lambda w: (w.engine.schedules, (w.schedule(),), {}),
    "Timetable.resume": lambda w: (w.engine.schedules, (w.schedule(paused=True),), {}),
    "Timetable.trigger": lambda w: (w.engine.schedules, (w.schedule(),), {}),
}

REFUSED: dict[str, Callable[[World], Call]] = {
    "Engine.change": lambda w: (w.engine, ("explode", []), {}),
    "Engine.create_thread": lambda w: (w.engine, (w.thread().id,), {}),
    "Engine.import_job": lambda w: (w.engine, (w.unused_file(),), {}),
    "Engine.job": lambda w: (w.engine, ("nobody",), {}),
    "Engine.jobs": lambda w: (w.engine, (), {"status": "odd"}),
    "Engine.reset_queue": lambda w: (w.engine, ("nowhere",), {}),
    "Engine.set_queue": lambda w: (w.engine, ("default",), {"colour": "red"}),
    "Engine.submit": lambda w: (w.engine, ("nothing", {}), {}),
    "Engine.thread": lambda w: (w.engine, ("nowhere",), {}),
    "Engine.threads": lambda w: (w.engine, (), {"status": "odd"}),
    "JobHandle.answer": lambda w: (w.done(), ("yes",), {}),
    "JobHandle.archive": lambda w: (w.pending(), (), {}),
    "JobHandle.cancel": lambda w: (w.done(), (), {}),
    "JobHandle.delete": lambda w: (w.pending(), (), {}),
    "JobHandle.fork": lambda w: (w.done(), ("no checkpoint",), {}),
    "JobHandle.pause": lambda w: (w.done(), (), {}),
    "JobHandle.restore": lambda w: (w.failed(), ("no checkpoint",), {}),
    "JobHandle.result": lambda w: (w.failed(), (DEADLINE,), {}),
    "JobHandle.resume": lambda w: (w.done(), (), {}),
    "JobHandle.retry": lambda w: (w.done(), (), {}),
    "JobHandle.wait": lambda w: (w.pending(), (0.01,), {}),
    "ThreadHandle.copy": lambda w: (w.thread(), (w.thread().id,), {}),
    "ThreadHandle.state": lambda w: (w.thread(), ("no checkpoint",), {}),
    "ThreadHandle.update": lambda w: (w.thread(), ({"log": ["x"]},), {"as_node": "z"}),
    "Timetable.add": lambda w: (w.engine.schedules, (w.unused(), "quick", "sometimes"), {}),
    "Timetable.get": lambda w: (w.engine.schedules, ("nobody",), {}),
    "Timetable.pause": lambda w: (w.engine.schedules, ("nobody",), {}),
    "Timetable.remove": lambda w: (w.engine.schedules, ("nobody",), {}),
    "Timetable.resume": lambda w: (w.engine.schedules, ("nobody",), {}),
    "Timetable.trigger": lambda w: (w.engine.schedules, ("nobody",), {}),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One engine for all: what each call needs, it has made for itself."""
    folder = tmp_path_factory.mktemp("twins")
    database = f"sqlite:///{folder}/ucop.db"
    settings = Settings.load(folder, database=database, poll=0.02, grace=0.0, embedded=False)
    with Engine(settings=settings) as engine:
        yield World(engine, folder)


def test_each_case_is_of_a_pair() -> None:
    assert {*CASES, *REFUSED} <= {str(pair) for pair in PAIRS}


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_twins_do_the_same(world: World, pair: Pair) -> None:
    case = CASES.get(str(pair))
    if case is None:
        pytest.fail(f"{pair} has a twin, {pair.twin}: say in CASES what both are called with")
    first, second = by_name(case(world), pair.name), by_name(case(world), pair.twin)
    assert first == second


@pytest.mark.parametrize("name", REFUSED)
def test_twins_refuse_the_same(world: World, name: str) -> None:
    (pair,) = (pair for pair in PAIRS if str(pair) == name)
    errors = []
    for way in (pair.name, pair.twin):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is compared
            by_name(REFUSED[name](world), way)
        errors.append((type(caught.value), unchanging(str(caught.value))))
    assert errors[0] == errors[1]


def by_name(call: Call, name: str) -> Any:
    """What a method gives and leaves behind."""
    target, arguments, options = call

    async def awaited() -> Any:
        value = getattr(target, name)(*arguments, **options)
        return await given_by(await value if inspect.isawaitable(value) else value)

    if name in {pair.twin for pair in PAIRS if isinstance(target, pair.owner)}:
        given = asyncio.run(awaited())
    else:
        given = taken(getattr(target, name)(*arguments, **options))
    return plain(given), left_by(target, arguments, given)


def taken(value: Any) -> Any:
    if isinstance(value, Subscription):
        with value:
            return next(value)
    return list(value) if isinstance(value, Iterator) else value


async def given_by(value: Any) -> Any:
    if isinstance(value, Subscription):
        with value:
            return await anext(aiter(value))
    return [each async for each in value] if isinstance(value, AsyncIterator) else value


def left_by(target: Any, arguments: tuple[Any, ...], given: Any) -> Any:
    """What is there afterwards."""
    match target:
        case Engine():
            return queues_of(target)
        case Timetable():
            return plain([each for each in target.list() if each.name in arguments])
        case JobHandle():
            files = [path.read_bytes().count(b"\n") for path in arguments if isinstance(path, Path)]
            return story(target), story(given) if isinstance(given, JobHandle) else None, files
        case ThreadHandle():
            copies = [given] if isinstance(given, ThreadHandle) else []
            return [told_of(thread) for thread in (target, *copies)]
        case _:
            return target._closed


def queues_of(engine: Engine) -> Any:
    try:
        engine.tidy(dry_run=True)  # raises where the engine is closed
        return [(each.name, each.concurrency, each.paused) for each in engine.queues()]
    except public.UcopError as error:
        return str(error)


def story(job: JobHandle) -> Any:
    """What a job came to."""
    try:
        return plain(job), [event.type for event in job.events(follow=False)]
    except public.JobNotFound:
        return "deleted"


def told_of(thread: ThreadHandle) -> Any:
    """What is known of a thread, and its state."""
    try:
        found = thread.get()
        return found.metadata, found.status, found.expires_at is None, thread.state().values
    except public.ThreadNotFound:
        return "deleted"


def plain(value: Any) -> Any:
    """A value without what differs from one job to the next."""
    match value:
        case JobHandle():
            if value.get().start_at is None:
                value.wait(DEADLINE)
            return plain(value.get())
        case ThreadHandle():
            return plain(value.get())
        case BaseModel():
            return {type(value).__name__: plain(dict(value))}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {type(value).__name__: plain(asdict(value))}
        case Enum():
            return value.value
        case str():
            return unchanging(value)
        case float() | datetime():
            return type(value).__name__
        case Mapping():
            passing = ("position", "waiting", "running", "pending", "tenants", "version")
            return {plain(key): plain(each) for key, each in value.items() if key not in passing}
        case Sequence():
            return [plain(each) for each in value]
        case _:
            return value


def unchanging(text: str) -> str:
    """Without ids, numbered names and times."""
    return re.sub(r"\d+\.\d+|[0-9a-f]{4,}[0-9a-f-]{4,}|\bn\d+\b|\d+-\d+-\d+", "…", text)
