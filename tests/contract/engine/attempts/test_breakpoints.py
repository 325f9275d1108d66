"""A graph that was compiled to stop waits there for a person, as bare LangGraph does; no later
attempt of its own passes."""

from __future__ import annotations

import operator
from typing import Annotated, Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeInterrupt
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from tests.support.waiting import DEADLINE
from ucop.engine import Engine, JobHandle
from ucop.engine.errors import InvalidInput, RefusedChange


class Log(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Inner(TypedDict, total=False):
    inner: Annotated[list[str], operator.add]


def _visit(key: str, name: str) -> Any:
    def node(state: Any) -> dict[str, list[str]]:
        return {key: [name]}

    return node


def _row(state: Any, key: str, *names: str) -> StateGraph[Any]:
    graph = StateGraph(state)
    for before, name in zip([START, *names], names, strict=False):
        graph.add_node(name, _visit(key, name)).add_edge(before, name)
    return graph


def _around(inner: Any) -> StateGraph[Any]:
    middle = StateGraph(Inner).add_node("deep", inner).add_edge(START, "deep").compile()

    class Both(Log, Inner):
        pass

    graph = StateGraph(Both).add_node("a", _visit("log", "a")).add_node("sub", middle)
    graph.add_node("b", _visit("log", "b"))
    return graph.add_edge(START, "a").add_edge("a", "sub").add_edge("sub", "b")


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "before": (lambda: _row(Log, "log", "a", "b", "c"), {"interrupt_before": ["b", "c"]}),
    "after": (lambda: _row(Log, "log", "a", "b", "c"), {"interrupt_after": ["a", "c"]}),
    "before all": (lambda: _row(Log, "log", "a", "b", "c"), {"interrupt_before": "*"}),
    "after all": (lambda: _row(Log, "log", "a", "b"), {"interrupt_after": "*"}),
    "inside": (
        lambda: _around(_row(Inner, "inner", "x", "y", "z").compile(interrupt_before=["y", "z"])),
        {},
    ),
    "inside after": (
        lambda: _around(_row(Inner, "inner", "x", "y").compile(interrupt_after="*")),
        {"interrupt_before": ["b"]},
    ),
}


@pytest.mark.parametrize("given", ["compiled", "submitted"])
@pytest.mark.parametrize("name", CASES)
def test_a_graph_stops_as_often_as_in_bare_langgraph_and_then_completes(
    engine: Engine, name: str, given: str
) -> None:
    make, stops = CASES[name]
    bare = make().compile(checkpointer=InMemorySaver(), **stops)
    thread: Any = {"configurable": {"thread_id": "1"}}
    expected = []
    input: Any = {"log": []}
    while True:
        values = bare.invoke(input, thread)
        input = None
        expected.append((bare.get_state(thread).next, values.get("log")))
        if not bare.get_state(thread).next:
            break
    if given == "compiled":
        job = engine.submit(engine.add(name, make().compile(**stops)), {"log": []})
    else:
        job = engine.submit(engine.add(name, make()), {"log": []}, config=stops)
    found = []
    while job.wait(DEADLINE) == "waiting":
        assert (job.get().reason or "").startswith("stopped at a breakpoint")
        state = job.checkpoints()[0]
        found.append((state.next, state.values.get("log")))
        job.resume()
    assert found == expected[:-1]
    assert job.result(DEADLINE)["log"] == expected[-1][1]


def test_breakpoints_of_a_job_are_kept_by_its_forks_and_can_be_changed(engine: Engine) -> None:
    graph = _row(Log, "log", "a", "b", "c").compile(name="rows", interrupt_before=["a"])
    job = engine.submit(graph, {}, config={"interrupt_before": ["b", "c"]})
    assert job.wait(DEADLINE) == "waiting"
    assert job.checkpoints()[0].next == ("b",)
    fork = job.fork()
    assert fork.wait(DEADLINE) == "waiting"
    assert fork.checkpoints()[0].next == ("c",)
    job.resume(config={"interrupt_before": []})
    assert job.result(DEADLINE) == {"log": ["a", "b", "c"]}


def test_a_breakpoint_that_no_node_has_is_refused(engine: Engine) -> None:
    graph = _row(Log, "log", "a", "b").compile(name="rows")
    for config in ({"interrupt_before": ["z"]}, {"interrupt_after": ["a", "__start__"]}):
        with pytest.raises(InvalidInput, match="it has a, b"):
            engine.submit(graph, {}, config=config)
    with pytest.raises(InvalidInput, match="interrupt_before"):
        engine.submit(graph, {}, config={"interrupt_before": "a"})
    assert engine.jobs() == []
    job = engine.submit(graph, {}, config={"interrupt_after": ["a"]})
    assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(InvalidInput, match="it has a, b"):
        job.resume(config={"interrupt_after": ["z"]})
    other = _row(Log, "log", "first", "b").compile(name="other")
    with pytest.raises(InvalidInput, match="it has first, b"):
        job.fork(job.checkpoints()[0].id, workflow=other)


