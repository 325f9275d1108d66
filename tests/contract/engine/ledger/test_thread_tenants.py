"""A thread belongs to a tenant, on both databases, and so does all that could show its state."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from tests.support.waiting import DEADLINE
from ucop.engine import Engine
from ucop.engine.errors import JobExists, KeyConflict, ThreadNotFound


class State(TypedDict, total=False):
    secret: str
    seen: str


def look(state: State) -> State:
    return {"seen": state.get("secret", "nothing")}


def _looking() -> Any:
    builder = StateGraph(State)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    return builder.compile()


@pytest.fixture
def graph(engine: Engine) -> Any:
    engine.add("looking", _looking())
    return "looking"


@pytest.mark.parametrize(("owner", "other"), [("a", "b"), ("a", None), (None, "b")])
def test_given_a_thread_of_another_tenant_then_a_submit_is_refused_and_nothing_written(
    engine: Engine, graph: Any, owner: str | None, other: str | None
) -> None:
    first = engine.submit(graph, {"secret": "x"}, tenant=owner, thread_id="t")
    first.result(DEADLINE)
    own = engine.submit(graph, {"secret": "x"}, tenant=owner)
    own.result(DEADLINE)
    for thread in ("t", own.id):
        for on_busy in ("enqueue", "reject", "interrupt", "rollback"):
            with pytest.raises(ThreadNotFound, match="does not belong to"):
                engine.submit(graph, tenant=other, thread_id=thread, on_busy=on_busy)
            refused = engine.asubmit(graph, tenant=other, thread_id=thread, on_busy=on_busy)
            with pytest.raises(ThreadNotFound, match="does not belong to"):
                asyncio.run(refused)
        again = engine.submit(graph, {}, tenant=owner, thread_id=thread)
        assert again.result(DEADLINE) == {"secret": "x", "seen": "x"}
    assert len(engine.jobs()) == 4


def test_given_two_tenants_at_the_same_moment_then_one_has_the_thread(
    engine: Engine, graph: Any
) -> None:
    def attempt(tenant: str) -> str | None:
        try:
            engine.submit(graph, {"secret": tenant}, tenant=tenant, thread_id="t")
        except ThreadNotFound:
            return None
        return tenant

    with ThreadPoolExecutor(8) as pool:
        winners = {won for won in pool.map(attempt, "abababab") if won is not None}
    assert len(winners) == 1
    assert {job.tenant for job in engine.jobs()} == winners


def test_given_all_but_one_job_are_deleted_then_the_thread_stays_its_tenants(
    engine: Engine, graph: Any
) -> None:
    own = engine.submit(graph, {"secret": "x"}, tenant="a")
    own.result(DEADLINE)
    last = engine.submit(graph, {}, tenant="a", thread_id=own.id)
    last.result(DEADLINE)
    own.delete()
    with pytest.raises(ThreadNotFound):
        engine.submit(graph, {}, tenant="b", thread_id=own.id)
    last.delete()
    # Nothing of it is left, so the name is free.
    other = engine.submit(graph, {}, tenant="b", thread_id=own.id)
    assert other.result(DEADLINE) == {"seen": "nothing"}


def test_a_fork_is_its_parents_tenants_with_its_thread(engine: Engine, graph: Any) -> None:
    parent = engine.submit(graph, {"secret": "x"}, tenant="a", thread_id="t")
    parent.result(DEADLINE)
    fork = parent.fork()
    fork.result(DEADLINE)
    assert fork.get().tenant == "a"
    with pytest.raises(ThreadNotFound):
        engine.submit(graph, {}, tenant="b", thread_id=fork.id)


def test_given_a_key_of_another_tenant_then_its_job_is_not_returned(
    engine: Engine, graph: Any
) -> None:
    mine = engine.submit(graph, {"secret": "x"}, tenant="a", key="k")
    for tenant in ("b", None):
        with pytest.raises(KeyConflict) as refused:
            engine.submit(graph, {"secret": "x"}, tenant=tenant, key="k")
        assert mine.id not in str(refused.value)
    assert engine.submit(graph, {"secret": "x"}, tenant="a", key="k").id == mine.id


def test_a_job_from_a_file_comes_to_no_thread_that_is_there(
    engine: Engine, graph: Any, tmp_path: Path
) -> None:
    job = engine.submit(graph, {"secret": "x"}, tenant="b")
    job.result(DEADLINE)
    job.export(tmp_path / "job")
    job.delete()
    engine.submit(graph, {"secret": "y"}, tenant="a", thread_id=job.id).result(DEADLINE)
    with pytest.raises(JobExists):
        engine.import_job(tmp_path / "job")
    assert engine.import_job(tmp_path / "job", new_id=True).get().tenant == "b"


def test_schedules_submit_for_their_own_tenant_alone(engine: Engine, graph: Any) -> None:
    for tenant in ("a", "b"):
        engine.schedules.add(tenant, graph, "every 365d", {"secret": tenant}, tenant=tenant)
    triggered = {tenant: engine.schedules.trigger(tenant) for tenant in ("a", "b")}
    for tenant, job in triggered.items():
        assert job.result(DEADLINE)["seen"] == tenant
        other = "b" if tenant == "a" else "a"
        with pytest.raises(ThreadNotFound):
            engine.submit(graph, {}, tenant=other, thread_id=job.id)


def test_a_schedule_on_a_thread_is_refused_to_another_tenant(engine: Engine, graph: Any) -> None:
    engine.submit(graph, {"secret": "a"}, tenant="a", thread_id="t").result(DEADLINE)
    with pytest.raises(ThreadNotFound):
        engine.schedules.add("b", graph, "every 365d", tenant="b", thread_id="t")
    assert engine.schedules.list() == []
    engine.schedules.add("a", graph, "every 365d", tenant="a", thread_id="t")
    job = engine.schedules.trigger("a")
    assert job.result(DEADLINE)["seen"] == "a"
    assert job.get().thread_id == "t"
    # A thread that nobody had when the schedule was added.
    engine.schedules.add("later", graph, "every 365d", tenant="b", thread_id="u")
    engine.submit(graph, {"secret": "a"}, tenant="a", thread_id="u").result(DEADLINE)
    with pytest.raises(ThreadNotFound):
        engine.schedules.trigger("later")


def test_the_memory_of_agents_is_apart(engine: Engine) -> None:
    engine.memory(tenant="a").put("k", {"v": "a"})
    assert engine.memory(tenant="b").get("k") is None
    assert engine.memory().get("k") is None
    assert engine.memory(tenant="b").search() == []


class Noted(TypedDict, total=False):
    note: str
    found: list[str]


def test_the_store_of_graphs_is_apart(engine: Engine) -> None:
    async def note(state: Noted, runtime: Runtime) -> Noted:
        store: Any = runtime.store
        if state.get("note"):
            await store.aput(("notes", "own"), "k", {"note": state["note"]})
        item = await store.aget(("notes", "own"), "k")
        near = await store.asearch(())
        spaces = await store.alist_namespaces(max_depth=1)
        last = await store.alist_namespaces(prefix=("notes",), suffix=("own",))
        assert all(each.namespace == ("notes", "own") for each in near)
        assert spaces == ([("notes",)] if near else [])
        assert last == ([("notes", "own")] if near else [])
        return {"found": [item.value["note"] if item else "", *(i.value["note"] for i in near)]}

    builder = StateGraph(Noted).add_node("note", note).add_edge(START, "note")
    engine.add("noting", builder.compile())

    def found(tenant: str, **given: Any) -> list[str]:
        found: list[str] = engine.submit("noting", given, tenant=tenant).result(DEADLINE)["found"]
        return found

    assert found("a", note="of a") == ["of a", "of a"]
    # One name begins with the other, and what a database takes for any letter is none.
    for other in ("b", "ab", "_", "%", "a.b"):
        assert found(other) == [""]
    assert found("b", note="of b") == ["of b", "of b"]
    assert found("a") == ["of a", "of a"]
    assert [item.value["note"] for item in engine.store(tenant="b").search(())] == ["of b"]


def _without_threads(url: str) -> None:
    """The database as the version before had it."""
    later = ("threads", "api_keys", "api_changes")
    undone = [f"drop table {{}}{table}" for table in later]
    undone.append("update {}alembic_version set version_num = '0006'")
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            for sql in undone:
                connection.execute(sql.format(""))
    else:
        with psycopg.connect(url) as session:
            for sql in undone:
                session.execute(sql.format("ucop."))


def test_given_threads_of_an_earlier_version_then_they_belong_to_the_tenant_of_their_first_job(
    open_engine: Callable[..., Engine], url: str
) -> None:
    with open_engine() as engine:
        engine.add("looking", _looking())
        named = engine.submit("looking", {"secret": "x"}, tenant="a", thread_id="t")
        own = engine.submit("looking", {"secret": "x"}, tenant="a")
        own.result(DEADLINE)
        named.result(DEADLINE)
        engine.submit("looking", {}, tenant="a", thread_id=own.id).result(DEADLINE)
    _without_threads(url)
    with open_engine() as engine:
        engine.add("looking", _looking())
        for thread in ("t", own.id):
            with pytest.raises(ThreadNotFound):
                engine.submit("looking", {}, tenant="b", thread_id=thread)
            seen = engine.submit("looking", {}, tenant="a", thread_id=thread).result(DEADLINE)
            assert seen["seen"] == "x"
