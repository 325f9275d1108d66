"""Turns of requests to models: the rule itself, and that both databases and many processes keep it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support import ollama as scripted
from tests.support.ollama import ScriptedOllama
from ucop.agents.providers.rates import MINUTE, ProcessRates, Rate
from ucop.engine import Engine
from ucop.engine.database.database import Database
from ucop.engine.stores.model_rates import release, reserve, settle

DEADLINE = 60.0
FLOW = """\
name: flow
input: {{words: string}}
agents:
  asker:
    prompt: "${{words}}"
    input: {{words: string}}
nodes:
  {nodes}
"""


def kept(starts: list[tuple[float, int]], rate: Rate) -> bool:
    """Whether no minute that ends at a start holds more than it may."""
    for end, _ in starts:
        inside = [tokens for at, tokens in starts if end - MINUTE < at <= end]
        if rate.requests is not None and len(inside) > rate.requests:
            return False
        most = rate.tokens
        if most is not None and sum(min(tokens, most) for tokens in inside) > most:
            return False
    return True


@given(
    pauses=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 150)), max_size=40),
    requests=st.none() | st.integers(1, 5),
    tokens=st.none() | st.integers(1, 200),
)
def test_no_minute_has_more_than_it_may_and_nobody_overtakes(
    pauses: list[tuple[int, int]], requests: int | None, tokens: int | None
) -> None:
    now = 0.0
    rate = Rate(requests=requests, tokens=tokens)
    turns = ProcessRates(lambda: now)
    starts: list[tuple[float, int]] = []

    async def reserve_all() -> None:
        nonlocal now
        for pause, size in pauses:
            now += pause
            turn = await turns.reserve("p", rate, size)
            starts.append((now + turn.wait, size))

    asyncio.run(reserve_all())
    assert kept(starts, rate)
    assert starts == sorted(starts, key=lambda start: start[0])


async def test_a_full_minute_is_there_at_once_and_the_next_turn_comes_a_minute_later() -> None:
    turns = ProcessRates(lambda: 100.0)
    rate = Rate(requests=3, tokens=None)
    waits = [(await turns.reserve("p", rate, 0)).wait for _ in range(7)]
    assert waits == [0, 0, 0, 60, 60, 60, 120]
    assert (await turns.reserve("another", rate, 0)).wait == 0


async def test_the_database_hands_out_turns_as_the_process_does(database: Database) -> None:
    rate = Rate(requests=3, tokens=100)

    async def turn(id: str, tokens: int) -> float:
        made = await database.write(lambda: reserve(id, "p", rate, tokens))
        return round(made.wait)

    assert [await turn("a", 60), await turn("b", 30)] == [0, 0]
    assert await turn("c", 60) == 60
    await database.write(lambda: settle("c", 5))
    assert await turn("d", 60) == 60
    await database.write(lambda: release("d"))
    assert await turn("e", 20) == 60, "three in the window: a, b leave it after a minute"


async def test_turns_that_are_asked_for_at_once_are_all_different(database: Database) -> None:
    rate = Rate(requests=1, tokens=None)
    made = await asyncio.gather(
        *(
            database.write(lambda n=n: reserve(str(n), "p", rate, 0))  # type: ignore[misc]
            for n in range(20)
        )
    )
    assert sorted(round(one.wait / MINUTE) for one in made) == list(range(20))


# A worker process whose minute has two seconds: the rule is the same, and the test is short.
WORKER = """
import sys
from ucop.agents.providers import rates
rates.MINUTE = 2.0
from ucop.console.cli.main import main
sys.argv = ["ucop", "worker", "--concurrency", "25"]
main()
"""


def test_fifty_jobs_in_two_processes_keep_the_rate(tmp_path: Path, url: str) -> None:
    arrived: list[float] = []

    def note(request: dict[str, Any]) -> scripted.Reply:
        arrived.append(time.monotonic())
        return scripted.text("fine", tokens=(1, 1))

    (tmp_path / "ucop.toml").write_text(
        f'database = "{url}"\nworkflows = ["*.yaml"]\nembedded = false\n'
        "[providers.ollama]\nrequests_per_minute = 10\n"
    )
    (tmp_path / "flow.yaml").write_text(
        FLOW.format(nodes='one: {agent: asker, with: {words: "${words}"}, writes: answer}')
    )
    with ScriptedOllama(note) as ollama:
        environment = {"OLLAMA_HOST": ollama.url, "PATH": "", "PYTHONPATH": ""}
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER], cwd=tmp_path, env=environment,
                stderr=subprocess.PIPE, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        try:
            for worker in workers:
                assert worker.stderr is not None
                assert "worker on" in worker.stderr.readline()
            with Engine.from_project(tmp_path, worker=False) as engine:
                began = time.monotonic()
                jobs = [engine.submit("flow", {"words": str(n)}) for n in range(50)]
                done = [job.result(DEADLINE) for job in jobs]
                usage = [job.get().usage for job in jobs]
                by = {attempt.worker for job in jobs for attempt in job.attempts()}
        finally:
            for worker in workers:
                worker.terminate()
            told = [worker.communicate(timeout=DEADLINE)[1] for worker in workers]
    assert len(done) == 50
    assert len(by) == 2, told
    assert ollama.calls == sum(one.model_calls for one in usage) == 50
    # The first turn came after `began`; of each further ten, all come two seconds later.
    late = [at - began - 2.0 * (number // 10) for number, at in enumerate(sorted(arrived))]
    assert min(late) > -0.05, "a least time holds on any machine"
    assert sum(one.seconds_waited for one in usage) > 0
