"""Edits, forks and restores of states where much else is going on, on both databases."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import id as checkpoint_ids
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.managed import RemainingSteps
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from typing_extensions import TypedDict

from tests.support.graphs import Node, chain, failing
from tests.support.waiting import DEADLINE
from ucop.agents import agent
from ucop.agents.spec.registry import Registry
from ucop.engine import Checkpoint, Engine, InvalidInput, JobHandle
from ucop.engine.errors import CheckpointNotFound

Open = Callable[..., Engine]


class Paths(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    way: str
    other: str


def visits(job: JobHandle) -> Counter[str]:
    """How often each node was run in this job."""
    return Counter(step.node for step in job.steps() if step.status == "completed")


def made_by(job: JobHandle, *nodes: str) -> Checkpoint:
    """The first checkpoint that just these nodes made."""
    return next(c for c in reversed(job.checkpoints()) if sorted(c.nodes) == sorted(nodes))


def edit_of(job: JobHandle, **values: Any) -> Checkpoint:
    """The first checkpoint that holds these values."""
    return next(c for c in reversed(job.checkpoints()) if values.items() <= c.values.items())


def logs(name: str, **also: Any) -> Node:
    def node(state: Paths) -> dict[str, Any]:
        return {"log": [name], **also}

    return node


def graph_of(nodes: dict[str, Any], edges: Sequence[tuple[Any, str]]) -> StateGraph[Any]:
    graph = StateGraph(Paths)
    for name, node in nodes.items():
        graph.add_node(name, node)
    for source, target in edges:
        graph.add_edge(source, target)
    return graph


def test_what_a_command_chose_beside_an_edit_stays_due(engine: Engine) -> None:
    def chooses(state: Paths) -> Command[Any]:
        return Command(update={"log": ["b"]}, goto=["c", Send("d", {"log": []})])

    nodes = {"a": logs("a"), "b": chooses, "c": logs("c"), "d": logs("d"), "e": logs("e")}
    graph = graph_of(nodes, [(START, "a"), (START, "b"), ("a", "e")])
    parent = engine.submit(engine.add("chosen", graph), {"log": []})
    parent.result(DEADLINE)
    at = made_by(parent, "a", "b")
    for node in ("a", "b"):
        fork = parent.fork(at.id, replace={"way": "x"}, as_node=node)
        assert fork.result(DEADLINE)["log"] == parent.get().output["log"], node
        assert visits(fork) == {"c": 1, "d": 1, "e": 1}, node


def test_conditions_of_siblings_are_not_asked_again(engine: Engine) -> None:
    def way(state: Paths) -> str:
        return "d" if state.get("way") else "c"

    nodes = {"a": logs("a", way="x"), "b": logs("b"), "c": logs("c"), "d": logs("d")}
    graph = graph_of(nodes, [(START, "a"), (START, "b")])
    graph.add_conditional_edges("b", way, ["c", "d"])
    parent = engine.submit(engine.add("siblings", graph), {"log": []})
    assert parent.result(DEADLINE)["log"] == ["a", "b", "c"]
    at = made_by(parent, "a", "b")
    for node, changed, due in (
        ("a", {"other": "y"}, "c"),
        ("b", {"other": "y"}, "c"),  # the condition sees what it saw, and the edit
        ("a", {"way": "z"}, "c"),
        ("b", {"way": "z"}, "d"),
        ("b", {"way": "x"}, "c"),  # what is there already is no edit, though b never saw it
    ):
        fork = parent.fork(at.id, replace=changed, as_node=node)
        fork.result(DEADLINE)
        assert visits(fork) == {due: 1}, (node, changed)


def test_each_run_of_a_fanned_out_node_chooses_for_itself(engine: Engine) -> None:
    def fan(state: Paths) -> list[Send]:
        return [Send("work", {"way": way}) for way in ("x", "y", "z")]

    def after(state: Paths) -> list[Send]:
        return [Send("check", {"way": state.get("other", "ok")})]

    nodes = {"begin": logs("begin"), "work": logs("work"), "check": logs("check")}
    graph = graph_of(nodes, [(START, "begin")])
    graph.add_conditional_edges("begin", fan, ["work"])
    graph.add_conditional_edges("work", after, ["check"])
    parent = engine.submit(engine.add("fan", graph), {"log": []})
    parent.result(DEADLINE)
    fork = parent.fork(made_by(parent, "work", "work", "work").id, replace={"way": "new"})
    assert fork.result(DEADLINE)["log"] == parent.get().output["log"]
    assert visits(fork) == {"check": 3}


def test_a_join_and_a_deferred_node_wait_as_in_the_parent(engine: Engine) -> None:
    nodes = {name: logs(name) for name in ("a", "b", "b2", "both", "c")}
    edges: list[tuple[Any, str]] = [(START, "a"), (START, "b"), ("b", "b2")]
    edges += [(["a", "b2"], "both"), ("a", "last")]
    graph = graph_of(nodes, [])
    graph.add_node("last", logs("last"), defer=True)
    for source, target in [*edges, ("both", "c")]:
        graph.add_edge(source, target)
    parent = engine.submit(engine.add("waits", graph), {"log": []})
    expected = parent.result(DEADLINE)
    for checkpoint in parent.checkpoints():
        for node in checkpoint.nodes or (None,):
            fork = parent.fork(checkpoint.id, replace={"way": "x"}, as_node=node)
            result = fork.result(DEADLINE)
            assert result["log"] == expected["log"], (checkpoint.nodes, node)


def test_a_restored_edit_is_edited_again_and_skips_nothing(engine: Engine) -> None:
    broken = [True]

    def breaks(state: Paths) -> dict[str, Any]:
        if broken[0]:
            raise ValueError("the oven is cold")
        return {"log": ["breaks"]}

    nodes = {"a": logs("a"), "b": logs("b"), "c": logs("c"), "breaks": breaks}
    edges = [(START, "a"), ("a", "b"), ("b", "c"), ("c", "breaks")]
    parent = engine.submit(engine.add("cold", graph_of(nodes, edges)), {"log": []})
    assert parent.wait(DEADLINE) == "failed"
    fork = parent.fork(made_by(parent, "a").id, replace={"way": "x"})
    assert fork.wait(DEADLINE) == "failed"
    fork.restore(edit_of(fork, way="x").id)
    broken[0] = False
    fork.resume(replace={"way": "y"})
    assert fork.result(DEADLINE) == {"log": ["a", "b", "c", "breaks"], "way": "y"}
    again = fork.fork(fork.checkpoints()[-1].id, replace={"way": "z"})
    assert again.result(DEADLINE)["log"] == ["a", "b", "c", "breaks"]


LOOPS = """\
name: loops
input: {topic: string}
nodes:
  begin: {agent: say, with: {text: "${topic}"}, writes: begun}
  a: {agent: say, with: {text: "${topic}"}, writes: one}
  b: {agent: say, with: {text: "${topic}"}, writes: two}
  end: {agent: say, with: {text: "${one} ${two}"}, writes: three}