def test_given_a_breakpoint_then_the_state_is_edited_and_the_job_goes_on(engine: Engine) -> None:
    graph = _row(Log, "log", "a", "b").compile(interrupt_before=["b"])
    job = engine.submit(engine.add("edited", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(RefusedChange):
        job.answer("yes")
    fork = job.fork(replace={"log": ["forked"]})
    assert fork.result(DEADLINE) == {"log": ["forked", "b"]}
    job.resume(replace={"log": ["edited"]})
    assert job.result(DEADLINE) == {"log": ["edited", "b"]}


def test_given_a_question_then_an_edit_is_refused_until_it_is_answered(engine: Engine) -> None:
    def asks(state: Log) -> Log:
        return {"log": [interrupt("What?")]}

    graph = StateGraph(Log).add_node("asks", asks).add_edge(START, "asks")
    job = engine.submit(engine.add("asks", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(RefusedChange, match="waits for an answer"):
        job.resume(replace={"log": ["edited"]})
    with pytest.raises(RefusedChange, match="waits for an answer"):
        job.resume()
    assert [question.question for question in job.questions()] == ["What?"]
    job.answer("that")
    assert job.result(DEADLINE) == {"log": ["that"]}


def test_given_a_breakpoint_beside_a_question_then_both_are_waited_for(engine: Engine) -> None:
    inner = _row(Inner, "inner", "x", "y").compile(interrupt_before=["y"])

    def asks(state: Log) -> Log:
        return {"log": [interrupt("What?")]}

    class Both(Log, Inner):
        pass

    graph = StateGraph(Both).add_node("asks", asks).add_node("sub", inner)
    graph.add_edge(START, "asks").add_edge(START, "sub")
    job = engine.submit(engine.add("both", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    job.answer("that")
    _resumed(job)
    assert job.result(DEADLINE) == {"log": ["that"], "inner": ["x", "y"]}


def _resumed(job: JobHandle) -> None:
    if job.wait(DEADLINE) == "waiting":
        job.resume()


@pytest.mark.filterwarnings("ignore:NodeInterrupt is deprecated")
def test_given_nodes_that_stop_the_graph_by_hand_then_the_job_waits_to_be_edited(
    engine: Engine,
) -> None:
    def stops(state: Log) -> Log:
        if "ready" not in state.get("log", []):
            raise NodeInterrupt("not ready")
        return {"log": ["done"]}

    graph = StateGraph(Log).add_node("one", stops).add_node("two", stops)
    graph.add_edge(START, "one").add_edge(START, "two")
    job = engine.submit(engine.add("stops", graph), {"log": []})
    for _ in range(2):
        assert job.wait(DEADLINE) == "waiting"
        assert job.questions() == []
        assert "node one stopped it: not ready" in (job.get().reason or "")
        job.resume()
    assert job.wait(DEADLINE) == "waiting"
    with pytest.raises(RefusedChange):
        job.answer("go on")
    job.resume(replace={"log": ["ready"]})
    assert job.result(DEADLINE) == {"log": ["ready", "done", "done"]}


def _clashing(visits: list[str]) -> StateGraph[Any]:
    """Two nodes write one plain name at once, beside one that asks and so runs each time."""

    class Plain(TypedDict, total=False):
        text: str

    def asks(state: Plain) -> None:
        visits.append("asks")
        interrupt("What?")

    graph = StateGraph(Plain).add_node("asks", asks).add_edge(START, "asks")
    for name in ("one", "two"):
        graph.add_node(name, lambda state: {"text": "mine"}).add_edge(START, name)
    return graph


def test_given_writes_that_cannot_be_merged_behind_a_breakpoint_then_a_retry_runs_the_rest(
    engine: Engine,
) -> None:
    """Where the job stands is read without merging them, for that would end the attempt early."""
    visits: list[str] = []
    graph = _clashing(visits).compile(interrupt_before=["asks"])
    job = engine.submit(engine.add("clashing", graph), {})
    assert job.wait(DEADLINE) == "waiting"
    job.resume()
    seen = []
    for _ in range(3):
        assert job.wait(DEADLINE) == "failed"
        seen.append(len(visits))
        job.retry()
    assert seen == [1, 2, 3]


def test_given_such_writes_in_a_graph_inside_then_an_answer_reaches_its_node(
    engine: Engine,
) -> None:
    visits: list[str] = []
    inner = _clashing(visits).compile(interrupt_before=["asks"])
    graph = StateGraph(Log).add_node("sub", inner).add_edge(START, "sub")
    job = engine.submit(engine.add("clashing-inside", graph), {"log": []})
    assert job.wait(DEADLINE) == "waiting"
    job.resume()
    assert job.wait(DEADLINE) == "waiting"
    job.answer("that")
    assert job.wait(DEADLINE) == "failed"
    assert visits == ["asks", "asks"]
