"""A job whose Python graph changes while it stands in the middle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph

from tests.support.graphs import Log, chain
from ucop.engine import Engine, JobFailed

DEADLINE = 60.0


def stopping(*names: str, at: str) -> StateGraph[Any]:
    """As `chain`, with one node that raises."""
    graph = chain(*names)

    async def breaks(state: Log) -> dict[str, list[str]]:
        raise ValueError("not yet")

    graph.nodes.pop(at)
    graph.add_node(at, breaks)
    return graph


def run(path: Path, graph: Any, work: Callable[[Engine], Any]) -> Any:
    with Engine(f"sqlite:///{path}/jobs.db") as engine:
        engine.add("flow", graph)
        return work(engine)


def begun(path: Path) -> str:
    """A job of a -> b -> c that stopped in b."""

    def submit(engine: Engine) -> str:
        job = engine.submit("flow", {"log": []})
        with pytest.raises(JobFailed):
            job.result(DEADLINE)
        return str(job.id)

    return str(run(path, stopping("a", "b", "c", at="b"), submit))


def refused(path: Path, job: str, graph: Any) -> str:
    """What a job that is resumed with another graph fails with."""

    def resume(engine: Engine) -> str:
        handle = engine.job(job)
        handle.resume()
        with pytest.raises(JobFailed):
            handle.result(DEADLINE)
        error = handle.get().error
        assert error is not None
        assert error.type == "WorkflowChanged"
        return error.message

    return str(run(path, graph, resume))


def resumed(path: Path, job: str, graph: Any) -> Any:
    def resume(engine: Engine) -> Any:
        handle = engine.job(job)
        handle.resume()
        return handle.result(DEADLINE)["log"]

    return run(path, graph, resume)


def test_given_a_renamed_node_then_the_job_fails_by_name_and_ends_with_the_graph_restored(
    tmp_path: Path,
) -> None:
    job = begun(tmp_path)
    told = refused(tmp_path, job, chain("a", "bb", "c"))
    assert "there is no node 'b' any more (renamed to 'bb'?), which is due now" in told
    assert "Restore it and resume the job, or start a new job" in told
    assert resumed(tmp_path, job, chain("a", "b", "c")) == ["a", "b", "c"]


def test_given_a_removed_edge_then_the_node_that_would_be_skipped_is_named(
    tmp_path: Path,
) -> None:
    job = begun(tmp_path)
    cut = StateGraph(Log)
    for name in "abc":
        cut.add_node(name, lambda state: {"log": ["cut"]})
    for source, target in [(START, "a"), ("a", "b"), ("b", END), ("c", END)]:
        cut.add_edge(source, target)
    assert "nothing leads to node 'c' any more" in refused(tmp_path, job, cut)
    assert resumed(tmp_path, job, chain("a", "b", "c")) == ["a", "b", "c"]


def test_given_nodes_added_and_one_that_ran_renamed_then_the_job_goes_on(tmp_path: Path) -> None:
    job = begun(tmp_path)
    assert resumed(tmp_path, job, chain("aa", "b", "x", "c")) == ["a", "b", "x", "c"]


def test_given_a_finished_sibling_when_the_join_changed_then_the_node_behind_it_is_named(
    tmp_path: Path,
) -> None:
    def fork(*edges: tuple[Any, str], fails: bool) -> StateGraph[Any]:
        graph = StateGraph(Log)

        def right(state: Log) -> dict[str, list[str]]:
            if fails:
                raise ValueError("not yet")
            return {"log": ["right"]}

        graph.add_node("left", lambda state: {"log": ["left"]})
        graph.add_node("right", right)
        graph.add_node("both", lambda state: {"log": ["both"]})
        for source, target in [(START, "left"), (START, "right"), *edges, ("both", END)]:
            graph.add_edge(source, target)
        return graph

    def submit(engine: Engine) -> str:
        job = engine.submit("flow", {"log": []})
        with pytest.raises(JobFailed):
            job.result(DEADLINE)
        return str(job.id)

    joined = (["left", "right"], "both")
    job = str(run(tmp_path, fork(joined, fails=True), submit))
    told = refused(tmp_path, job, fork(("left", "both"), fails=False))
    assert "nothing leads to node 'both' any more" in told
    assert resumed(tmp_path, job, fork(joined, fails=False)) == ["left", "right", "both"]
