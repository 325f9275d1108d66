"""Jobs followed live, on both databases: what LangGraph emits, and what becomes of readers."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.channels import UntrackedValue
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel

from tests.support.graphs import Log, chain
from tests.support.paths import ROOT
from tests.support.streams import ALL, HELLO, WORDS, comparable, gated, talk
from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, InvalidInput, JobNotFound
from ucop.engine.jobs.status import JobStatus
from ucop.engine.ledger import live_rows
from ucop.engine.ledger.operation import One
from ucop.engine.live.parts import PART_LIMIT, Omitted
from ucop.engine.settings import LiveSettings

Open = Callable[..., Engine]


def bare(graph: StateGraph[Any], modes: tuple[str, ...], given: Any) -> list[dict[str, Any]]:
    """What LangGraph itself emits."""

    async def run() -> list[dict[str, Any]]:
        compiled: Any = graph.compile(checkpointer=InMemorySaver())
        stream = compiled.astream(
            given,
            {"configurable": {"thread_id": "0" * 20}},
            stream_mode=list(modes),
            version="v2",
            subgraphs=True,
            durability="sync",
        )
        return [part async for part in stream]

    return asyncio.run(run())


def text(parts: list[dict[str, Any]]) -> str:
    """What the tokens say."""
    return "".join(part["data"][0].content for part in parts if part["type"] == "messages")


READER = """
import sys
from ucop.engine import Engine
from ucop.engine.settings import Settings
from tests.support.streams import ALL, comparable
settings = Settings.load(sys.argv[1], database=sys.argv[2], poll=0.02)
with Engine(settings=settings, worker=False) as engine:
    with engine.job(sys.argv[3]).stream(ALL) as stream:
        print("reads", flush=True)
        print(repr(comparable(list(stream))), flush=True)
