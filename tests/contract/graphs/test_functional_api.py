"""`@entrypoint` and `@task`, sequences, and graphs on other servers, on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from ucop.engine import Engine, InvalidInput, JobFailed

DEADLINE = 30.0


class State(TypedDict, total=False):
    n: int


class Counted:
    """How often each task ran."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.broken = True


def flow_of(counted: Counted) -> Any:
    @task
    async def double(n: int) -> int:
        counted.runs.append(f"double {n}")
        return 2 * n

    @task
    def asks(n: int) -> int:
        counted.runs.append("asks")
        return n + int(interrupt("how many more?"))

    @entrypoint()
    async def flow(numbers: list[int]) -> list[int]:
        doubled = [await double(n) for n in numbers]
        return [*doubled, await asks(doubled[0])]

    return flow


def test_given_an_entrypoint_then_it_asks_and_its_tasks_run_once(engine: Engine) -> None:
    counted = Counted()
    job = engine.submit(flow_of(counted), [1, 2])
    job.wait(DEADLINE)
    job.answer(40)
    assert job.result(DEADLINE) == [2, 4, 42]
    assert counted.runs == ["double 1", "double 2", "asks", "asks"]
    assert {"flow", "double", "asks"} <= {step.node.split("/")[-1] for step in job.steps()}
    assert job.get().workflow == "flow"


def test_given_an_entrypoint_that_failed_then_what_its_tasks_gave_is_kept(
    engine: Engine, open_engine: Callable[..., Engine]
) -> None:
    counted = Counted()

    @task
    async def once(n: int) -> int:
        counted.runs.append(f"once {n}")
        return n

    @entrypoint()
    async def flow(n: int) -> int:
        got = [await once(n), await once(n + 1)]
        if counted.broken:
            raise ValueError("broken")
        return sum(got)

    job = engine.submit(flow, 1)
    with pytest.raises(JobFailed, match="broken"):
        job.result(DEADLINE)
    counted.broken = False
    engine.close()
    other = open_engine()
    other.add("flow", flow)
    again = other.job(job.id)
    again.retry()
    assert again.result(DEADLINE) == 3
    assert counted.runs == ["once 1", "once 2"]


def summed() -> Any:
    @entrypoint(checkpointer=InMemorySaver())
    def flow(n: int, *, previous: Any = None) -> entrypoint.final[int, int]:
        return entrypoint.final(value=previous or 0, save=n + (previous or 0))

    return flow


def test_given_jobs_on_one_thread_then_an_entrypoint_finds_what_the_last_one_saved(
    engine: Engine,
) -> None:
    graph = summed()
    config: Any = {"configurable": {"thread_id": "t"}}
    bare = [graph.invoke(n, config) for n in (3, 1, 5)]
    jobs = [engine.submit(graph, n, thread_id="t") for n in (3, 1, 5)]
    assert [job.result(DEADLINE) for job in jobs] == bare == [0, 3, 4]


@pytest.mark.parametrize("value", [None, "", 0, {}, [], {"a": None}, "text"])
def test_given_any_result_then_an_entrypoint_gives_it(engine: Engine, value: Any) -> None:
    @entrypoint()
    async def flow(given: Any) -> Any:
        return given

    @entrypoint()
    async def gives(given: Any) -> Any:
        return value

    assert engine.submit(gives, 1).result(DEADLINE) == value
    if value is not None:
        assert engine.submit(flow, value).result(DEADLINE) == value


def test_given_an_entrypoint_then_it_can_be_forked_and_its_state_is_not_edited(
    engine: Engine,
) -> None:
    counted = Counted()
    job = engine.submit(flow_of(counted), [1])
    job.wait(DEADLINE)
    fork = job.fork()
    fork.wait(DEADLINE)
    fork.answer(1)
    assert fork.result(DEADLINE) == [2, 3]
    with pytest.raises(InvalidInput):
        job.fork(update={"flow": 3})
    assert [c.next for c in job.checkpoints()] == [("flow",)]


