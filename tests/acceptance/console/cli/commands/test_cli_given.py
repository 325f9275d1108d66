"""Context, config and inputs of Python graphs on the command line, in a real process."""

from __future__ import annotations

import json

import pytest

from tests.support.command import Ucop

TOML = """
workflows = ["given.py:told", "given.py:made", "given.py:broken", "given.py:flow"]
agents = ["given_agents.py"]
"""
GIVEN = """
from dataclasses import dataclass
from datetime import date

from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict


@dataclass
class Told:
    user: str
    since: date | None = None
    key: str = ""


class State(TypedDict, total=False):
    day: date
    seen: list[str]


def tell(state: State, runtime: Runtime[Told], config: RunnableConfig) -> State:
    own, told = config["configurable"], runtime.context
    if told is not None and told.user == "nobody":
        raise ValueError("nobody asks")
    seen = [repr(told), str(own.get("model")), str(config.get("tags")), type(state.get("day")).__name__]
    return {"seen": seen}


told = StateGraph(State, context_schema=Told)
told.add_node("tell", tell)
told.add_edge(START, "tell")


def made(config: RunnableConfig):
    return told


def broken():
    raise RuntimeError("no database")


@entrypoint()
def flow(text: str) -> str:
    return text.upper()
"""
AGENTS = '''
from ucop.agents import AgentContext, agent


@agent
def who(greeting: str, context: AgentContext) -> str:
    """Greets whoever the context names."""
    return f"{greeting} {(context.given or {}).get('user')}"
'''


@pytest.fixture
def given(bare: Ucop) -> Ucop:
    bare.write("ucop.toml", TOML)
    bare.write("given.py", GIVEN)
    bare.write("given_agents.py", AGENTS)
    return bare


def test_a_run_is_given_its_context_and_config(given: Ucop) -> None:
    given.write("context.yaml", "user: ann\nsince: 2026-05-01\n")
    done = given(
        *("run", "told", "-i", "day=2026-05-02", "--context-file", "context.yaml"),
        *("--context", "user=123", "--context", "key=${env:SHOP_KEY}"),
        *("--config", "model=fast", "--config", "tags=a", "--config", "tags=b"),
        *("--config", "recursion_limit=9", "--config", "metadata.team=x", "--json"),
        SHOP_KEY="s3cr3t",
    )
    assert done.code == 0, done.err
    job = done.json
    assert job["output"]["seen"] == [
        "Told(user='123', since=datetime.date(2026, 5, 1), key='s3cr3t')",
        *("fast", "['a', 'b']", "date"),
    ]
    assert job["context"] == {"user": "123", "since": "2026-05-01", "key": "${env:SHOP_KEY}"}
    assert job["config"] == {
        "configurable": {"model": "fast"},
        "tags": ["a", "b"],
        "metadata": {"team": "x"},
        "recursion_limit": 9,
    }
    shown = given("jobs", "show", job["id"]).out
    assert "${env:SHOP_KEY}" in shown
    assert '"recursion_limit": 9' in shown


def test_what_does_not_fit_is_refused_before_there_is_a_database(given: Ucop) -> None:
    for options, why in (
        (("--context", "usr=ann"), "did you mean 'user'"),
        (("--context", "user=ann", "--context", "since=later"), "since"),
        (("--config", "thread_id=x"), "give thread_id to submit"),
        (("--config", "recursion_limit=many"), "recursion_limit"),
        (("-i", "day=tomorrow"), "day"),
    ):
        done = given("run", "told", *options)
        assert done.code == 2, done.err
        assert why in done.err
    assert not (given.folder / ".ucop/ucop.db").exists()


def test_a_failed_run_goes_on_with_another_context(given: Ucop) -> None:
    failed = given("run", "told", "--context", "user=nobody", "--json")
    assert failed.code == 1
    id = failed.json["id"]
    assert given("jobs", "resume", id, "--context", "usr=ann").code == 2
    done = given("jobs", "retry", id, "--context", "user=ann", "--config", "model=slow", "--json")
    assert done.code == 0, done.err
    assert done.json["output"]["seen"][:2] == ["Told(user='ann', since=None, key='')", "slow"]
    fork = given("checkpoints", "fork", id, "--context", "user=bo", "--json")
    assert fork.code == 0, fork.err
    assert fork.json["context"]["user"] == "bo"


def test_a_secret_that_is_not_set_fails_the_job_with_its_name(given: Ucop) -> None:
    done = given("run", "told", "--context", "user=${env:NO_SUCH_KEY}")
    assert done.code == 1
    assert "NO_SUCH_KEY" in done.err


def test_schedules_and_agents_are_given_the_same(given: Ucop) -> None:
    add = ("schedules", "add", "daily", "told", "0 0 * * *", "--context", "user=ann")
    added = given(*add, "--context", "key=k", "--config", "tags=a", "--json")
    assert added.code == 0, added.err
    assert added.json["terms"]["context"] == {"user": "ann", "key": "k"}
    assert given(*add[:-1], "usr=ann", "--replace").code == 2
    done = given("agents", "run", "who", "-i", "greeting=hello", "--context", "user=ann")
    assert (done.code, done.out) == (0, "hello ann\n")


def test_a_factory_that_raises_is_a_mistake_of_its_workflow(given: Ucop) -> None:
    done = given("workflows", "check", "--json")
    assert done.code == 2
    text = json.dumps(done.json)
    assert "RuntimeError: no database" in text
    assert given("workflows", "check", "made", "told", "flow").code == 0
    shown = given("run", "broken")
    assert shown.code == 2
    assert "no database" in shown.err


def test_an_entrypoint_takes_any_value(given: Ucop) -> None:
    done = given("generate", "flow", "hello")
    assert (done.code, done.out) == (0, "HELLO\n"), done.err
    given.write("text.json", '"good night"')
    assert given("run", "flow", "--input-file", "text.json").out == "GOOD NIGHT\n"
    assert given("run", "flow").code == 2
    for command in ("show", "draw"):
        assert "flow" in given("workflows", command, "flow").out
    assert given("run", "flow", "--input-file", "text.json", "--dry-run").code == 0


def test_a_langgraph_json_says_its_env_and_what_is_not_used(bare: Ucop) -> None:
    bare.write("given.py", GIVEN)
    settings = {
        "graphs": {"told": "./given.py:told"},
        "env": ".env",
        "dependencies": [".", "langchain-x"],
        "python_version": "3.99",
        "store": {},
    }
    bare.write("langgraph.json", json.dumps(settings))
    done = bare("run", "told")
    assert done.code == 2
    assert ".env" in done.err
    bare.write(".env", 'export SHOP_KEY="from the file"\n# nothing\nUCOP_DATABASE=sqlite:///x.db\n')
    done = bare("run", "told", "--context", "user=${env:SHOP_KEY}", "--json")
    assert "user='from the file'" in done.json["output"]["seen"][0]
    assert (bare.folder / "x.db").exists()
    assert len(bare("jobs", "list", "--json").json) == 1
    set_before = bare("run", "told", "--context", "user=${env:SHOP_KEY}", "--json", SHOP_KEY="mine")
    assert "user='mine'" in set_before.json["output"]["seen"][0]
    check = bare("check")
    assert check.code == 0
    for word in ("langchain-x", "python_version (3.99)", "store"):
        assert word in check.out + check.err