"""


def elsewhere(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


# ---------------------------------------------------------------- what comes


@pytest.mark.parametrize("modes", [*((mode,) for mode in ALL), ALL], ids=str)
def test_a_stream_yields_what_langgraph_does(engine: Engine, modes: tuple[str, ...]) -> None:
    job = engine.submit(engine.add("talk", talk()), HELLO, stream=modes)
    got = list(job.stream(modes))
    assert comparable(got) == comparable(bare(talk(), modes, HELLO))
    assert {part["type"] for part in got} == set(modes)
    assert {part["attempt"] for part in got} == {1}
    assert job.status is JobStatus.COMPLETED


def test_every_process_gets_the_same_objects(engine: Engine, tmp_path: Path) -> None:
    waits = threading.Event()
    job = engine.submit(engine.add("gated", gated(waits, [])), HELLO, stream=ALL)
    stream = job.stream(ALL)
    with elsewhere(READER, str(tmp_path), engine._database.url, job.id) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reads\n"
        waits.set()
        here = list(stream)
        there = reader.stdout.read()
    assert there.strip() == repr(comparable(here))
    assert comparable(here) == comparable(bare(gated(waits, []), ALL, HELLO))


async def test_it_is_awaited_as_langgraphs_is(engine: Engine) -> None:
    job = await engine.asubmit(engine.add("talk", talk()), HELLO, stream="messages")
    got = [part async for part in job.astream("messages")]
    assert text(got) == "".join(WORDS) * 2
    metadata = got[0]["data"][1]
    assert metadata["langgraph_node"] == "ask"
    assert metadata["ucop_job"] == job.id


def test_unknown_modes_are_refused(engine: Engine) -> None:
    graph = engine.add("flow", chain("a"))
    with pytest.raises(InvalidInput, match="no stream mode 'token'; there are values, updates"):
        engine.submit(graph, stream="token")
    assert engine.jobs() == []
    job = engine.submit(graph)
    with pytest.raises(InvalidInput, match="no stream mode is given"):
        job.stream([])
    with pytest.raises(InvalidInput, match="no position"):
        job.stream(after="yesterday")


# ---------------------------------------------------------------- who comes when


def test_a_late_reader_gets_what_is_kept_and_goes_on_without_a_gap(engine: Engine) -> None:
    waits = threading.Event()
    job = engine.submit(engine.add("gated", gated(waits, [])), HELLO, stream=ALL)
    early = job.stream(ALL)
    first = list(itertools.takewhile(lambda part: part["type"] != "messages", early))
    late = job.stream(ALL)
    begun = [next(late) for _ in first]
    assert begun == first
    waits.set()
    rest = list(late)
    assert [*begun, *rest] == list(job.stream(ALL))
    assert not any("gap" in part for part in rest)


def test_a_stream_goes_on_behind_any_part(engine: Engine) -> None:
    job = engine.submit(engine.add("talk", talk()), HELLO, stream=ALL)
    parts = list(job.stream(ALL))
    for place in (0, 1, len(parts) // 2, len(parts) - 1):
        assert list(job.stream(ALL, after=parts[place]["id"])) == parts[place + 1 :]
    stream = job.stream(("custom", "messages"))
    some = [next(stream) for _ in range(3)]
    rest = list(job.stream(("custom", "messages"), after=stream.position))
    assert [*some, *rest] == [part for part in parts if part["type"] in ("custom", "messages")]


def test_while_nobody_listens_nothing_is_written_and_no_model_streams(engine: Engine) -> None:
    asked: list[str] = []
    job = engine.submit(engine.add("talk", talk(asked)), HELLO)
    job.result(DEADLINE)
    assert asked == ["whole", "whole"]
    assert list(job.stream(ALL)) == []


def test_a_reader_may_come_and_leave_while_the_graph_runs(engine: Engine) -> None:
    asked: list[str] = []
    waits, reached = threading.Event(), threading.Event()
    job = engine.submit(engine.add("gated", gated(waits, asked, reached)), HELLO)
    reached.wait(DEADLINE)
    with job.stream("messages") as stream:
        waits.set()
        assert text(list(stream)) == "".join(WORDS)
    assert asked == ["whole", "streamed"]

    waits.clear()
    reached.clear()
    job = engine.submit("gated", HELLO, stream="messages")
    with job.stream("messages") as stream:
        next(stream)
        reached.wait(DEADLINE)
    outlet = until(lambda: next(iter(engine._supervisor.worker._live._open.values()), None))  # type: ignore[union-attr]
    engine._loop.call(engine._parts.live.leave(f"s-{job.id}"))
    engine._loop.call(engine._database.write(lambda: live_rows.leave(f"s-{job.id}")))
    engine._loop.call(engine._supervisor.hear_listeners())
    until(lambda: not outlet.wanted)
    waits.set()
    job.result(DEADLINE)
    assert asked == ["whole", "streamed", "streamed", "whole"]


def test_a_reader_of_another_process_is_heard_while_the_graph_runs(
    engine: Engine, open_engine: Open
) -> None:
    asked: list[str] = []
    waits, reached = threading.Event(), threading.Event()
    job = engine.submit(engine.add("gated", gated(waits, asked, reached)), HELLO)
    reached.wait(DEADLINE)
    other = open_engine(worker=False)
    stream = other.job(job.id).stream(("messages", "updates"))
    outlet = next(iter(engine._supervisor.worker._live._open.values()))  # type: ignore[union-attr]
    until(lambda: outlet.wanted == {"messages", "updates"})
    waits.set()
    parts = list(stream)
    assert text(parts) == "".join(WORDS)
    assert [list(part["data"]) for part in parts if part["type"] == "updates"] == [["second"]]


def test_the_lease_of_a_reader_that_was_killed_ends(engine: Engine, tmp_path: Path) -> None:
    asked: list[str] = []
    waits, reached = threading.Event(), threading.Event()
    job = engine.submit(engine.add("gated", gated(waits, asked, reached)), HELLO)
    reached.wait(DEADLINE)
    outlet = next(iter(engine._supervisor.worker._live._open.values()))  # type: ignore[union-attr]
    with elsewhere(READER, str(tmp_path), engine._database.url, job.id) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reads\n"
        until(lambda: outlet.wanted == set(ALL))
        reader.send_signal(signal.SIGKILL)
    until(lambda: not outlet.wanted)
    waits.set()
    job.result(DEADLINE)
    assert asked == ["whole", "whole"]


def test_many_readers_with_other_modes_and_paces(engine: Engine, open_engine: Open) -> None:
    other = open_engine(worker=False)
    job = engine.submit(engine.add("talk", talk(pause=0.005)), HELLO, stream=ALL)
    got: dict[int, list[dict[str, Any]]] = {}

    def read(number: int) -> None:
        handle = (engine, other)[number % 2].job(job.id)
        found = []
        for part in handle.stream(ALL[number % 7]):
            found.append(part)
            time.sleep(0.002 * (number % 3))  # a reader's own pace
        got[number] = found

    readers = [threading.Thread(target=read, args=(number,)) for number in range(20)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(DEADLINE)
    parts = list(job.stream(ALL))
    for number in range(20):
        assert got[number] == [part for part in parts if part["type"] == ALL[number % 7]]


# ---------------------------------------------------------------- how it ends


def asks() -> StateGraph[Any]:
    def ask(state: Log) -> dict[str, list[str]]:
        return {"log": [interrupt("Publish?")]}

    graph = chain("before")
    graph.add_node("ask", ask)
    graph.add_edge("before", "ask")
    return graph


def test_a_job_that_waits_ends_its_stream_with_the_question(engine: Engine) -> None:
    job = engine.submit(engine.add("asks", asks()), {"log": []}, stream=("values", "updates"))
    first = list(job.stream(("values", "updates")))
    assert [part["interrupts"][0].value for part in first[-1:]] == ["Publish?"]
    assert first[-2]["data"]["__interrupt__"][0].value == "Publish?"
    waits = engine.job(job.id).stream("values", after=first[-1]["id"])
    assert list(waits) == []
    job.answer("yes")
    rest = list(job.stream("values", after=first[-1]["id"]))
    assert rest[-1]["data"] == {"log": ["before", "yes"]}
    assert {part["attempt"] for part in rest} == {2}


def test_a_paused_job_ends_its_stream_and_goes_on_in_the_next(engine: Engine) -> None:
    waits, reached = threading.Event(), threading.Event()
    job = engine.submit(engine.add("gated", gated(waits, [], reached)), HELLO, stream="messages")
    stream = job.stream("messages")
    reached.wait(DEADLINE)
    job.pause(now=True)
    before = list(stream)
    assert job.status is JobStatus.PAUSED
    assert text(before) == "".join(WORDS)
    waits.set()
    job.resume()
    after = list(job.stream("messages", after=stream.position))
    assert job.wait(DEADLINE) is JobStatus.COMPLETED
    assert {part["attempt"] for part in after} <= {2}


def test_a_deleted_job_tells_its_reader(engine: Engine) -> None:
    job = engine.submit(engine.add("talk", talk()), HELLO, stream=ALL)
    stream = job.stream(ALL)
    next(stream)
    job.wait(DEADLINE)
    job.delete()
    with pytest.raises(JobNotFound, match="deleted"):
        list(stream)
    assert rows(engine, "live") == rows(engine, "live_listeners") == 0


def rows(engine: Engine, table: str) -> int:
    def count() -> Any:
        found = yield One(f"select count(*) as n from {table}", {})
        return found[0]["n"]

    return int(engine._loop.call(engine._database.read(count)))


WORKER = """
import sys
from ucop.engine import Engine
from ucop.engine.settings import Settings
from tests.support.streams import talk
settings = Settings.load(sys.argv[1], database=sys.argv[2], poll=0.02, sweep=0.2, lease=5.0)
with Engine(settings=settings) as engine:
    engine.add("talk", talk(pause=float(sys.argv[3])))
    print("works", flush=True)
    sys.stdin.read()
