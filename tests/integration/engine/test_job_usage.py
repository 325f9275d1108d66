"""What a job says that it spent is what the model's endpoint counted."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from typing_extensions import TypedDict

from tests.support.graphs import Node
from tests.support.ollama import ScriptedOllama, answer, cut, hang, status, text, tool_call
from tests.support.tally import Spent, Tally
from ucop.engine import Engine, Job, JobFailed, JobHandle

DEADLINE = 60.0

ASKER = """\
agents:
  asker:
    input: {mark: string, words: {type: string, default: words}}
    prompt: "${mark}: ${words}"
    output: {reply: string}
"""


@pytest.fixture
def flow(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a workflow file whose agent `asker` begins its prompt with `mark`."""

    def written(body: str) -> Path:
        file = tmp_path / "flow.yaml"
        file.write_text(f"name: flow\n{ASKER}{body}")
        return file

    return written


def spent_by_node(job: Job) -> dict[str, Spent]:
    """Sums over all attempts at each node."""
    spent: dict[str, Spent] = {}
    for step in job.steps:
        one = Spent(step.model_calls, step.tokens_in, step.tokens_out)
        spent[step.node] = spent.get(step.node, Spent()) + one
    return {node: sum for node, sum in spent.items() if sum != Spent()}


def agrees(handle: JobHandle, tally: Tally, ollama: ScriptedOllama) -> bool:
    """Per step and in all: what the job tells, what its events tell, what the endpoint saw."""
    job = handle.get()
    assert spent_by_node(job) == tally.spent
    usage = job.usage
    total = (usage.model_calls, usage.tokens_in, usage.tokens_out)
    assert total == (ollama.calls, ollama.tokens_in, ollama.tokens_out)
    ends = [e.data for e in handle.events() if e.type in ("step.completed", "step.failed")]
    told = (
        sum(data["model_calls"] for data in ends),
        sum(data["tokens_in"] for data in ends),
        sum(data["tokens_out"] for data in ends),
    )
    assert told == total
    return True


def models_told(handle: JobHandle) -> list[tuple[str, str, bool]]:
    """Of each `model.used` event: what was asked for, what answers, whether embedded."""
    used = [event.data for event in handle.events() if event.type == "model.used"]
    return [(data["asked"], data["name"], data["embedded"]) for data in used]


# ---------------------------------------------------------------- YAML workflows


def test_nodes_in_a_row(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("two", text('{"reply": "slow words"}', pause=0.1))
    file = flow(
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}, writes: a}\n"
        '  two: {agent: asker, with: {mark: two, words: "${a.reply}"}, writes: b}\n'
        "  none: {agent: assembler, with: {title: t, sections: []}}\n"
        "edges: [START -> one -> two -> none -> END]\n"
    )
    job = engine.submit(file)
    job.wait(DEADLINE)
    assert agrees(job, tally, ollama)
    one, two, none = job.steps()
    assert one.models == two.models == ("ollama:llama3.2",)
    assert (none.model_calls, none.tokens_in, none.tokens_out, none.models) == (0, 0, 0, ())
    for step, (mark, arrived) in zip((one, two), tally.asked, strict=True):
        assert (step.node, step.finished_at is not None) == (mark, True)
        assert step.started_at is not None
        assert step.finished_at is not None
        assert step.started_at.timestamp() <= arrived <= step.finished_at.timestamp()
    assert seconds(two) >= 0.2
    assert job.get().usage.seconds >= seconds(one) + seconds(two) - 1e-5
    assert models_told(job) == [("default", "ollama:llama3.2", False)]


def test_an_each_with_a_limit_is_one_step_with_the_calls_of_all_items(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("many", answer({"reply": "yes"}, delay=0.05))
    file = flow(
        "input: {items: array}\n"
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}}\n"
        "  many:\n"
        '    agent: asker\n    each: "${items}"\n    as: item\n    limit: 3\n'
        '    with: {mark: many, words: "${string(item)}"}\n    writes: answers\n'
        "edges: [START -> one -> many -> END]\n"
    )
    job = engine.submit(file, {"items": list(range(10))})
    assert len(job.result(DEADLINE)["answers"]) == 10
    assert agrees(job, tally, ollama)
    assert ollama.most_at_once == 3
    assert [(step.node, step.model_calls) for step in job.steps()] == [("one", 1), ("many", 10)]