edges:
  - START -> begin -> [a, b]
  - {from: a, to: [{node: a, at_most: 2}, {node: end}]}
  - {from: b, to: [{node: b, at_most: 3}, {node: end}]}
  - end -> END
output: ${three}
"""


@agent
def say(text: str) -> str:
    return text


def remaining(job: JobHandle, at: Checkpoint) -> Counter[str]:
    """What ran in a job after a checkpoint: each later one tells which nodes made it."""
    later = [c for c in job.checkpoints() if c.id > at.id]
    return Counter(node for c in later for node in c.nodes)


def test_loops_beside_an_edit_are_counted_once(open_engine: Open, tmp_path: Path) -> None:
    file = tmp_path / "loops.yaml"
    file.write_text(LOOPS, encoding="utf-8")
    engine = open_engine(registry=Registry.of(say))
    parent = engine.submit(file, {"topic": "tea"})
    expected = parent.result(DEADLINE)
    assert visits(parent) == {"begin": 1, "a": 3, "b": 4, "end": 1}
    for checkpoint in parent.checkpoints():
        for node in checkpoint.nodes or (None,):
            fork = parent.fork(checkpoint.id, replace={"topic": "tea"}, as_node=node)
            assert fork.result(DEADLINE) == expected
            assert visits(fork) == remaining(parent, checkpoint), (checkpoint.nodes, node)


FAILED = """\
name: failed
input: {topic: string}
nodes:
  a: {agent: fail, with: {text: "${topic}"}, writes: one, on_error: {node: mend}}
  good: {agent: say, with: {text: good}, writes: two}
  mend: {agent: say, with: {text: mended}, writes: two}
