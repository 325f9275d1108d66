"""Meshes as jobs: who was asked, what the job tells of it, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.meshes import FILES
from tests.support.ollama import ScriptedOllama, answer, text
from ucop.engine import Engine, JobFailed, JobHandle, Settings
from ucop.engine.database.database import Database
from ucop.engine.database.drivers import on_sqlite
from ucop.engine.database.sqlite import open_file, prepare
from ucop.engine.errors import InvalidInput
from ucop.engine.jobs.job import JobId
from ucop.engine.jobs.status import JobStatus
from ucop.engine.ledger.operation import Statement, run
from ucop.engine.reading.reader import open_reader
from ucop.engine.stores.mesh_calls import Call, Meshes, choose, end
from ucop.graphs.nodes.breaker import BreakerRules

DEADLINE = 60.0


@pytest.fixture(autouse=True)
def project(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def settings(url: str, project: Path) -> Settings:
    return Settings.load(
        project,
        database=url,
        poll=0.02,
        sweep=0.2,
        embedded=False,
        workflows=("workflows/*.yaml",),
        agents=("agents.py",),
        mesh_failures=2,
        mesh_pause=0.3,
    )


def path_of(hops: Any) -> list[tuple[Any, ...]]:
    return [(hop["asker"], hop["agent"], hop["capability"], hop["outcome"]) for hop in hops]


def ran(project: Path) -> list[str]:
    file = project / "ran.txt"
    return file.read_text().splitlines() if file.exists() else []


def hops_of(job: JobHandle) -> list[tuple[str, int]]:
    return [
        (event.type, event.data["hop"])
        for event in job.events()
        if event.type.startswith("mesh.") and "hop" in event.data
    ]


def failure_of(job: JobHandle) -> tuple[str, str]:
    assert job.wait(DEADLINE) == JobStatus.FAILED
    error = job.get().error
    assert error is not None
    return error.type, error.message


WHOLE = [
    (None, "writer", None, "answered"),
    ("writer", "anna", "research", "answered"),
    ("writer", "checker", "check", "answered"),
]


def test_an_agent_asks_on_demand_and_its_answers_come_back_to_it(engine: Engine) -> None:
    job = engine.submit("news", {"topic": "tea"})
    result = job.result(DEADLINE)
    notes = "notes on tea"
    assert result["answer"] == {"text": f"tea: {notes}", "verdict": f"checked {notes}"}
    assert result["hops"] == 3
    assert path_of(result["path"]) == WHOLE
    # The asker is called again for each answer: one step a call, in the order of the hops.
    assert [step.node for step in job.steps()] == ["writer", "anna", "writer", "checker", "writer"]
    assert hops_of(job) == [
        *(("mesh.asked", 1), ("mesh.asked", 2), ("mesh.answered", 2)),
        *(("mesh.asked", 3), ("mesh.answered", 3), ("mesh.answered", 1)),
    ]


def test_an_agent_that_fails_is_replaced_by_another_that_can(engine: Engine, project: Path) -> None:
    (project / "anna.down").touch()
    job = engine.submit("news", {"topic": "tea"})
    result = job.result(DEADLINE)
    assert path_of(result["path"]) == [
        WHOLE[0],
        ("writer", "anna", "research", "failed"),
        ("writer", "bert", "research", "answered"),
        WHOLE[2],
    ]
    assert result["path"][1]["error"] == {"type": "ConnectionError", "message": "anna is down"}
    failed = next(step for step in job.steps() if step.node == "anna")
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.caught


def test_where_all_that_could_answer_fail_the_job_fails_and_a_person_may_let_it_go_on(
    engine: Engine, project: Path
) -> None:
    (project / "anna.down").touch()
    (project / "bert.down").touch()
    job = engine.submit("news", {"topic": "tea"})
    kind, message = failure_of(job)
    assert kind == "MeshAgentDead"
    assert "writer asks for 'research'" in message
    assert "ConnectionError: bert is down" in message
    assert (
        "The path: 1 the job asked writer (waiting), 2 writer asked anna for research "
        "(failed: ConnectionError), 3 writer asked bert for research (failed: ConnectionError)"
    ) in message
    with pytest.raises(JobFailed, match="MeshAgentDead"):
        job.result()
    (project / "bert.down").unlink()
    (project / "anna.down").unlink()
    job.resume()
    result = job.result(DEADLINE)
    assert [hop["agent"] for hop in result["path"]] == ["writer", "anna", "bert", "anna", "checker"]
    assert ran(project).count("writer tea") == 3


@pytest.mark.parametrize(
    ("name", "kind", "said", "hops"),
    [
        (
            "cycle",
            "MeshCycle",
            "egg asks for 'chicken', and hen that could answer waits for an answer itself",
            "1 the job asked hen (waiting), 2 hen asked egg for egg (waiting)",
        ),
        (
            "missing",
            "MissingCapability",
            "stray asks for 'miracles', and nobody in the mesh declares it; they declare tick",
            "1 the job asked stray (waiting)",
        ),
        (
            "many",
            "TooManyHops",
            "counter asks for 'tick', and max_hops is 5",
            "5 counter asked clock for tick (answered)",
        ),
    ],
)
def test_a_mesh_that_stops_early_fails_with_the_reason_and_the_whole_path(
    engine: Engine, name: str, kind: str, said: str, hops: str
) -> None:
    job = engine.submit(name)
    found, message = failure_of(job)
    assert (found, message.partition(". The path: ")[0]) == (kind, said)
    assert hops in message.partition(". The path: ")[2]
    (stopped,) = [event for event in job.events() if event.type == "mesh.stopped"]
    assert stopped.data["error"] == {"type": kind, "message": message}


def test_two_jobs_at_the_same_time_are_not_mixed_up(engine: Engine) -> None:
    topics = [f"topic {n}" for n in range(12)]
    jobs = [engine.submit("news", {"topic": topic}) for topic in topics]
    for job, topic in zip(jobs, topics, strict=True):
        result = job.result(DEADLINE)
        assert result["answer"]["text"] == f"{topic}: notes on {topic}"
        assert result["hops"] == 3


def test_a_mesh_at_a_node_runs_inside_a_workflow_and_per_item(engine: Engine) -> None:
    job = engine.submit("page", {"topics": ["tea", "milk"]})
    assert job.result(DEADLINE) == ["tea: notes on tea", "milk: notes on milk"]
    nodes = [step.node for step in job.steps()]
    assert nodes.count("write/writer") == 6
    assert set(nodes) == {"write", "write/writer", "write/anna", "write/bert", "write/checker"} - (
        set() if "write/bert" in nodes else {"write/bert"}
    )
    asked = [event for event in job.events() if event.type == "mesh.asked"]
    assert {event.data["node"] for event in asked} == {"write"}


def test_a_workflow_that_is_a_mesh_runs_inside_another(engine: Engine, project: Path) -> None:
    (project / "outer.yaml").write_text(
        "name: outer\nnodes:\n  sub: {workflow: news, with: {topic: tea}, writes: news}\n"
        "output: ${news.answer.text}\n"
    )
    job = engine.submit(project / "outer.yaml")
    assert job.result(DEADLINE) == "tea: notes on tea"
    assert [step.node for step in job.steps()] == [
        *("sub", "sub/writer", "sub/anna", "sub/writer", "sub/checker", "sub/writer")
    ]
    assert {e.data["node"] for e in job.events() if e.type == "mesh.asked"} == {"sub"}


def test_a_fork_gives_the_asker_another_answer(engine: Engine) -> None:
    job = engine.submit("news", {"topic": "tea"})
    job.result(DEADLINE)
    (after_anna,) = [c for c in job.checkpoints() if c.nodes == ("anna",)]
    with pytest.raises(InvalidInput, match="_said must be"):
        job.fork(checkpoint=after_anna.id, update={"_said": "my own notes"})
    fork = job.fork(checkpoint=after_anna.id, update={"_said": {"answer": "my own notes"}})
    result = fork.result(DEADLINE)
    assert result["answer"] == {
        "text": "tea: my own notes",
        "verdict": "checked my own notes",
    }
    assert path_of(result["path"]) == WHOLE
    first = job.checkpoints()[-1]
    with open_reader(engine.settings.url) as reader:
        (since,) = reader.hops(fork.id)
    assert [(hop.hop, hop.asked_at is None, hop.outcome) for hop in since.hops] == [
        *((1, True, "answered"), (2, True, "answered"), (3, False, "answered"))
    ]
    other = job.fork(checkpoint=first.id, update={"topic": "milk"}).result(DEADLINE)
    assert other["answer"]["text"] == "milk: notes on milk"


PROMPTS = """
kind: mesh
name: prompts
input: {topic: string}
agents:
  author:
    asks: [facts]
    prompt: "Write on ${topic}"
    input: {topic: string}
    output: {text: string}
  expert: {capabilities: [facts], prompt: "Facts on ${topic}", input: {topic: string}}
