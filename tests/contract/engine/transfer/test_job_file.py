"""One job as one file: out of one database, into another, and on from there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.support.graphs import Log, failing
from ucop.agents import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Engine, JobHandle, Settings
from ucop.engine.errors import DatabaseError, InvalidJobFile, JobExists
from ucop.engine.reading.reader import open_reader
from ucop.engine.transfer.job_file import parse, read_job_file, save
from ucop.engine.transfer.job_parts import (
    AttemptPart,
    EventPart,
    JobPart,
    Part,
    QuestionPart,
    StepPart,
)

DEADLINE = 60.0

Open = Callable[..., Engine]

SECRET = "sk-ant-0123456789abcdefghij"

FLOW = """
name: letter
input: {name: string, size: integer}
nodes:
  greet: {agent: greet, with: {name: "${name}"}, writes: text}
  sure: {ask: "Send “${text}”?", answer: boolean, writes: sure}
  close: {agent: close, with: {text: "${text}"}, writes: letter}
edges: ["START -> greet -> sure -> close -> END"]
output: ${letter}
"""


@agent
def greet(name: str) -> str:
    return f"Hello {name}"


@agent
def close(text: str) -> str:
    return f"{text}; yours"


REGISTRY = Registry.of(greet, close)


@pytest.fixture
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path, url: str) -> Iterator[Engine]:
    """An engine on a database of the other kind."""
    if url.startswith("sqlite"):
        other = request.getfixturevalue("postgres_url")
    else:
        other = f"sqlite:///{tmp_path}/other.db"
    settings = Settings.load(tmp_path, database=other, poll=0.02, sweep=0.2)
    with Engine(settings=settings, registry=REGISTRY) as engine:
        yield engine


@pytest.fixture
def home(open_engine: Open) -> Engine:
    """The engine of `asking`."""
    return open_engine(registry=REGISTRY)


@pytest.fixture
def asking(home: Engine, tmp_path: Path) -> JobHandle:
    """A job of YAML that waits for an answer."""
    path = tmp_path / "letter.yaml"
    path.write_text(FLOW, encoding="utf-8")
    job = home.submit(
        path, {"name": f"Zoë, with {SECRET}", "size": 7}, labels={"team": "docs"}, key="once"
    )
    assert job.wait(DEADLINE) == "waiting"
    return job


def moved(job: JobHandle, to: Engine, tmp_path: Path, **options: Any) -> JobHandle:
    file = tmp_path / f"{job.id}.jsonl"
    job.export(file, **options)
    return to.import_job(file)


def seen(job: JobHandle) -> dict[str, Any]:
    """All that the reading commands show of a job, and that belongs to it alone."""
    reader = job._access.reader()
    found = reader.job(job.id).model_dump(mode="json", exclude={"key", "thread_id"})
    return {
        "job": found,
        "attempts": [[each.number, each.worker, each.outcome] for each in reader.attempts(job.id)],
        "events": [
            each.model_dump(mode="json", exclude={"position"}) for each in reader.events(job.id)
        ],
        "questions": [each.model_dump(mode="json") for each in reader.questions(job.id)],
        "checkpoints": [each.model_dump(mode="json") for each in reader.checkpoints(job.id)],
        "definition": reader.definition(job.id),
    }


def without_secret(value: Any) -> Any:
    return json.loads(json.dumps(value).replace(SECRET, "[redacted]"))


def test_a_job_shows_alike_elsewhere_and_goes_on_there(
    asking: JobHandle, elsewhere: Engine, tmp_path: Path
) -> None:
    before = seen(asking)
    there = moved(asking, elsewhere, tmp_path)
    after = seen(there)
    *events, imported = after["events"]
    assert imported["type"] == "job.imported"
    assert {**after, "events": events} == without_secret(before)
    assert there.checkpoints() == elsewhere.reader.checkpoints(there.id)
    there.answer(True)
    assert there.result(DEADLINE) == "Hello Zoë, with [redacted]; yours"
    fork = there.fork(there.checkpoints()[-1].id, replace={"name": "Ada"})
    assert fork.wait(DEADLINE) == "waiting"
    fork.answer(True)
    assert fork.result(DEADLINE) == "Hello Ada; yours"
    assert seen(asking) == before, "what was exported stays as it was"


def test_it_comes_back_the_same(
    home: Engine, asking: JobHandle, elsewhere: Engine, tmp_path: Path
) -> None:
    there = moved(asking, elsewhere, tmp_path)
    (tmp_path / "back").mkdir()
    there.export(tmp_path / "back" / "file")
    here = home.import_job(tmp_path / "back" / "file", new_id=True)
    assert here.id != asking.id
    first, second = seen(asking), seen(here)
    assert [one["values"] for one in second["checkpoints"]] == without_secret(
        [one["values"] for one in first["checkpoints"]]
    )
    here.answer(False)
    assert here.result(DEADLINE) == "Hello Zoë, with [redacted]; yours"


def test_a_failed_python_graph_goes_on_with_what_was_finished(
    engine: Engine, elsewhere: Engine, tmp_path: Path
) -> None:
    job = engine.submit(engine.add("breaking", failing(1, [])))
    assert job.wait(DEADLINE) == "failed"
    ran: list[str] = []
    elsewhere.add("breaking", failing(0, ran))
    there = moved(job, elsewhere, tmp_path)
    assert there.status == "failed"
    there.retry()
    assert there.result(DEADLINE) == {"log": ["before", "breaks", "after"]}
    assert ran == ["breaks", "after"]


class Point(BaseModel):
    x: int
    label: str


class Shape(TypedDict):
    points: list[Point]
    parts: set[str]
    raw: bytes


def shapes() -> StateGraph[Any]:
    async def make(state: Shape) -> dict[str, Any]:
        return {"points": [Point(x=1, label=SECRET)], "parts": {"a"}, "raw": b"\x00\xff"}

    async def check(state: Shape) -> dict[str, Any]:
        (point,) = state["points"]
        assert isinstance(point, Point)
        assert (state["parts"], state["raw"]) == ({"a"}, b"\x00\xff")
        return {"points": [Point(x=point.x + 1, label=point.label)]}

    graph = StateGraph(Shape)
    graph.add_node("make", make)
    graph.add_node("check", check)
    graph.add_edge(START, "make")
    graph.add_edge("make", "check")
    graph.add_edge("check", END)
    return graph


def test_objects_in_the_state_come_along_and_their_secrets_do_not(
    engine: Engine, elsewhere: Engine, tmp_path: Path
) -> None:
    job = engine.submit(engine.add("shapes", shapes()))
    job.result(DEADLINE)
    elsewhere.add("shapes", shapes())
    there = moved(job, elsewhere, tmp_path)
    held = _decoded(tmp_path / f"{job.id}.jsonl")
    assert SECRET.encode() not in held
    made = next(one for one in there.checkpoints() if one.nodes == ("make",))
    fork = there.fork(made.id)
    assert fork.result(DEADLINE)["points"] == [{"x": 2, "label": "[redacted]"}]


def _decoded(file: Path) -> bytes:
    """The file, and what its values say."""
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    values = [record["value"]["data"] for record in records if "value" in record]
    return file.read_bytes() + b"".join(base64.b64decode(each) for each in values if each)


def test_contents_are_redacted_on_request_and_their_shapes_stay(
    asking: JobHandle, elsewhere: Engine, tmp_path: Path
) -> None:
    there = moved(asking, elsewhere, tmp_path, redact=True)
    held = _decoded(tmp_path / f"{asking.id}.jsonl").decode("utf-8", "replace")
    for word in ("Zoë", "Hello", "docs", SECRET):
        assert word not in held
    assert there.get().input == {"name": "xxx, xxxx [xxxxxxxx]", "size": 7}
    (question,) = there.questions()
    assert question.question == "xxxx “xxxxx xxx, xxxx [xxxxxxxx]”?"
    assert [one.nodes for one in there.checkpoints()] == [one.nodes for one in asking.checkpoints()]
    there.answer(True)
    assert there.result(DEADLINE) == "xxxxx xxx, xxxx [xxxxxxxx]; yours"


def test_a_job_that_was_queued_starts_nothing(
    open_engine: Open, elsewhere: Engine, tmp_path: Path
) -> None:
    idle = open_engine(worker=False)
    idle.add("breaking", failing(0, []))
    ran: list[str] = []
    elsewhere.add("breaking", failing(0, ran))
    there = moved(idle.submit("breaking"), elsewhere, tmp_path)
    assert (there.status, there.get().reason) == ("paused", "imported; it was pending")
    assert ran == []
    there.resume()
    assert there.result(DEADLINE) == {"log": ["before", "breaks", "after"]}


def test_a_job_that_is_there_already_is_refused(
    home: Engine, asking: JobHandle, tmp_path: Path
) -> None:
    file = tmp_path / "job"
    asking.export(file)
    before = seen(asking)
    with pytest.raises(JobExists, match="--new-id"):
        home.import_job(file)
    assert seen(asking) == before
    with pytest.raises(FileExistsError):
        asking.export(file)


def test_a_definition_from_a_file_never_stands_for_the_projects_own(
    asking: JobHandle, elsewhere: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "job"
    asking.export(file)
    file.write_bytes(forged(file, lambda record: swap(record, "letter", "other")))
    elsewhere.import_job(file)
    own = elsewhere.submit(tmp_path / "letter.yaml", {"name": "Ada", "size": 1})
    assert elsewhere.reader.definition(own.id)["definition"]["name"] == "letter"


def swap(record: Any, old: str, new: str) -> Any:
    if "definition" not in record:
        return record
    return json.loads(json.dumps(record).replace(old, new))


def forged(file: Path, change: Callable[[Any], Any]) -> bytes:
    """The file with each record changed, and an end that fits."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines()[:-1]:
        record = change(json.loads(line))
        if record is not None:
            lines.append(
                record if isinstance(record, bytes) else json.dumps(record).encode() + b"\n"
            )
    end = {"lines": len(lines), "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}
    return b"".join(lines) + json.dumps({"end": end}).encode() + b"\n"


def test_a_file_that_is_refused_writes_nothing(
    home: Engine, asking: JobHandle, tmp_path: Path
) -> None:
    file = tmp_path / "job"
    asking.export(file)
    # The last record of all is wrong.
    file.write_bytes(forged(file, lambda record: {"x": 1} if "write" in record else record))
    with pytest.raises(InvalidJobFile, match="not a record"):
        home.import_job(file, new_id=True)
    (left,) = home.jobs(archived=None)
    assert left.id == asking.id


def test_a_reader_without_an_engine_exports(asking: JobHandle, url: str) -> None:
    with open_reader(url) as reader:
        lines = list(reader.export(asking.id))
    assert json.loads(lines[0])["ucop_job_file"] == 1
    assert json.loads(lines[-1])["end"]["lines"] == len(lines) - 1


LEFT_OUT = {
    "jobs": {
        *("fingerprint", "worker", "want", "thread_id", "key", "seq", "stalls", "not_before"),
        *("archived_at", "pruned_at", "queue", "lane", "expires_at", "passed"),
    },
    "events": {"position"},
}
"""Columns that mean something in their own database alone."""


@pytest.mark.parametrize(
    ("table", "part"),
    [
        ("jobs", JobPart),
        ("attempts", AttemptPart),
        ("steps", StepPart),
        ("events", EventPart),
        ("questions", QuestionPart),
    ],
)
def test_every_column_is_in_the_file_or_left_out_on_purpose(
    engine: Engine, table: str, part: type[Part]
) -> None:
    url = engine._database.url.replace("postgresql://", "postgresql+psycopg://")
    schema = None if url.startswith("sqlite") else "ucop"
    connected = sa.create_engine(url)
    columns = {column["name"] for column in sa.inspect(connected).get_columns(table, schema)}
    connected.dispose()
    columns -= {"job_id"}
    assert columns - LEFT_OUT.get(table, set()) == set(part.model_fields)


@pytest.fixture
def halfway(open_engine: Open) -> Iterator[tuple[JobHandle, threading.Event]]:
    """A job that runs until the event is set."""
    begun, gate = threading.Event(), threading.Event()

    async def first(state: Log) -> dict[str, list[str]]:
        return {"log": ["first"]}

    async def second(state: Log) -> dict[str, list[str]]:
        begun.set()
        while not gate.is_set():
            await asyncio.sleep(0.01)
        return {"log": ["second"]}

    graph = StateGraph(Log)
    graph.add_sequence([first, second])
    graph.add_edge(START, "first")
    engine = open_engine()
    job = engine.submit(engine.add("two", graph))
    assert begun.wait(DEADLINE)
    yield job, gate
    gate.set()


def test_a_file_of_a_job_that_runs_holds_one_moment(
    halfway: tuple[JobHandle, threading.Event], url: str
) -> None:
    job, gate = halfway
    with open_reader(url) as reader:
        lines = reader.export(job.id)
        begun = [next(lines) for _ in range(3)]  # as far as the job's own record
        gate.set()
        assert job.result(DEADLINE) == {"log": ["first", "second"]}
        found = parse(line.encode() for line in (*begun, *lines))
    assert found.job.status == "running"
    assert "job.completed" not in [event.type for event in found.events]
    assert {step.node for step in found.steps if step.status == "completed"} == {"first"}


@pytest.mark.postgres
def test_an_export_whose_connection_is_cut_fails_and_leaves_no_file(
    postgres_url: str, tmp_path: Path
) -> None:
    with Engine(postgres_url, worker=False, root=tmp_path) as engine:
        job = engine.submit(engine.add("flow", failing(1, [])))

    def cut(lines: Iterator[str]) -> Iterator[str]:
        for number, line in enumerate(lines):
            yield line
            if number == 2:
                with psycopg.connect(postgres_url, autocommit=True) as other:
                    other.execute(
                        "select pg_terminate_backend(pid) from pg_stat_activity "
                        "where application_name = 'ucop reader'"
                    )

    file = tmp_path / "job"
    with open_reader(postgres_url) as reader:
        with pytest.raises(DatabaseError, match="cannot be reached"):
            save(file, cut(reader.export(job.id)))
        assert not file.exists()
        save(file, reader.export(job.id))
        with pytest.raises(FileExistsError):
            save(file, reader.export(job.id))
    assert read_job_file(file).job.id == job.id