edges:
  - START -> a
  - {from: a, to: [{node: good, when: "topic == 'tea'"}, {node: END}]}
  - good -> END
  - mend -> END
output: ${two}
"""


@agent
def fail(text: str) -> str:
    raise ValueError("is told to fail")


def test_an_edit_as_a_node_that_failed_goes_where_its_error_led(
    open_engine: Open, tmp_path: Path
) -> None:
    file = tmp_path / "failed.yaml"
    file.write_text(FAILED, encoding="utf-8")
    engine = open_engine(registry=Registry.of(say, fail))
    parent = engine.submit(file, {"topic": "tea"})
    assert parent.result(DEADLINE) == "mended"
    fork = parent.fork(made_by(parent, "a").id, replace={"topic": "tea"})
    assert fork.result(DEADLINE) == "mended"


def test_a_fork_of_the_input_is_edited_again(engine: Engine) -> None:
    ran: list[str] = []
    parent = engine.submit(engine.add("breaking", failing(3, ran)), {"log": ["in"]})
    assert parent.wait(DEADLINE) == "failed"
    first = parent.checkpoints()[-1]
    fork = parent.fork(first.id, replace={"log": ["edited"]})
    assert fork.wait(DEADLINE) == "failed"
    edit = next(c for c in fork.checkpoints() if c.step == 0)
    fork.restore(edit.id)
    fork.resume(input={"log": ["again"]})
    assert fork.wait(DEADLINE) == "failed"
    fork.retry()
    assert fork.result(DEADLINE)["log"] == ["again", "before", "breaks", "after"]


def test_an_input_that_was_saved_alone_is_edited(open_engine: Open) -> None:
    flow = chain("a", "b")
    with open_engine() as engine:
        parent = engine.submit(engine.add("two", flow), {"log": ["in"]})
        parent.result(DEADLINE)
    quiet = open_engine(worker=False)
    quiet.add("two", flow)
    fork = quiet.job(parent.id).fork(quiet.job(parent.id).checkpoints()[-1].id)
    fork.pause()
    with pytest.raises(InvalidInput, match="as_node"):
        fork.resume(input={"log": ["new"]}, as_node="a")
    fork.resume(input={"log": ["new"]})
    running = open_engine()
    running.add("two", flow)
    assert running.job(fork.id).result(DEADLINE) == {"log": ["new", "a", "b"]}


def paused_beside(engine: Engine) -> tuple[JobHandle, JobHandle, list[str]]:
    """A failed job, and another that ran on its thread since."""
    ran: list[str] = []
    first = engine.submit(
        engine.add("breaking", failing(1, ran)), {"log": ["one"]}, thread_id="shared"
    )
    assert first.wait(DEADLINE) == "failed"
    second = engine.submit(engine.add("two", chain("c", "d")), {"log": ["two"]}, thread_id="shared")
    second.result(DEADLINE)
    return first, second, ran


def test_a_job_goes_on_from_its_own_state_after_another_ran_on_its_thread(engine: Engine) -> None:
    first, second, ran = paused_beside(engine)
    fork = second.fork(made_by(second, "c").id)
    assert fork.result(DEADLINE) == second.get().output
    first.retry(checkpoint=first.checkpoints()[0].id)
    assert first.result(DEADLINE)["log"] == ["one", "before", "breaks", "after"]
    assert ran == ["before", "breaks", "breaks", "after"]


def test_a_state_of_another_job_on_the_thread_is_refused(engine: Engine) -> None:
    first, second, _ = paused_beside(engine)
    theirs = made_by(second, "c")
    for change in (first.fork, first.restore, lambda at: first.retry(checkpoint=at)):
        with pytest.raises(CheckpointNotFound, match=second.id):
            change(theirs.id)
    with pytest.raises(CheckpointNotFound):
        second.fork(made_by(first, "before").id)
    assert second.fork(theirs.id).result(DEADLINE) == second.get().output


def test_a_state_on_a_shared_thread_is_edited_as_the_job_that_saved_it(engine: Engine) -> None:
    first, second, _ = paused_beside(engine)
    begin = second.checkpoints()[-1]
    fork = second.fork(begin.id, replace={"log": ["edited"]})
    result = fork.result(DEADLINE)
    assert result["log"][-3:] == ["edited", "c", "d"]
    assert visits(fork) == {"c": 1, "d": 1}
    first.resume(replace={"log": ["mine"]})
    assert first.result(DEADLINE)["log"] == ["mine", "breaks", "after"]
    assert visits(first) == {"before": 1, "breaks": 1, "after": 1}


def test_states_that_a_slow_clock_saves_are_the_newest(
    open_engine: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose clock is an hour behind takes a job over."""
    engine = open_engine()
    ran: list[str] = []
    job = engine.submit(engine.add("breaking", failing(2, ran)), {"log": []})
    assert job.wait(DEADLINE) == "failed"
    before = [c.id for c in job.checkpoints()]

    class Behind:
        @staticmethod
        def time_ns() -> int:
            import time

            return time.time_ns() - 3_600_000_000_000

    monkeypatch.setattr(checkpoint_ids, "time", Behind)
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
    job.restore(made_by(job, "before").id)
    assert job.checkpoints()[0].id > max(before)
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
    job.retry()
    assert job.wait(DEADLINE) == "failed"
    assert ran.count("before") == 1
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
    job.retry(checkpoint=made_by(job, "before").id)
    assert job.result(DEADLINE)["log"] == ["before", "breaks", "after"]
    ids = [c.id for c in job.checkpoints()]
    assert ids == sorted(ids, reverse=True)
    parents = {c.id: c.parent_id for c in job.checkpoints()}
    assert all(parent is None or parent < id for id, parent in parents.items())
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
    fork = job.fork(made_by(job, "before").id, replace={"log": ["new"]})
    assert fork.result(DEADLINE) == {"log": ["new", "breaks", "after"]}