@pytest.mark.parametrize("value", [7, {"a": 1}])
def test_given_an_entrypoint_then_its_checkpoints_show_what_it_gave(
    engine: Engine, value: Any
) -> None:
    @entrypoint()
    async def flow(given: Any) -> Any:
        return value

    job = engine.submit(flow, 1)
    job.result(DEADLINE)
    found = [c.values for c in job.checkpoints()]
    assert found == [c.values for c in engine.reader.checkpoints(job.id)]
    assert found == [{"__end__": value}, {}]


# ---------------------------------------------------------------- sequences


def adding(counted: Counted) -> Any:
    def add(state: State) -> State:
        counted.runs.append("add")
        return {"n": state["n"] + 1}

    builder = StateGraph(State)
    builder.add_node("add", add)
    builder.add_edge(START, "add")
    return builder.compile(name="adding")


def test_given_a_sequence_then_each_part_is_a_node_whose_result_is_kept(engine: Engine) -> None:
    counted = Counted()

    def times(values: Any) -> Any:
        counted.runs.append("times")
        if counted.broken:
            raise ValueError("broken")
        return values["n"] * 10

    sequence = adding(counted) | RunnableLambda(times) | RunnableLambda(lambda n: [n])
    job = engine.submit(sequence, {"n": 1})
    with pytest.raises(JobFailed, match="broken"):
        job.result(DEADLINE)
    counted.broken = False
    job.retry()
    assert job.result(DEADLINE) == sequence.invoke({"n": 1}) == [20]
    assert counted.runs[:3] == ["add", "times", "times"]
    assert job.steps()[0].node == "adding"


def test_given_a_part_that_gives_nothing_then_so_does_the_sequence(engine: Engine) -> None:
    sequence = adding(Counted()) | RunnableLambda(lambda values: None)
    assert engine.submit(sequence, {"n": 1}).result(DEADLINE) is None


# ---------------------------------------------------------------- graphs on other servers


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server of graphs that adds one, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, **body})
            values = json.dumps({"n": body["input"]["n"] + 1})
            data = f"event: values\r\ndata: {values}\r\n\r\nevent: end\r\ndata: null\r\n\r\n"
            if "messages-tuple" in body["stream_mode"]:
                token = json.dumps([{"type": "AIMessageChunk", "content": "adding"}, {}])
                data = f"event: messages\r\ndata: {token}\r\n\r\n{data}"
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data.encode())

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", asked
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_given_a_graph_on_another_server_then_it_runs_as_a_workflow_and_as_a_node(
    engine: Engine, server: tuple[str, list[dict[str, Any]]]
) -> None:
    url, asked = server
    remote = RemoteGraph("adder", url=url, name="adder")
    job = engine.submit(remote, {"n": 1}, config={"tags": ["blue"]})
    assert job.result(DEADLINE) == {"n": 2}
    assert asked[0]["path"] == "/runs/stream"  # not on a thread, which that server does not know
    assert "blue" in asked[0]["config"]["tags"]
    assert [step.node for step in job.steps()] == ["adder"]

    builder = StateGraph(State)
    builder.add_node("far", RemoteGraph("adder", url=url))
    builder.add_edge(START, "far")
    inside = engine.submit(builder.compile(name="near"), {"n": 5}, thread_id="t")
    assert inside.result(DEADLINE) == {"n": 6}
    assert asked[-1]["path"] == "/threads/t/runs/stream"  # as LangGraph alone does


def test_what_models_on_another_server_say_is_streamed_though_none_speaks_here(
    engine: Engine, server: tuple[str, list[dict[str, Any]]]
) -> None:
    url, asked = server
    builder = StateGraph(State)
    builder.add_node("far", RemoteGraph("adder", url=url))
    builder.add_edge(START, "far")
    graph = builder.compile(name="near")
    job = engine.submit(graph, {"n": 5}, stream=["messages"])
    assert [part["data"][0]["content"] for part in job.stream(["messages"])] == ["adding"]
    assert engine.submit(graph, {"n": 5}).result(DEADLINE) == {"n": 6}
    assert "messages-tuple" not in asked[-1]["stream_mode"]
