"""What a job may use at most: calls, tokens, steps, time; over all its attempts."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_ollama import ChatOllama
from langgraph.graph import START, StateGraph

from tests.support.command import Running
from tests.support.graphs import Log, Node, chain
from tests.support.ollama import Reply, Request, ScriptedOllama, hang, text
from tests.support.process import plain_environment
from tests.support.waiting import DEADLINE, until
from ucop.engine import Engine, InvalidInput, JobHandle, JobStopped, Step
from ucop.engine.jobs.status import JobStatus

FLOW = """
name: flow
input: {{items: {{type: array, items: string, default: [a, b, c, d, e, f, g, h]}}}}
limits: {limits}
nodes:
  first: {{agent: asker, with: {{text: first}}, writes: one}}
  many: {{agent: asker, each: "${{items}}", with: {{text: "${{item}}"}}, writes: all}}
edges: [START -> first -> many -> END]
agents:
  asker: {{prompt: "${{text}}", input: {{text: string}}}}
"""


class Endpoint(ScriptedOllama):
    """Answers each prompt with itself, in capitals, and three tokens."""

    def __init__(self, slow: float = 0.05) -> None:
        self.script: dict[str, Reply] = {}
        self.slow = slow
        super().__init__(self._echo)

    def _echo(self, request: Request) -> Reply:
        word = str(request["messages"][-1]["content"])
        return self.script.get(word) or text(word.upper(), delay=self.slow, tokens=(2, 1))

    @property
    def asked(self) -> list[str]:
        return [str(request["messages"][-1]["content"]) for request in self.requests]


@pytest.fixture
def ollama() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


def chat_of(ollama: Endpoint) -> ChatOllama:
    """As a user's module has it. Connections are not kept, for the test would have to close them."""
    headers = {"Connection": "close"}
    return ChatOllama(model="llama3.2", base_url=ollama.url, client_kwargs={"headers": headers})


@pytest.fixture
def begin(
    open_engine: Callable[..., Engine], ollama: Endpoint, tmp_path: Path
) -> Callable[..., JobHandle]:
    """Submits `FLOW`, or another file, with the given limits to an engine of its own."""

    def begun(limits: str, flow: str = FLOW, **options: Any) -> JobHandle:
        (tmp_path / "flow.yaml").write_text(flow.format(limits=limits), encoding="utf-8")
        engine = open_engine(
            settings={"ollama_host": ollama.url, "embedded": False, "grace": 0.0},
            worker=options.pop("worker", True),
        )
        return engine.submit(tmp_path / "flow.yaml", options.pop("input", {}), **options)

    return begun


def calls(job: JobHandle) -> int:
    return job.get().usage.model_calls


def runs(job: JobHandle) -> list[tuple[str, str, int]]:
    return [(step.node, step.status.value, step.model_calls) for step in job.steps()]


# ---------------------------------------------------------------- model calls