def test_an_edit_of_an_edit_takes_the_first_ones_place(open_engine: Open, tmp_path: Path) -> None:
    file = tmp_path / "loops.yaml"
    file.write_text(LOOPS, encoding="utf-8")
    engine = open_engine(registry=Registry.of(say))
    parent = engine.submit(file, {"topic": "tea"})
    parent.result(DEADLINE)
    at = made_by(parent, "begin")
    fork = parent.fork(at.id, replace={"topic": "milk"})
    assert fork.result(DEADLINE) == "milk milk"
    edit = edit_of(fork, topic="milk")
    assert edit.nodes == ()
    assert edit.parent_id == at.id
    with pytest.raises(InvalidInput, match="topic"):
        fork.fork(edit.id, replace={"topic": 3})
    again = fork.fork(edit.id, replace={"topic": "water"})
    assert again.result(DEADLINE) == "water water"
    assert visits(again) == {"a": 3, "b": 4, "end": 1}


def test_where_a_run_ends_is_edited_too(engine: Engine) -> None:
    def way(state: Paths) -> str:
        return "b" if state.get("way") == "on" else END

    graph = graph_of({"a": logs("a"), "b": logs("b")}, [(START, "a")])
    graph.add_conditional_edges("a", way, ["b", END])
    parent = engine.submit(engine.add("ends", graph), {"log": []})
    assert parent.result(DEADLINE) == {"log": ["a"]}
    on = parent.fork(made_by(parent, "a").id, replace={"way": "on"})
    assert on.result(DEADLINE) == {"log": ["a", "b"], "way": "on"}
    off = on.fork(edit_of(on, way="on").id, replace={"way": "off"})
    assert off.result(DEADLINE) == {"log": ["a"], "way": "off"}


