"""A thread belongs to a tenant, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from ucop.engine import Engine
from ucop.engine.errors import ForeignThread

DEADLINE = 30.0


class State(TypedDict, total=False):
    secret: str
    seen: str


def look(state: State) -> State:
    return {"seen": state.get("secret", "nothing")}


@pytest.fixture
def graph(engine: Engine) -> Any:
    builder = StateGraph(State)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    engine.add("looking", builder.compile())
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
            with pytest.raises(ForeignThread, match="does not belong to"):
                engine.submit(graph, tenant=other, thread_id=thread, on_busy=on_busy)
        again = engine.submit(graph, {}, tenant=owner, thread_id=thread)
        assert again.result(DEADLINE) == {"secret": "x", "seen": "x"}
    assert len(engine.jobs()) == 4


def test_given_two_tenants_at_the_same_moment_then_one_has_the_thread(
    engine: Engine, graph: Any
) -> None:
    def attempt(tenant: str) -> str | None:
        try:
            engine.submit(graph, {"secret": tenant}, tenant=tenant, thread_id="t")
        except ForeignThread:
            return None
        return tenant

    with ThreadPoolExecutor(8) as pool:
        winners = {won for won in pool.map(attempt, "abababab") if won is not None}
    assert len(winners) == 1
    assert {job.tenant for job in engine.jobs()} == winners