mesh: {entry: author}
output: "${result.answer.text}"
"""


def test_a_budget_pauses_a_mesh_and_it_goes_on_at_the_hop_that_was_refused(
    open_engine: Callable[..., Engine], project: Path
) -> None:
    question = {"ask": {"capability": "facts", "data": {"topic": "tea"}}}
    replies = [answer(question), text("It is green."), answer({"answer": {"text": "Green."}})]
    (project / "prompts.yaml").write_text(PROMPTS, encoding="utf-8")
    with ScriptedOllama(replies) as ollama:
        engine = open_engine(settings={"ollama_host": ollama.url})
        job = engine.submit(project / "prompts.yaml", {"topic": "tea"}, budget={"model_calls": 1})
        assert job.wait(DEADLINE) == JobStatus.PAUSED
        assert ollama.calls == 1
        job.resume(budget={"model_calls": 3})
        assert job.result(DEADLINE) == "Green."
        assert ollama.calls == 3
    spent = [(step.node, step.attempt, step.model_calls) for step in job.steps()]
    assert [one for one in spent if one[2]] == [
        ("author", 1, 1),
        ("expert", 2, 1),
        ("author", 2, 1),
    ]
    # A refusal of the budget says nothing of the agent.
    with open_reader(engine.settings.url) as reader:
        fare = {each.agent: (each.calls, each.failed) for each in reader.mesh_agents(RULES)}
    assert fare == {"author": (2, 0), "expert": (1, 0)}


def test_a_call_that_takes_too_long_is_tried_again_and_then_given_to_another(
    engine: Engine, project: Path
) -> None:
    (project / "wait.txt").touch()
    late = FILES["workflows/news.yaml"].replace(
        "{entry: writer}", "{entry: writer, timeout: 200ms, retry: {attempts: 2, delay: 10ms}}"
    )
    (project / "late.yaml").write_text(late, encoding="utf-8")
    job = engine.submit(project / "late.yaml", {"topic": "tea"})
    kind, message = failure_of(job)
    assert kind == "MeshAgentDead"
    assert "3 writer asked checker for check (failed: NodeTimeoutError)" in message
    assert ran(project).count("checker notes on tea") == 2
    assert [event.data["try"] for event in job.events() if event.type == "step.retried"] == [2]


# ---- breakers and load, over all jobs and workers

RULES = BreakerRules(failures=2, pause=30.0)


async def chosen(database: Database, *agents: str, key: str = "k") -> str | None:
    made = choose(agents, RULES, key, _JOB, 1)
    return await database.write(lambda: made)


_JOB: Any = "job"


async def test_the_least_busy_agent_is_asked_and_calls_of_ended_jobs_do_not_count(
    engine: Engine, database: Database, project: Path
) -> None:
    (project / "wait.txt").touch()
    job = engine.submit("news", {"topic": "tea"})
    until(lambda: "checker notes on tea" in ran(project))
    assert await chosen(database, "anna", "bert") == "anna"
    assert await chosen(database, "checker", "writer") == "writer"
    # One that an earlier attempt of the job made was broken off with it.
    await Meshes(database, RULES).calls_of(JobId(job.id), 7).began("earlier", "anna")
    assert await chosen(database, "anna", "bert") == "anna"
    job.cancel()
    assert await chosen(database, "checker", "writer") == "checker"


async def test_a_breaker_opens_lets_one_trial_through_and_closes(
    open_engine: Callable[..., Engine], database: Database, project: Path
) -> None:
    engine = open_engine()
    (project / "anna.down").touch()
    for _ in range(3):
        engine.submit("news", {"topic": "tea"}).result(DEADLINE)
    # Twice she failed, so the third job did not ask her.
    assert (ran(project).count("anna tea"), ran(project).count("bert tea")) == (2, 3)
    (project / "anna.down").unlink()
    (project / "bert.down").touch()
    time.sleep(0.35)
    result = engine.submit("news", {"topic": "milk"}).result(DEADLINE)
    # Healthy goes before half-open; when he fails, she is tried, and answers.
    assert [hop["agent"] for hop in result["path"]] == ["writer", "bert", "anna", "checker"]
    result = engine.submit("news", {"topic": "milk"}).result(DEADLINE)
    assert [hop["agent"] for hop in result["path"]] == ["writer", "anna", "checker"]


async def test_an_open_breaker_fails_the_job_at_once_and_says_so(
    open_engine: Callable[..., Engine], project: Path
) -> None:
    engine = open_engine(settings={"mesh_pause": 600.0})
    (project / "anna.down").touch()
    (project / "bert.down").touch()
    for _ in range(2):
        failure_of(engine.submit("news", {"topic": "tea"}))
    kind, message = failure_of(engine.submit("news", {"topic": "tea"}))
    assert kind == "MeshAgentDead"
    assert "each of anna, bert failed too often of late and is not asked for now" in message
    assert ran(project).count("anna tea") == 2


async def test_only_one_of_many_workers_tries_an_agent_that_is_half_open(
    database: Database,
) -> None:
    calls = Meshes(database, RULES).calls_of(_JOB, 1)
    for _ in range(2):
        await calls.ended("k", "anna", 0.5, "ConnectionError: down")
    assert await chosen(database, "anna") is None
    await _shift(database, 31.0)
    assert await chosen(database, "anna") == "anna"
    assert await chosen(database, "anna") is None
    assert await chosen(database, "anna", "bert") == "bert"


def test_of_two_that_see_an_agent_half_open_at_once_one_tries_it(tmp_path: Path) -> None:
    prepare(tmp_path / "race.db")
    with closing(open_file(tmp_path / "race.db")) as connection:

        def perform(statement: Statement) -> Any:
            return on_sqlite(connection, statement)

        call = Call(key="k", job=_JOB, attempt=1, agent="anna")
        for _ in range(2):
            run(end(call, 0.1, "down"), perform)
        connection.execute("update mesh_agents set failed_at = failed_at - 100")
        first, second = (choose(["anna"], RULES, key, _JOB, 1) for key in ("a", "b"))
        statement = next(first)
        while "set trial_at" not in statement.sql:  # type: ignore[union-attr]
            statement = first.send(perform(statement))
        assert run(second, perform) == "anna"
        with pytest.raises(StopIteration) as ended:
            first.send(perform(statement))
    assert ended.value.value is None


async def _shift(database: Database, seconds: float) -> None:
    """As if it had happened so much earlier: PostgreSQL has a clock of its own."""
    from ucop.engine.ledger.operation import One, Operation

    def earlier() -> Operation[None]:
        yield One("update mesh_agents set failed_at = failed_at - :seconds", {"seconds": seconds})

    await database.write(earlier)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