"""


def test_a_killed_worker_is_followed_by_the_next_in_one_stream(
    open_engine: Open, tmp_path: Path
) -> None:
    here = open_engine(worker=False)
    url = here._database.url
    job = here.submit(here.add("talk", talk()), HELLO, stream=ALL)
    stream = job.stream(ALL)
    got = []
    with elsewhere(WORKER, str(tmp_path), url, "5") as first:
        got.append(next(stream))
        while got[-1]["type"] != "custom":
            got.append(next(stream))
        first.kill()
    with elsewhere(WORKER, str(tmp_path), url, "0") as second:
        got += list(stream)
        second.kill()
    assert [part["attempt"] for part in got] == sorted(part["attempt"] for part in got)
    after = [part for part in got if part["attempt"] == 2]
    assert text(after) == "".join(WORDS) * 2
    assert job.status is JobStatus.COMPLETED


# ---------------------------------------------------------------- what cannot be sent


def test_what_is_too_large_is_left_out_with_a_mark_and_the_job_goes_on(engine: Engine) -> None:
    def grows(state: Log) -> dict[str, list[str]]:
        get_stream_writer()({"big": "x" * (PART_LIMIT + 1), "small": [1, 2]})
        return {"log": ["y" * (PART_LIMIT + 1)]}

    graph: Any = StateGraph(Log)
    graph.add_node("grows", grows)
    graph.add_edge(START, "grows")
    graph.add_edge("grows", END)
    job = engine.submit(engine.add("grows", graph), {"log": []}, stream=("custom", "values"))
    _, custom, values = job.stream(("custom", "values"))
    assert custom["data"]["small"] == [1, 2]
    assert isinstance(custom["data"]["big"], Omitted)
    assert isinstance(values["data"]["log"][0], Omitted)
    assert len(job.result(DEADLINE)["log"][0]) == PART_LIMIT + 1


def test_values_of_a_graphs_own_classes_are_sent_as_what_they_hold(engine: Engine) -> None:
    class State(BaseModel):
        point: Point | None = None
        lock: Annotated[Any, UntrackedValue] = None

    def sets(state: State) -> dict[str, Any]:
        return {"point": Point(1, 2), "lock": threading.Lock()}

    graph: Any = StateGraph(State)
    graph.add_node("sets", sets)
    graph.add_edge(START, "sets")
    graph.add_edge("sets", END)
    job = engine.submit(engine.add("sets", graph), {}, stream=("values", "updates"))
    parts = {part["type"]: part["data"] for part in job.stream(("values", "updates"))}
    assert parts["values"]["point"] == {"x": 1, "y": 2}
    assert parts["updates"]["sets"]["lock"] == Omitted("a value of _thread.lock cannot be sent")
    assert job.status is JobStatus.COMPLETED


def test_secrets_of_the_config_are_not_sent(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPEAKERS_KEY", "hunter2")
    config = {"configurable": {"key": "${env:SPEAKERS_KEY}", "tone": "dry"}}
    job = engine.submit(engine.add("talk", talk()), HELLO, config=config, stream=ALL)
    parts = list(job.stream(ALL))
    assert job.status is JobStatus.COMPLETED
    assert "hunter2" not in repr(parts)
    configs = [part["data"]["config"] for part in parts if part["type"] == "checkpoints"]
    assert {config["configurable"].get("tone") for config in configs} >= {"dry"}


@dataclass
class Point:
    x: int
    y: int


# ---------------------------------------------------------------- what is kept


def test_of_much_the_newest_is_kept_and_a_late_reader_sees_that(open_engine: Open) -> None:
    engine = open_engine(settings={"live": LiveSettings(bytes=1 << 20)})

    async def tells(state: Log) -> dict[str, list[str]]:
        for number in range(20):
            get_stream_writer()([number, "x" * 250_000])
            await asyncio.sleep(0)
        return {"log": ["told"]}

    graph: Any = StateGraph(Log)
    graph.add_node("tells", tells)
    graph.add_edge(START, "tells")
    graph.add_edge("tells", END)
    job = engine.submit(engine.add("tells", graph), {"log": []}, stream="custom")
    job.wait(DEADLINE)
    kept = list(job.stream("custom"))
    numbers = [part["data"][0] for part in kept]
    assert numbers[-1] == 19
    assert 0 < len(kept) < 12
    marks = [part.get("gap", False) for part in kept]
    assert marks == [after != before + 1 for before, after in itertools.pairwise([-1, *numbers])]


def test_what_was_emitted_goes_some_time_after_the_job_rests(open_engine: Open) -> None:
    engine = open_engine(settings={"live": LiveSettings(keep=0.3)})
    waits, reached = threading.Event(), threading.Event()
    engine.add("gated", gated(waits, [], reached))
    done = engine.submit(engine.add("talk", talk()), HELLO, stream=ALL)
    runs = engine.submit("gated", HELLO, stream=ALL)
    reached.wait(DEADLINE)
    done.wait(DEADLINE)
    until(lambda: list(done.stream(ALL)) == [])
    with runs.stream(ALL) as stream:
        assert next(stream)["type"] == "checkpoints"
    waits.set()


# ---------------------------------------------------------------- the job's own story


def test_steps_and_custom_events_inside_subgraphs_are_the_jobs(engine: Engine) -> None:
    job = engine.submit(engine.add("talk", talk()), HELLO)
    job.result(DEADLINE)
    steps = {step.node: (step.status, step.model_calls) for step in job.steps()}
    assert steps == {
        "ask": ("completed", 1),
        "inside": ("completed", 0),
        "inside/answer": ("completed", 1),
        "inside/note": ("completed", 0),
        "close": ("completed", 0),
    }
    told = [event.data for event in job.events() if event.type == "progress"]
    assert told == [
        {"data": {"turn": 0}},
        {"data": {"turn": 1}, "within": "inside"},
        {"data": "noted", "within": "inside"},
        {"data": "noted"},
    ]


def test_steps_of_subgraphs_with_a_saver_of_their_own_are_seen(engine: Engine) -> None:
    inside = chain("x", "y").compile(checkpointer=InMemorySaver())

    async def calls(state: Log) -> dict[str, list[str]]:
        first = await inside.ainvoke({"log": []})
        return {"log": first["log"]}

    graph: Any = StateGraph(Log)
    graph.add_node("calls", calls)
    graph.add_edge(START, "calls")
    graph.add_edge("calls", END)
    job = engine.submit(engine.add("calls", graph), {"log": []})
    assert job.result(DEADLINE) == {"log": ["x", "y"]}
    assert {step.node: str(step.status) for step in job.steps()} == {
        "calls": "completed",
        "calls/x": "completed",
        "calls/y": "completed",
    }


def test_the_compilers_own_nodes_and_channels_are_hidden(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "loops.yaml"
    file.write_text(LOOPS, encoding="utf-8")
    job = engine.submit(file, {"n": 1}, stream=ALL)
    parts = list(job.stream(ALL))
    assert job.status is JobStatus.WAITING
    job.answer({"ok": False})
    parts += list(job.stream(ALL, after=parts[-1]["id"]))
    job.answer({"ok": True})
    parts += list(job.stream(ALL, after=parts[-1]["id"]))
    assert job.status is JobStatus.WAITING
    assert {part["type"] for part in parts} == set(ALL) - {"messages", "custom"}
    told = repr(parts)
    assert "_loops" not in told
    assert "_running" not in told
    assert "?item" not in told
    assert {"a": {"d": {"ok": False}}} in [part["data"] for part in parts]


LOOPS = """
name: loops
input: {n: integer}
nodes:
  a: {ask: "Go?", answer: {ok: boolean}, writes: d}
  b: {ask: "Go ${i}", each: "${[1, 2]}", as: i, answer: {ok: boolean}, writes: e}
edges:
  - START -> a
  - from: a
    to: [{node: a, when: "!d.ok", at_most: 2}, {node: b}]
  - b -> END
output: {d: "${d}"}
"""
