"""Code that blocks, ends or breaks the engine's loop costs its own job at most."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from tests.support.graphs import Log, Node, chain
from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, JobFailed
from ucop.engine.ledger import workers
from ucop.engine.reading.reader import Reader
from ucop.engine.reading.why import causes


def graph_of(node: Node) -> StateGraph[Any]:
    graph = StateGraph(Log)
    graph.add_node("acts", node)
    graph.add_edge(START, "acts")
    return graph


def why(engine: Engine, job: str) -> list[str]:
    """As `ucop jobs why` has it, which reads without an engine's loop."""
    from ucop.engine.database.read_only import connect

    with Reader(connect(engine.settings.url)) as reader:
        return list(causes(reader.job(job), reader.dispatch(job), (), time.time()))


def test_jobs_keep_their_worker_while_a_node_blocks_its_loop(
    open_engine: Callable[..., Engine], caplog: pytest.LogCaptureFixture
) -> None:
    short = {"lease": 1.0, "sweep": 0.1}
    worker = open_engine(settings=short)
    # DBOS has one worker in a process.
    other = open_engine(settings=short, worker=worker.settings.url.startswith("sqlite"))
    other_knows_nothing_of_it = threading.Event()
    gate = threading.Event()

    async def blocks(state: Log) -> dict[str, list[str]]:
        gate.wait(DEADLINE)
        return {"log": ["blocked"]}

    async def waits(state: Log) -> dict[str, list[str]]:
        await asyncio.sleep(0)
        other_knows_nothing_of_it.set()
        while not gate.is_set():
            await asyncio.sleep(0.01)
        return {"log": ["waited"]}

    beside = worker.submit(worker.add("beside", graph_of(waits)))
    assert other_knows_nothing_of_it.wait(DEADLINE)
    job = worker.submit(worker.add("blocks", graph_of(blocks)))
    try:
        found = until(lambda: [line for line in why(other, job.id) if "blocked" in line])
        assert "in node acts for" in found[0]
        assert __file__ in found[0]
        found = until(lambda: [line for line in why(other, beside.id) if "blocked" in line])
        assert f"in node acts of job {job.id} for" in found[0]
        assert any("blocked in node acts" in each.message for each in caplog.records)
        # Several leases later it is the same worker's.
        since = time.monotonic()
        until(lambda: time.monotonic() - since > 3)
        assert not [each for each in caplog.records if "is gone" in each.message]
    finally:
        gate.set()
    assert job.result(DEADLINE) == {"log": ["blocked"]}
    assert beside.result(DEADLINE) == {"log": ["waited"]}
    assert (job.get().attempt, beside.get().attempt) == (1, 1)
    until(lambda: not [line for line in why(other, job.id) if "blocked" in line])


def test_a_loop_that_never_comes_back_gives_its_jobs_to_others(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ucop.engine.worker import pulse

    monkeypatch.setattr(pulse, "LEASES", 1)
    short = {"lease": 1.0, "sweep": 0.1}
    gate, lost = threading.Event(), threading.Event()
    worker = open_engine(settings=short)
    worker.on_lost = lambda message: lost.set()

    async def blocks(state: Log) -> dict[str, list[str]]:
        gate.wait(DEADLINE)
        return {"log": ["blocked"]}

    job = worker.submit(worker.add("blocks", graph_of(blocks)))
    try:
        assert lost.wait(DEADLINE)
        assert "blocked in node acts" in (worker.lost or "")
        if worker.settings.url.startswith("sqlite"):  # DBOS has one worker in a process
            other = open_engine(settings=short)
            other.add("blocks", graph_of(lambda state: {"log": ["done"]}))
            assert other.job(job.id).result(DEADLINE) == {"log": ["done"]}
    finally:
        gate.set()


@pytest.mark.parametrize("way", ["stop", "callback", "task", "thread"])
def test_the_loop_goes_on_whatever_code_does_to_it(engine: Engine, way: str) -> None:
    def exits() -> None:
        raise SystemExit(3)

    async def soon() -> None:
        exits()

    async def acts(state: Log) -> dict[str, list[str]]:
        loop = asyncio.get_running_loop()
        match way:
            case "stop":
                loop.stop()
            case "callback":
                loop.call_soon(exits)
            case "task":
                loop.create_task(soon()).add_done_callback(lambda task: task.exception())
            case "thread":
                await asyncio.wait([loop.run_in_executor(None, exits)])
        await asyncio.sleep(0.05)
        return {"log": ["acted"]}

    job = engine.submit(engine.add("acts", graph_of(acts)))
    assert job.result(DEADLINE) == {"log": ["acted"]}
    assert engine.submit(engine.add("after", chain("a"))).result(DEADLINE) == {"log": ["a"]}


def test_a_loop_of_the_worker_that_ends_gives_it_a_new_one(engine: Engine) -> None:
    worker = engine._supervisor.worker
    assert worker is not None

    def end() -> None:
        worker._loops[1].cancel()

    engine._loop.soon(end)
    until(lambda: engine._supervisor.worker is not None and engine._supervisor.worker is not worker)
    assert "sweep" in (engine.lost or "")
    assert engine.submit(engine.add("after", chain("a"))).result(DEADLINE) == {"log": ["a"]}


def test_an_attempt_that_breaks_off_three_times_is_a_poison_job(
    open_engine: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ucop.engine.ledger import lifecycle

    monkeypatch.setattr(lifecycle, "BACK_OFF", 0.01)
    engine, ran = open_engine(settings={"sweep": 0.05}), list[int]()

    def acts(state: Log) -> dict[str, list[str]]:
        ran.append(1)
        raise ValueError("mine")

    def broken(*_: object) -> Any:
        raise RuntimeError("a defect of the engine")

    monkeypatch.setattr("ucop.engine.attempts.attempt.Attempt._failed", broken)
    job = engine.submit(engine.add("acts", graph_of(acts)))
    with pytest.raises(Exception, match="a defect"):
        job.result(DEADLINE)
    until(lambda: job.status == "failed")
    with pytest.raises(JobFailed, match="a defect") as failed:
        job.result(DEADLINE)
    assert failed.value.type == "PoisonJob"
    assert len(ran) <= 4  # the first saved the input


async def test_a_worker_that_was_declared_lost_is_not_spoken_for(database: Any) -> None:
    from ucop.engine.jobs.job import WorkerId

    worker = WorkerId("w")
    await database.write(lambda: workers.join(worker, "h", 1, "[]"))
    speak = asyncio.to_thread(database.write_apart, lambda: workers.speak(worker, "{}"))
    assert await speak
    await database.write(lambda: workers.mark_lost(worker))
    assert not await asyncio.to_thread(database.write_apart, lambda: workers.speak(worker, "{}"))
