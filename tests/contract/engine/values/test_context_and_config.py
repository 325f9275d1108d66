"""What a run is given beside its input: context and config, on both databases."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict

from tests.support.graphs import Node
from tests.support.ledger_rows import everything
from ucop.engine import Engine, InvalidInput, JobFailed, KeyConflict

DEADLINE = 30.0
SECRET = "s3cr3t-that-nobody-may-store"


class State(TypedDict, total=False):
    n: int
    seen: str


@dataclass
class Place:
    city: str
    since: datetime


@dataclass
class Told:
    user: str
    since: datetime | None = None
    places: list[Place] = field(default_factory=list)


class Model(BaseModel):
    user: str
    limit: int = 3


class Plain(TypedDict, total=False):
    user: str
    since: datetime


NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def shown(context: Any) -> str:
    """Of equal times, those that pydantic read show their zone in words of its own."""
    return repr(context).replace("TzInfo(0)", "datetime.timezone.utc")


def telling(schema: Any) -> Any:
    """A graph whose node writes what it finds as its context."""

    def tell(state: State, runtime: Runtime[Any]) -> State:
        return {"seen": shown(runtime.context)}

    builder = StateGraph(State, context_schema=schema)
    builder.add_node("tell", tell)
    builder.add_edge(START, "tell")
    return builder.compile(name="telling")


def configured() -> Any:
    """A graph that asks, and then writes what it finds in its config."""

    def ask(state: State) -> State:
        interrupt("go on?")
        return {}

    def tell(state: State, config: RunnableConfig) -> State:
        own = {"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"}
        named = config["configurable"].items()
        shown = {k: v for k, v in named if not k.startswith("__") and k not in own}
        told = {name: v for name, v in config["metadata"].items() if name.startswith("my_")}
        return {"seen": json.dumps([shown, config["tags"], told], sort_keys=True)}

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_node("tell", tell)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "tell")
    return builder.compile(name="configured")


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (Told, Told("bo", NOON, [Place("Oslo", NOON)])),
        (Told, {"user": "bo", "since": NOON, "places": [{"city": "Oslo", "since": NOON}]}),
        (Model, Model(user="bo", limit=5)),
        (Model, {"user": "bo", "limit": 5}),
        (Plain, {"user": "bo", "since": NOON}),
        (None, {"user": "bo", "more": [1, 2.5, None]}),
        (Told, None),
    ],
)
def test_given_a_context_then_nodes_find_what_LangGraph_alone_gives_them(
    engine: Engine, schema: Any, given: Any
) -> None:
    graph = telling(schema)
    bare = graph.invoke({"n": 1}, context=given)
    if schema is Told and isinstance(given, dict):
        # LangGraph alone makes the outermost object, and leaves what is inside as it came.
        bare = {"n": 1, "seen": repr(Told("bo", NOON, [Place("Oslo", NOON)]))}
    assert engine.submit(graph, {"n": 1}, context=given).result(DEADLINE) == bare


def test_given_a_context_as_JSON_then_it_becomes_what_the_schema_declares(engine: Engine) -> None:
    job = engine.submit(telling(Told), context={"user": "bo", "since": "2026-05-01T12:00:00Z"})
    seen = job.result(DEADLINE)["seen"]
    assert "Told(user='bo', since=datetime.datetime(2026, 5, 1, 12, 0" in seen
    assert job.get().context == {"user": "bo", "since": "2026-05-01T12:00:00Z"}


@pytest.mark.parametrize(
    ("schema", "given", "why"),
    [
        (Told, {"usr": "bo"}, "did you mean 'user'"),
        (Told, {}, "lacks user"),
        (Told, {"user": "bo", "since": "yesterday"}, "since"),
        (Model, {"user": "bo", "limit": "many"}, "limit"),
        (Plain, {"user": 3}, "user"),
        (Told, "bo", "must be a Told"),
        (None, {"connection": object()}, "cannot be kept"),
        (Told, Model(user="bo", limit=5), "has no 'limit'"),
    ],
)
def test_given_a_context_that_does_not_fit_then_nothing_is_written(
    engine: Engine, schema: Any, given: Any, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        engine.submit(telling(schema), context=given)
    assert engine.jobs() == []


def test_given_a_secret_that_is_shown_then_it_is_refused(engine: Engine) -> None:
    class Keyed(BaseModel):
        key: SecretStr

    with pytest.raises(InvalidInput, match="env:NAME"):
        engine.submit(telling(Keyed), context={"key": SECRET})
    with pytest.raises(InvalidInput, match="env:NAME"):
        engine.submit(telling(Keyed), context=Keyed(key=SecretStr(SECRET)))


def test_given_a_config_then_nodes_find_it_and_forks_and_answers_keep_it(
    engine: Engine, open_engine: Callable[..., Engine]
) -> None:
    config = {
        "configurable": {"model": "fast", "nested": {"a": [1]}},
        "tags": ["blue"],
        "metadata": {"my_team": "x"},
        "recursion_limit": 9,
    }
    job = engine.submit(configured(), {"n": 1}, config=config)
    job.wait(DEADLINE)
    other = open_engine(worker=False)
    assert other.job(job.id).get().config == config
    other.job(job.id).answer(True)
    seen = json.loads(job.result(DEADLINE)["seen"])
    assert seen == [config["configurable"], ["blue"], {"my_team": "x"}]
    fork = job.fork(job.checkpoints()[1].id, config={"configurable": {"model": "slow"}})
    seen = json.loads(fork.result(DEADLINE)["seen"])
    assert seen[0] == {"model": "slow", "nested": {"a": [1]}}
    assert fork.get().config["recursion_limit"] == 9
    assert job.get().config == config


def test_given_another_context_at_resume_then_the_job_goes_on_with_it(engine: Engine) -> None:
    def picky(state: State, runtime: Runtime[Told]) -> State:
        if runtime.context.user != "ann":
            raise ValueError(f"not {runtime.context.user}")
        return {"seen": shown(runtime.context)}

    builder = StateGraph(State, context_schema=Told)
    builder.add_node("picky", picky)
    builder.add_edge(START, "picky")
    job = engine.submit(builder.compile(name="picky"), context=Told("bo", NOON))
    with pytest.raises(JobFailed, match="not bo"):
        job.result(DEADLINE)
    with pytest.raises(InvalidInput, match="has no 'usr'"):
        job.resume(context={"usr": "ann"})
    assert job.status == "failed"
    job.retry(context={"user": "ann"})
    assert job.result(DEADLINE)["seen"] == repr(Told("ann", NOON))
    assert job.get().context == {"user": "ann", "since": "2026-05-01T12:00:00Z", "places": []}


def test_given_a_recursion_limit_then_it_reaches_LangGraph_and_more_lets_it_go_on(
    engine: Engine,
) -> None:
    def add(state: State) -> State:
        return {"n": state["n"] + 1}

    builder = StateGraph(State)
    builder.add_node("add", add)
    builder.add_edge(START, "add")
    builder.add_conditional_edges("add", lambda s: END if s["n"] > 9 else "add", ["add", END])
    job = engine.submit(builder.compile(name="adding"), {"n": 0}, config={"recursion_limit": 4})
    with pytest.raises(JobFailed, match="GraphRecursionError"):
        job.result(DEADLINE)
    job.resume(config={"recursion_limit": 50})
    assert job.result(DEADLINE) == {"n": 10}


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"callbacks": []}, "callbacks are objects of this process"),
        ({"durability": "exit"}, "every job runs with durability 'sync'"),
        ({"configurable": {"thread_id": "x"}}, "give thread_id to submit"),
        ({"configurable": {"checkpoint_id": "x"}}, "fork it"),
        ({"configurable": {"__pregel_read": 1}}, "LangGraph's own"),
        ({"configurable": {"x": object()}}, "not JSON"),
        ({"metadata": {"ucop_job": "x"}}, "ucop's own"),
        ({"recursion_limit": 0}, "recursion_limit"),
        ({"tags": "x"}, "tags"),
        ({"max_concurrency": 3}, "limit inside the node"),
        ({"colour": 3}, "there is configurable"),
    ],
)
def test_given_a_config_that_no_job_can_keep_then_it_is_refused_with_the_reason(
    engine: Engine, config: Any, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        engine.submit(configured(), config=config)
    assert engine.jobs() == []


def test_given_a_secret_by_its_name_then_it_is_nowhere_in_the_database(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def use(state: State, runtime: Runtime[Told], config: RunnableConfig) -> State:
        assert runtime.context.user == f"key {SECRET}"
        assert config["configurable"]["auth"] == config["configurable"]["user_id"] == SECRET
        return {"seen": "used"}

    builder = StateGraph(State, context_schema=Told)
    node: Node = use
    builder.add_node("use", node)
    builder.add_edge(START, "use")
    named = "${env:UCOP_TEST_SECRET}"
    monkeypatch.delenv("UCOP_TEST_SECRET", raising=False)
    job = engine.submit(
        builder.compile(name="using"),
        {"n": 1},
        context={"user": f"key {named}"},
        config={"configurable": {"auth": named, "user_id": named}},
    )
    with pytest.raises(JobFailed, match=r"MissingSecret.*UCOP_TEST_SECRET"):
        job.result(DEADLINE)
    monkeypatch.setenv("UCOP_TEST_SECRET", SECRET)
    job.resume()
    assert job.result(DEADLINE) == {"n": 1, "seen": "used"}
    assert job.get().context == {"user": f"key {named}"}
    assert job.get().config == {"configurable": {"auth": named, "user_id": named}}
    job.export(tmp_path / "job.jsonl")
    assert SECRET not in everything(engine.settings.url)
    assert SECRET not in (tmp_path / "job.jsonl").read_text()


def test_given_secrets_in_plain_then_they_are_masked_where_a_job_is_shown(engine: Engine) -> None:
    job = engine.submit(
        telling(None), context={"api_key": SECRET}, config={"configurable": {"token": SECRET}}
    )
    assert SECRET in job.result(DEADLINE)["seen"]
    assert job.get().context == {"api_key": "[redacted]"}
    assert job.get().config == {"configurable": {"token": "[redacted]"}}


def test_given_a_schedule_then_its_jobs_are_given_the_same(engine: Engine) -> None:
    engine.add("told", telling(Told))
    engine.schedules.add(
        "daily", "told", "0 0 * * *", context=Told("bo", NOON), config={"tags": ["x"]}
    )
    job = engine.schedules.trigger("daily")
    assert job.result(DEADLINE)["seen"] == repr(Told("bo", NOON))
    assert job.get().config == {"tags": ["x"]}
    with pytest.raises(InvalidInput, match="lacks user"):
        engine.schedules.add("wrong", "told", "0 0 * * *", context={"since": None})


def test_given_one_key_and_another_context_then_it_is_a_conflict(engine: Engine) -> None:
    graph = telling(Told)
    first = engine.submit(graph, key="k", context={"user": "bo"})
    assert engine.submit(graph, key="k", context={"user": "bo"}).id == first.id
    with pytest.raises(KeyConflict, match="another context"):
        engine.submit(graph, key="k", context={"user": "ann"})


def test_given_a_job_as_a_file_then_its_context_comes_along(engine: Engine, tmp_path: Path) -> None:
    engine.add("telling", telling(Told))
    job = engine.submit("telling", {"n": 1}, context=Told("bo"), config={"tags": ["x"]})
    job.result(DEADLINE)
    job.export(tmp_path / "job.jsonl")
    copy = engine.import_job(tmp_path / "job.jsonl", new_id=True)
    assert copy.get().context == job.get().context
    assert copy.get().config == {"tags": ["x"]}
    fork = copy.fork(copy.checkpoints()[1].id)
    assert fork.result(DEADLINE)["seen"] == repr(Told("bo"))


OUTER = """
name: outer
nodes:
  a: {workflow: told, with: {n: 1}, writes: a}
  b: {workflow: untold, with: {n: 2}, writes: b}
output: {a: "${a.seen}", b: "${b.seen}"}
"""


def test_given_a_workflow_of_YAML_then_the_graphs_inside_get_the_context_that_they_declare(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    (tmp_path / "outer.yaml").write_text(OUTER, encoding="utf-8")
    with open_engine(settings={"workflows": ["outer.yaml"]}) as engine:
        engine.add("told", telling(Told))
        engine.add("untold", telling(None))
        job = engine.submit("outer", context={"user": "bo"}, config={"tags": ["x"]})
        assert job.result(DEADLINE) == {"a": repr(Told("bo")), "b": "None"}
        with pytest.raises(InvalidInput, match="'colour'; it takes places, since, user"):
            engine.submit("outer", context={"colour": "red"})