def test_what_another_job_saved_on_a_jobs_own_thread_is_left_alone(
    engine: Engine, tmp_path: Path
) -> None:
    flow = engine.add("two", chain("a", "b"))
    first = engine.submit(flow, {"log": ["one"]})
    first.result(DEADLINE)
    mine = {c.id for c in first.checkpoints()}
    second = engine.submit(flow, {"log": ["two"]}, thread_id=first.id)
    second.result(DEADLINE)
    theirs = {c.id for c in second.checkpoints()}
    assert {c.id for c in first.checkpoints()} == mine
    assert {c.id for c in engine.reader.checkpoints(first.id)} == mine
    first.export(tmp_path / "job.jsonl")
    copy = engine.import_job(tmp_path / "job.jsonl", new_id=True)
    assert {c.id for c in copy.checkpoints()} == mine
    assert first.prune(keep=1) == 2
    assert {c.id for c in second.checkpoints()} == theirs
    assert second.fork(made_by(second, "a").id).result(DEADLINE) == second.get().output


def test_conditions_get_what_langgraph_gives_them(engine: Engine) -> None:
    def way(state: Paths, config: RunnableConfig, runtime: Runtime[Any]) -> str:
        assert config["configurable"]["thread_id"]
        assert runtime is not None
        return "b" if state.get("way") == "b" else "c"

    graph = graph_of({"a": logs("a"), "b": logs("b"), "c": logs("c")}, [(START, "a")])
    graph.add_conditional_edges("a", way, ["b", "c"])
    parent = engine.submit(engine.add("given", graph), {"log": []})
    assert parent.result(DEADLINE)["log"] == ["a", "c"]
    fork = parent.fork(made_by(parent, "a").id, replace={"way": "b"})
    assert fork.result(DEADLINE)["log"] == ["a", "b"]


def test_a_condition_that_raises_on_an_edited_state_refuses_the_edit(engine: Engine) -> None:
    def way(state: Paths) -> str:
        return {"on": "b", "off": "c"}[state["way"]]

    graph = graph_of({"a": logs("a", way="on"), "b": logs("b"), "c": logs("c")}, [(START, "a")])
    graph.add_conditional_edges("a", way, ["b", "c"])
    parent = engine.submit(engine.add("raises", graph), {"log": []})
    assert parent.result(DEADLINE)["log"] == ["a", "b"]
    at = made_by(parent, "a").id
    with pytest.raises(InvalidInput, match="KeyError"):
        parent.fork(at, replace={"way": "up"})
    assert parent.fork(at, replace={"way": "off"}).result(DEADLINE)["log"] == ["a", "c"]


def test_messages_that_are_put_in_place_are_messages(engine: Engine) -> None:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [("ai", f"{state['messages'][-1].content}?")]}

    def way(state: MessagesState) -> str:
        return "again" if state["messages"][-1].content == "tea?" else END

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_node("again", answer)
    graph.add_edge(START, "answer")
    graph.add_conditional_edges("answer", way, ["again", END])
    parent = engine.submit(engine.add("talk", graph), {"messages": [("user", "milk")]})
    assert len(parent.result(DEADLINE)["messages"]) == 2
    said = [{"role": "user", "content": "tea"}, {"role": "assistant", "content": "tea?"}]
    fork = parent.fork(made_by(parent, "answer").id, replace={"messages": said})
    found = [each["content"] for each in fork.result(DEADLINE)["messages"]]
    assert found == ["tea", "tea?", "tea??"]


class Counted(Paths):
    left: RemainingSteps


def test_a_condition_on_the_steps_that_are_left_sees_as_many_as_then(engine: Engine) -> None:
    def way(state: Counted) -> str:
        return "b" if state["left"] > 9 else "c"

    graph = StateGraph(Counted)
    for name in ("a", "b", "c"):
        graph.add_node(name, logs(name))
    graph.add_edge(START, "a")
    graph.add_conditional_edges("a", way, ["b", "c"])
    parent = engine.submit(engine.add("left", graph), {"log": []})
    assert parent.result(DEADLINE)["log"] == ["a", "b"]
    fork = parent.fork(made_by(parent, "a").id, replace={"way": "x"})
    assert fork.result(DEADLINE)["log"] == ["a", "b"]