def test_parallel_nodes_are_told_apart(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    for mark in ("left", "right"):
        tally.script(mark, answer({"reply": mark}, delay=0.2))
    file = flow(
        "nodes:\n"
        "  left: {agent: asker, with: {mark: left}, writes: l}\n"
        "  right: {agent: asker, with: {mark: right}, writes: r}\n"
        '  last: {agent: asker, with: {mark: last, words: "${l.reply} ${r.reply}"}}\n'
        'edges: ["START -> [left, right] -> last -> END"]\n'
    )
    job = engine.submit(file)
    job.wait(DEADLINE)
    assert agrees(job, tally, ollama)
    assert ollama.most_at_once == 2
    assert all(seconds(step) >= 0.2 for step in job.steps() if step.node != "last")


INNERMOST = """
input: {mark: string}
nodes:
  deep: {agent: asker, with: {mark: "${mark}deep"}, writes: a}
  deeper: {agent: asker, with: {mark: "${mark}deeper"}, writes: b}
edges: [START -> deep -> deeper -> END]
output: ${b.reply}
"""
MIDDLE = """
input: {mark: {type: string, default: ""}, marks: {type: array, default: [x, y, z]}}
nodes:
  one: {agent: asker, with: {mark: "${mark}one"}, writes: a}
  two: {workflow: innermost, each: "${marks}", limit: 2, with: {mark: "${mark}two/"}, writes: b}
  three: {agent: asker, each: "${b}", with: {mark: "${mark}three"}, writes: c}
edges: [START -> one -> two -> three -> END]
output: ${b}
"""
OUTERMOST = """
input: {pair: {type: array, default: [1, 2]}}
nodes:
  alone: {agent: asker, with: {mark: alone}, writes: a}
  single: {workflow: middle, with: {mark: single/}, writes: b}
  many: {workflow: middle, each: "${pair}", with: {mark: many/}, writes: c}
edges:
  - START -> alone -> [single, many] -> END
"""


@pytest.fixture
def layered(open_engine: Callable[..., Engine], tmp_path: Path) -> Engine:
    """An engine with a workflow `outer`, of two levels of workflows inside."""
    bodies = {"innermost": INNERMOST, "middle": MIDDLE, "outer": OUTERMOST}
    for name, body in bodies.items():
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{ASKER}{body}")
    return open_engine(workflows=["*.yaml"])


def test_what_workflows_inside_workflows_spend_is_told_at_their_own_steps(
    layered: Engine, tally: Tally, ollama: ScriptedOllama
) -> None:
    job = layered.submit("outer")
    job.result(DEADLINE)
    assert agrees(job, tally, ollama)
    assert {node: spent.calls for node, spent in tally.spent.items()} == {
        "alone": 1,
        "single/one": 1,
        "single/two/deep": 3,
        "single/two/deeper": 3,
        "single/three": 3,
        "many/one": 2,
        "many/two/deep": 6,
        "many/two/deeper": 6,
        "many/three": 6,
    }
    ways = {step.node: step for step in job.steps()}
    assert {"single", "many", "single/two", "many/two"} <= ways.keys()
    outermost = [step for step in job.steps() if "/" not in step.node]
    assert job.get().usage.seconds == pytest.approx(sum(map(seconds, outermost)))


def test_a_call_that_fails_deep_inside_is_told_there_and_counted_once(
    layered: Engine, tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("two/deeper", status(400), answer({"reply": "yes"}))
    job = layered.submit("middle", {"marks": ["x"]})
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    assert agrees(job, tally, ollama)
    job.resume()
    job.result(DEADLINE)
    assert agrees(job, tally, ollama)


def test_what_is_stopped_inside_keeps_what_it_spent(
    layered: Engine, open_engine: Callable[..., Engine], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("two/deep", hang(after=1))
    job = layered.submit("middle", {"marks": ["x", "y"]})
    assert ollama.until(lambda seen: tally.marks.count("two/deep") == 2)
    layered.close()
    tally.script("two/deep")
    job = open_engine(workflows=["*.yaml"]).job(job.id)
    job.result(DEADLINE)
    assert agrees(job, tally, ollama)


def test_an_answer_that_is_sent_back_counts(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("one", text("no JSON"), answer({"rely": "typo"}), answer({"reply": "fits"}))
    job = engine.submit(flow("nodes:\n  one: {agent: asker, with: {mark: one}, writes: a}\n"))
    assert job.result(DEADLINE) == {"a": {"reply": "fits"}}
    assert tally.spent["one"].calls == 3
    assert agrees(job, tally, ollama)


def test_a_request_that_was_turned_away_counts_as_a_call_without_tokens(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    fits = answer({"reply": "at last"})
    tally.script("one", status(429, retry_after=0), status(503, retry_after=0), cut(), fits)
    job = engine.submit(flow("nodes:\n  one: {agent: asker, with: {mark: one}, writes: a}\n"))
    job.result(DEADLINE)
    assert tally.spent["one"].calls == 4
    assert agrees(job, tally, ollama)


def test_a_nodes_own_retries_count(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("one", *[text("no JSON")] * 4, answer({"reply": "fits"}))
    file = flow(
        "nodes:\n  one:\n    agent: asker\n    with: {mark: one}\n    writes: a\n"
        "    retry: {attempts: 3, delay: 0.01}\n"
    )
    job = engine.submit(file)
    job.result(DEADLINE)
    assert tally.spent["one"].calls == 5
    assert agrees(job, tally, ollama)


def test_a_loop_has_a_step_for_each_round(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("judge", answer({"reply": "bad"}), answer({"reply": "good"}))
    file = flow(
        "nodes:\n"
        "  write: {agent: asker, with: {mark: write}}\n"
        "  judge: {agent: asker, with: {mark: judge}, writes: verdict}\n"
        "edges:\n  - START -> write -> judge\n"
        "  - from: judge\n    to:\n"
        "      - {node: write, when: \"verdict.reply == 'bad'\", at_most: 3}\n      - END\n"
    )
    job = engine.submit(file)
    job.result(DEADLINE)
    assert [step.node for step in job.steps()] == ["write", "judge"] * 2
    assert agrees(job, tally, ollama)


# ---------------------------------------------------------------- failing and going on


def test_a_failed_step_keeps_its_calls_and_a_resumed_job_counts_nothing_twice(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("two", answer({"wrong": 1}))
    file = flow(
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}, writes: a}\n"
        "  two: {agent: asker, with: {mark: two}, writes: b}\n"
        "edges: [START -> one -> two -> END]\n"
    )
    job = engine.submit(file)
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    assert tally.spent["two"].calls == 3
    assert agrees(job, tally, ollama)
    tally.script("two")
    job.resume()
    job.result(DEADLINE)
    assert [(s.node, s.attempt, s.status, s.model_calls) for s in job.steps()] == [
        ("one", 1, "completed", 1),
        ("two", 1, "failed", 3),
        ("two", 2, "completed", 1),
    ]
    assert agrees(job, tally, ollama)


def test_an_each_that_failed_asks_again_only_for_what_is_missing(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("2", text("no JSON", delay=0.3))
    file = flow(
        "nodes:\n  many:\n    agent: asker\n"
        "    each: \"${['0', '1', '2', '3']}\"\n    as: item\n"
        '    with: {mark: "${item}"}\n    writes: answers\n'
    )
    job = engine.submit(file)
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    tally.script("2")
    job.resume()
    assert len(job.result(DEADLINE)["answers"]) == 4
    assert sorted(tally.marks) == ["0", "1", "2", "2", "2", "2", "3"]
    usage = job.get().usage
    total = (usage.model_calls, usage.tokens_in, usage.tokens_out)
    assert total == (ollama.calls, ollama.tokens_in, ollama.tokens_out)
    assert [step.model_calls for step in job.steps()] == [6, 1]


def test_a_sibling_that_an_error_stops_keeps_its_calls(
    engine: Engine, flow: Callable[[str], Path], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("slow", text("no JSON"), answer({"reply": "late"}, delay=30))
    tally.script("bad", answer({"wrong": 1}, delay=0.2))
    file = flow(
        "nodes:\n"
        "  slow: {agent: asker, with: {mark: slow}, writes: a}\n"
        "  bad: {agent: asker, with: {mark: bad}, writes: b}\n"
        'edges: ["START -> [slow, bad] -> END"]\n'
    )
    job = engine.submit(file)
    with pytest.raises(JobFailed, match="bad"):
        job.result(DEADLINE)
    assert ollama.until(lambda o: o.hang_ups == 1)
    by_node = spent_by_node(job.get())
    assert by_node["bad"] == tally.spent["bad"]
    assert by_node["slow"].calls == tally.spent["slow"].calls == 2
    assert by_node["slow"].tokens_in > 0


def test_an_engine_that_closes_keeps_the_calls_of_what_it_stopped(
    open_engine: Callable[..., Engine],
    flow: Callable[[str], Path],
    tally: Tally,
    ollama: ScriptedOllama,
) -> None:
    tally.script("two", text("no JSON"), answer({"reply": "late"}, delay=30))
    file = flow(
        "nodes:\n"
        "  one: {agent: asker, with: {mark: one}, writes: a}\n"
        "  two: {agent: asker, with: {mark: two}, writes: b}\n"
        "edges: [START -> one -> two -> END]\n"
    )
    first = open_engine()
    id = first.submit(file).id
    assert ollama.until(lambda o: o.calls == 3)
    first.close(grace=0)
    tally.script("two")
    job = open_engine().job(id)
    job.result(DEADLINE)
    assert [(s.node, s.attempt, s.model_calls) for s in job.steps()] == [
        ("one", 1, 1),
        ("two", 1, 2),
        ("two", 2, 1),
    ]
    counted = job.get().usage
    assert (counted.model_calls, counted.tokens_out) == (ollama.calls, ollama.tokens_out)


def test_an_each_that_is_drained_keeps_what_its_items_spent(
    open_engine: Callable[..., Engine],
    flow: Callable[[str], Path],
    tally: Tally,
    ollama: ScriptedOllama,
) -> None:
    tally.script("many", answer({"reply": "yes"}, delay=0.2))
    file = flow(
        "nodes:\n  many:\n    agent: asker\n    each: \"${['a', 'b', 'c', 'd', 'e']}\"\n"
        "    as: item\n    limit: 2\n    with: {mark: many}\n    writes: answers\n"
    )
    first = open_engine()
    id = first.submit(file).id
    assert ollama.until(lambda o: o.calls == 2)
    first.close(grace=30)
    job = open_engine().job(id)
    assert len(job.result(DEADLINE)["answers"]) == 5
    assert [(s.attempt, s.status, s.model_calls) for s in job.steps()] == [
        (1, "failed", 2),
        (2, "completed", 3),
    ]
    assert agrees(job, tally, ollama)


# ---------------------------------------------------------------- unchanged Python graphs


class Said(TypedDict):
    said: Annotated[list[str], operator.add]


@pytest.fixture
def chat(ollama: ScriptedOllama) -> ChatOllama:
    """As a user's module has it: made once, used from any node. Connections are not kept, for
    the test would have to close them."""
    headers = {"Connection": "close"}
    return ChatOllama(model="llama3.2", base_url=ollama.url, client_kwargs={"headers": headers})


def asks(chat: ChatOllama, mark: str) -> Node:
    async def node(state: Said) -> dict[str, list[str]]:
        return {"said": [str((await chat.ainvoke(f"{mark}: words")).content)]}

    return node


def asks_blocking(chat: ChatOllama, mark: str) -> Node:
    def node(state: Said) -> dict[str, list[str]]:
        return {"said": [str(chat.invoke(f"{mark}: words").content)]}

    return node


def test_async_sync_and_nested_nodes_of_a_python_graph(
    engine: Engine, chat: ChatOllama, tally: Tally, ollama: ScriptedOllama
) -> None:
    inner = StateGraph(Said)
    inner.add_node("x", asks(chat, "deep/x"))
    inner.add_node("y", asks_blocking(chat, "deep/y"))
    inner.add_edge(START, "x")
    inner.add_edge("x", "y")
    outer = StateGraph(Said)
    outer.add_node("one", asks(chat, "one"))
    outer.add_node("two", asks_blocking(chat, "two"))
    outer.add_node("deep", inner.compile())
    outer.add_edge(START, "one")
    outer.add_edge(START, "two")
    outer.add_edge(["one", "two"], "deep")
    job = engine.submit(engine.add("python", outer), {"said": []})
    job.result(DEADLINE)
    assert (tally.spent["deep/x"].calls, tally.spent["deep/y"].calls) == (1, 1)
    assert agrees(job, tally, ollama)
    asked = {step.models for step in job.steps() if step.node != "deep"}
    assert asked == {("ollama:llama3.2",)}
    assert [name for _, name, _ in models_told(job)] == ["ollama:llama3.2"]


def test_a_tool_loop_of_a_python_graph(
    engine: Engine, chat: ChatOllama, tally: Tally, ollama: ScriptedOllama
) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    tally.script("sum", tool_call("add", {"a": 1, "b": 2}), text("It is 3."))

    async def model(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await chat.bind_tools([add]).ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode([add]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    question = {"role": "user", "content": "sum: one and two"}
    job = engine.submit(engine.add("tools", graph), {"messages": [question]})
    said = job.result(DEADLINE)["messages"]
    assert [m["content"] for m in said][-2:] == ["3", "It is 3."]
    assert [(s.node, s.model_calls) for s in job.steps()] == [
        ("model", 1),
        ("tools", 0),
        ("model", 1),
    ]
    usage = job.get().usage
    total = (usage.model_calls, usage.tokens_in, usage.tokens_out)
    assert total == (ollama.calls, ollama.tokens_in, ollama.tokens_out)


def test_a_python_node_that_fails_keeps_its_calls(
    engine: Engine, chat: ChatOllama, tally: Tally, ollama: ScriptedOllama
) -> None:
    async def asks_and_fails(state: Said) -> dict[str, list[str]]:
        await chat.ainvoke("two: words")
        if tally.spent["two"].calls == 1:
            raise ValueError("no")
        return {}

    graph = StateGraph(Said)
    graph.add_node("one", asks(chat, "one"))
    graph.add_node("two", asks_and_fails)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    job = engine.submit(engine.add("failing", graph), {"said": []})
    with pytest.raises(JobFailed):
        job.result(DEADLINE)
    assert agrees(job, tally, ollama)
    job.resume()
    job.result(DEADLINE)
    assert tally.marks == ["one", "two", "two"]
    assert agrees(job, tally, ollama)


def seconds(step: Any) -> float:
    return float((step.finished_at - step.started_at).total_seconds())