def test_parallel_items_make_exactly_as_many_calls_as_are_allowed(
    begin: Callable[..., JobHandle], ollama: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    job = begin("{model_calls: 5}")
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert (ollama.calls, calls(job)) == (5, 5)
    reason = job.get().reason
    assert reason is not None
    assert "5 model calls of 5 model calls" in reason
    assert job.get().budget == {"model_calls": 5}
    assert runs(job) == [("first", "completed", 1), ("many", "failed", 4)]
    with pytest.raises(JobStopped, match="budget"):
        job.result(DEADLINE)
    assert "callback" not in caplog.text


def test_a_raised_budget_goes_on_and_asks_nothing_twice(
    begin: Callable[..., JobHandle], ollama: Endpoint
) -> None:
    job = begin("{model_calls: 5}")
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    job.resume(budget={"model_calls": 100})
    assert job.result(DEADLINE) == {"one": "FIRST", "all": list("ABCDEFGH")}
    assert sorted(ollama.asked) == sorted([*"abcdefgh", "first"])
    assert calls(job) == 9
    assert job.get().budget == {"model_calls": 100}


def test_a_job_that_is_still_over_its_budget_pauses_again_without_a_call(
    begin: Callable[..., JobHandle], ollama: Endpoint
) -> None:
    job = begin("{model_calls: 5}")
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    for attempt in (2, 3):
        job.resume()
        assert job.wait(DEADLINE) == JobStatus.PAUSED
        assert (job.get().attempt, ollama.calls) == (attempt, 5)
    job.resume(budget={"model_calls": 7})
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert ollama.calls == 7


def test_a_call_that_is_refused_stops_no_other_node(
    begin: Callable[..., JobHandle], ollama: Endpoint
) -> None:
    flow = """
name: flow
limits: {limits}
nodes:
  slow: {{agent: asker, with: {{text: slow}}, writes: a}}
  twice: {{workflow: quick_draft, with: {{topic: "tea"}}, writes: b, on_error: continue}}
edges: ["START -> [slow, twice] -> END"]
agents:
  asker: {{prompt: "${{text}}", input: {{text: string}}}}
"""
    ollama.script["slow"] = text("at last", delay=1.0)
    job = begin("{model_calls: 2}", flow)
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert ollama.calls == 2
    assert ollama.hang_ups == 0
    assert ("slow", "completed", 1) in runs(job)
    assert ollama.asked.count("slow") == 1


STUBBORN = """
from ucop.agents import AgentContext, agent


@agent
async def stubborn(text: str, context: AgentContext) -> str:
    try:
        chat = await context.models.chat()
        return str((await chat.ainvoke(text)).content)
    except Exception as error:
        raise RuntimeError("no answer") from error
"""


def test_a_refusal_that_an_agent_takes_for_an_error_is_none(
    open_engine: Callable[..., Engine], ollama: Endpoint, tmp_path: Path
) -> None:
    flow = """
name: flow
limits: {model_calls: 1}
nodes:
  one: {agent: stubborn, with: {text: a}, writes: x}
  two: {agent: stubborn, with: {text: b}, writes: y, on_error: continue, retry: {delay: 60s}}
edges: [START -> one -> two -> END]
"""
    (tmp_path / "agents.py").write_text(STUBBORN)
    (tmp_path / "flow.yaml").write_text(flow)
    settings = {"ollama_host": ollama.url, "embedded": False, "agents": ["agents.py"]}
    job = open_engine(settings=settings).submit(tmp_path / "flow.yaml")
    assert job.wait(DEADLINE / 2) == JobStatus.PAUSED
    assert ollama.calls == 1
    job.resume(budget={"model_calls": 2})
    assert job.result(DEADLINE) == {"x": "A", "y": "B"}


def test_the_calls_of_a_python_graph_are_refused_too(
    open_engine: Callable[..., Engine], ollama: Endpoint
) -> None:
    model = chat_of(ollama)

    async def stubborn(state: Log) -> dict[str, list[str]]:
        said = []
        for word in "abcd":
            try:
                said.append(str((await model.ainvoke(word)).content))
            except Exception as error:  # what people write
                raise RuntimeError("no answer") from error
        return {"log": said}

    graph = StateGraph(Log)
    graph.add_node("stubborn", stubborn)
    graph.add_edge(START, "stubborn")
    engine = open_engine()
    job = engine.submit(engine.add("stubborn", graph), budget={"model_calls": 2})
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert ollama.calls == 2
    job.resume(budget={"model_calls": 6})
    assert job.result(DEADLINE) == {"log": ["A", "B", "C", "D"]}
    assert ollama.calls == 6  # a node is the smallest part: its two calls were made again


def test_calls_of_synchronous_nodes_in_threads_do_not_overshoot(
    open_engine: Callable[..., Engine], ollama: Endpoint
) -> None:
    model = chat_of(ollama)

    def node(word: str) -> Node:
        return lambda state: {"log": [str(model.invoke(word).content)]}

    graph = StateGraph(Log)
    for word in "abcdefgh":
        graph.add_node(word, node(word))
        graph.add_edge(START, word)
    engine = open_engine()
    job = engine.submit(engine.add("threads", graph), budget={"model_calls": 3})
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert (ollama.calls, calls(job)) == (3, 3)
    job.resume(budget={"model_calls": 8})
    assert sorted(job.result(DEADLINE)["log"]) == list("ABCDEFGH")
    assert sorted(ollama.asked) == list("abcdefgh")


def test_what_is_given_at_submission_goes_before_what_the_workflow_says(
    begin: Callable[..., JobHandle], ollama: Endpoint
) -> None:
    job = begin("{model_calls: 2, steps: 50}", budget={"model_calls": 100, "deadline": "5m"})
    assert job.wait(DEADLINE) == JobStatus.COMPLETED
    assert job.get().budget == {"model_calls": 100, "steps": 50, "deadline": 300.0}


@pytest.mark.parametrize(
    "budget",
    [{"tokens": 0}, {"tokens": "many"}, {"steps": 1.5}, {"minutes": 3}, {"deadline": "soon"}],
)
def test_a_budget_that_makes_no_sense_is_refused(
    begin: Callable[..., JobHandle], budget: Mapping[str, Any]
) -> None:
    with pytest.raises(InvalidInput, match=next(iter(budget))):
        begin("{}", worker=False, budget=budget)
    with pytest.raises(InvalidInput, match=next(iter(budget))):
        begin("{}", worker=False).resume(budget=budget)


# ---------------------------------------------------------------- tokens


def test_used_up_tokens_let_no_further_call_begin(
    begin: Callable[..., JobHandle], ollama: Endpoint
) -> None:
    one_by_one = FLOW.replace("each:", "limit: 1, each:")
    job = begin("{tokens: 10}", one_by_one)
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert ollama.calls == 4  # three tokens each: the fourth began when nine were used
    assert "12 tokens of 10 tokens" in str(job.get().reason)
    job.resume(budget={"tokens": 1000})
    assert job.wait(DEADLINE) == JobStatus.COMPLETED
    assert ollama.calls == 9


# ---------------------------------------------------------------- seconds


def test_used_up_seconds_of_models_let_no_further_call_begin(
    begin: Callable[..., JobHandle], ollama: Endpoint
) -> None:
    one_by_one = FLOW.replace("each:", "limit: 1, each:")
    job = begin("{seconds: 180ms}", one_by_one)
    assert job.wait(DEADLINE) == JobStatus.PAUSED
    assert 1 <= ollama.calls <= 4  # each takes 50 ms or more
    assert "seconds of models; raise it with `ucop jobs resume" in str(job.get().reason)
    job.resume(budget={"seconds": "1h"})
    assert job.wait(DEADLINE) == JobStatus.COMPLETED
    assert ollama.calls == 9


# ---------------------------------------------------------------- steps


def test_a_step_too_many_fails_the_job_before_it_runs(engine: Engine) -> None:
    job = engine.submit(engine.add("long", chain(*"abcde")), budget={"steps": 3})
    assert job.wait(DEADLINE) == JobStatus.FAILED
    data = job.get()
    assert data.error is not None
    assert data.error.type == "StepsUsedUp"
    assert "node d would be one more" in data.error.message
    assert [step.node for step in job.steps()] == ["a", "b", "c"]
    job.resume()
    assert job.wait(DEADLINE) == JobStatus.FAILED
    assert [step.node for step in job.steps()] == ["a", "b", "c"]
    job.resume(budget={"steps": 5})
    assert job.result(DEADLINE) == {"log": list("abcde")}


def test_steps_inside_a_workflow_count_and_may_be_the_ones_too_many(
    open_engine: Callable[..., Engine], ollama: Endpoint, tmp_path: Path
) -> None:
    nodes = "\n".join(f"  {n}: {{agent: asker, with: {{text: {n}}}, writes: {n}_}}" for n in "abc")
    (tmp_path / "inner.yaml").write_text(
        f"name: inner\nnodes:\n{nodes}\nedges: [START -> a -> b -> c -> END]\n"
        'agents:\n  asker: {prompt: "${text}", input: {text: string}}\n'
    )
    (tmp_path / "outer.yaml").write_text(
        "name: outer\nlimits: {steps: 3}\nnodes:\n  sub: {workflow: inner, writes: x}\n"
    )
    engine = open_engine(
        settings={"ollama_host": ollama.url, "embedded": False, "workflows": ["*.yaml"]}
    )
    job = engine.submit("outer")
    assert job.wait(DEADLINE) == JobStatus.FAILED
    assert "node sub/c would be one more" in str(job.get().error)
    ended = [step.node for step in job.steps() if step.status == "completed"]
    assert ended == ["sub/a", "sub/b"]
    job.resume(budget={"steps": 4})
    assert job.result(DEADLINE) == {"x": {"a_": "A", "b_": "B", "c_": "C"}}
    assert sorted(set(ollama.asked)) == ["a", "b", "c"]
    assert ollama.asked.count("a") == ollama.asked.count("b") == 1


# ---------------------------------------------------------------- deadline


def test_a_deadline_cancels_the_model_call_that_hangs(
    begin: Callable[..., JobHandle], ollama: Endpoint
) -> None:
    ollama.script["c"] = hang()
    job = begin("{deadline: 2s}")
    started = time.monotonic()
    assert job.wait(DEADLINE) == JobStatus.FAILED
    assert time.monotonic() - started < 30
    data = job.get()
    assert data.error is not None
    assert data.error.type == "DeadlinePassed"
    assert ollama.until(lambda o: o.hang_ups == 1)
    assert ("many", "failed", 8) in runs(job)
    ollama.script.clear()
    job.resume(budget={"deadline": "1h"})
    assert job.result(DEADLINE)["all"] == list("ABCDEFGH")
    assert ollama.asked.count("c") == 2
    assert ollama.calls == 10  # the items that had ended are kept


def test_a_deadline_that_passed_while_nobody_worked_fails_the_job_without_a_call(
    begin: Callable[..., JobHandle], open_engine: Callable[..., Engine], ollama: Endpoint
) -> None:
    job = begin("{deadline: 300ms}", worker=False)
    time.sleep(0.4)
    again = open_engine(settings={"ollama_host": ollama.url}).job(job.id)
    assert again.wait(DEADLINE) == JobStatus.FAILED
    assert again.get().error.type == "DeadlinePassed"  # type: ignore[union-attr]
    assert ollama.calls == 0
    assert job.steps() == []


WORKER = """
import sys, time
from ucop.engine import Engine, Settings
url, folder, host = sys.argv[1:]
Engine(settings=Settings.load(folder, database=url, ollama_host=host, poll=0.02, sweep=0.2))
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def killed(url: str, tmp_path: Path, ollama: Endpoint) -> Iterator[Callable[..., None]]:
    """Runs a worker process, calls `up` when it works, and kills it when something happened."""
    (tmp_path / "held.py").write_text(WORKER)
    workers: list[Running] = []

    def run(happened: Callable[[], bool], up: Callable[[], object] = lambda: None) -> None:
        args = (url, str(tmp_path), ollama.url)
        workers.append(Running(args, tmp_path, plain_environment(), module="held"))
        workers[-1].until("up")
        up()
        until(happened)
        workers[-1].signal(signal.SIGKILL)
        workers[-1].end()

    yield run
    for worker in workers:
        worker.close()


def test_a_deadline_that_passed_after_the_worker_died_fails_the_job_at_takeover(
    begin: Callable[..., JobHandle],
    open_engine: Callable[..., Engine],
    ollama: Endpoint,
    killed: Callable[..., None],
) -> None:
    ollama.script["first"] = hang()
    jobs: list[JobHandle] = []
    # Its time begins with its submission, and a process on a busy machine needs some to start.
    killed(
        lambda: ollama.calls == 1,
        up=lambda: jobs.append(begin("{deadline: 20s}", worker=False, budget={"deadline": 8})),
    )
    (job,) = jobs
    time.sleep(max(0.0, job.get().created_at.timestamp() + 8.1 - time.time()))
    again = open_engine(settings={"ollama_host": ollama.url}).job(job.id)
    assert again.wait(DEADLINE) == JobStatus.FAILED
    assert again.get().error.type == "DeadlinePassed"  # type: ignore[union-attr]
    assert ollama.calls == 1


def test_what_a_killed_attempt_spent_counts(
    begin: Callable[..., JobHandle],
    open_engine: Callable[..., Engine],
    ollama: Endpoint,
    killed: Callable[..., None],
) -> None:
    one_by_one = FLOW.replace("each:", "limit: 1, each:")
    ollama.script["d"] = hang()
    job = begin("{model_calls: 7}", one_by_one, worker=False)

    def many() -> list[Step]:
        return [step for step in job.steps() if step.node == "many"]

    killed(lambda: ollama.calls == 5 and sum(step.model_calls for step in many()) >= 3)
    ollama.script.clear()
    again = open_engine(settings={"ollama_host": ollama.url, "embedded": False}).job(job.id)
    assert again.wait(DEADLINE) == JobStatus.PAUSED
    assert ollama.calls in (7, 8)  # the call that was under way may not have been noted
    again.resume(budget={"model_calls": 50})
    assert again.result(DEADLINE)["all"] == list("ABCDEFGH")
    assert sorted(set(ollama.asked)) == sorted([*"abcdefgh", "first"])
