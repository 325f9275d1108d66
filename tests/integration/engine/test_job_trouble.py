"""Jobs whose model is in trouble: what they say, what they keep, and how they go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from langchain_ollama import ChatOllama
from langgraph.graph import START, StateGraph

from tests.support.graphs import Log, Node
from tests.support.ollama import (
    Reply,
    ScriptedOllama,
    answer,
    cut,
    fitting,
    garbage,
    hang,
    mid_error,
    status,
    text,
    unfinished,
)
from tests.support.tally import Tally
from ucop.engine import Engine, Job, JobFailed, JobHandle, Settings

DEADLINE = 60.0

ASKER = """\
agents:
  asker:
    input: {mark: string}
    prompt: "${mark}: words"
    output: {reply: string}
"""

FLOW = (
    ASKER
    + """\
name: flow
input: {mark: string}
nodes:
  before: {agent: asker, with: {mark: "${mark} before"}, writes: a}
  asks: {agent: asker, with: {mark: "${mark}"}, writes: b}
  after: {agent: asker, with: {mark: "${mark} after"}, writes: c}
edges: [START -> before -> asks -> after -> END]
"""
)


@dataclass(frozen=True)
class Cause:
    """What the endpoint does for ever, and what the job must say of it."""

    reply: Reply
    type: str
    says: str
    advice: str = "ucop jobs resume"


CAUSES = {
    "hangs before headers": Cause(hang(), "ModelTimeout", "nothing came"),
    "hangs in the middle": Cause(hang(after=2), "ModelTimeout", "nothing came"),
    "cuts the stream": Cause(cut(), "ModelResponseError", "the answer broke off"),
    "ends without done": Cause(unfinished(), "ModelResponseError", "the answer broke off"),
    "is too busy": Cause(status(429, "slow down"), "ModelResponseError", "HTTP 429: slow down"),
    "is too busy for an hour": Cause(
        status(429, retry_after=3600), "ModelResponseError", "asks to wait 3600 s"
    ),
    "is broken": Cause(status(500, "no memory"), "ModelResponseError", "HTTP 500: no memory"),
    "is no Ollama": Cause(garbage(), "ModelResponseError", "not Ollama's NDJSON"),
    "ends with an error": Cause(mid_error("CUDA"), "ModelResponseError", "CUDA"),
    "lost its model": Cause(status(404), "ModelResponseError", "HTTP 404", "ollama pull llama3.2"),
    "wants a password": Cause(status(401), "ModelResponseError", "HTTP 401", "OLLAMA_API_KEY"),
    "never fits": Cause(
        answer({"wrong": 1}), "AgentOutputError", "3 answers of llama3.2", "use a larger model"
    ),
}


@dataclass(frozen=True)
class Troubled:
    """One job for each cause, all run at once, so that they wait together."""

    tally: Tally
    ollama: ScriptedOllama
    jobs: dict[str, JobHandle]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    folder = tmp_path_factory.mktemp("troubled")
    (folder / "flow.yaml").write_text(FLOW)
    tally = Tally(**{name: [cause.reply] for name, cause in CAUSES.items()})
    with ScriptedOllama(tally) as ollama:
        settings = Settings.load(
            folder,
            database=f"sqlite:///{folder}/ucop.db",
            ollama_host=ollama.url,
            embedded=False,
            model_idle_timeout=2.0,
        )
        with Engine(settings=settings) as engine:
            jobs = {name: engine.submit(folder / "flow.yaml", {"mark": name}) for name in CAUSES}
            for job in jobs.values():
                job.wait(DEADLINE)
            yield Troubled(tally, ollama, jobs)


@pytest.mark.parametrize("name", CAUSES)
def test_a_job_whose_endpoint(troubled: Troubled, name: str) -> None:
    """… hangs, cuts, refuses: fails with a message, and goes on when the cause is gone."""
    cause, handle, tally = CAUSES[name], troubled.jobs[name], troubled.tally
    job = handle.get()
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.type, job.error.node) == (cause.type, "asks")
    assert cause.says in job.error.message
    assert cause.advice in job.error.message
    assert cause.type == "AgentOutputError" or troubled.ollama.url in job.error.message
    assert node_runs(job) == [("before", "completed"), ("asks", "failed")]
    kept = handle.checkpoints()[0].values
    assert kept["a"]["reply"]
    assert kept["b"] is None
    [failed] = [event for event in handle.events() if event.type == "step.failed"]
    assert failed.data["error"]["message"] == job.error.message

    tally.script(name)
    handle.resume()
    assert set(handle.result(DEADLINE)) == {"a", "b", "c"}
    neighbours = (f"{name} before", f"{name} after")
    assert [mark for mark in tally.marks if mark in neighbours] == list(neighbours)
    assert node_runs(handle.get())[2:] == [("asks", "completed"), ("after", "completed")]
    numbers = [event.seq for event in handle.events()]
    assert numbers == list(range(1, len(numbers) + 1))


def node_runs(job: Job) -> list[tuple[str, str]]:
    return [(step.node, step.status.value) for step in job.steps]


# ---------------------------------------------------------------- an endpoint that is gone


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    file = tmp_path / "flow.yaml"
    file.write_text(FLOW)
    return file


def test_an_endpoint_that_dies_in_the_middle_of_a_job(
    open_engine: Callable[..., Engine], flow: Path
) -> None:
    tally = Tally(m=[text("words", delay=30)])
    with ScriptedOllama(tally) as ollama:
        url, port = ollama.url, int(ollama.url.rpartition(":")[2])
        job = open_engine(ollama_host=url).submit(flow, {"mark": "m"})
        assert ollama.until(lambda o: o.calls == 2)
    with pytest.raises(JobFailed, match="cannot connect") as caught:
        job.result(DEADLINE)
    assert (caught.value.type, caught.value.node) == ("ModelUnavailable", "asks")
    assert url in caught.value.message
    assert "ucop jobs resume" in caught.value.message
    assert node_runs(job.get()) == [("before", "completed"), ("asks", "failed")]
    tally.script("m")
    with ScriptedOllama(tally, port=port):
        job.resume()
        job.result(DEADLINE)
    assert tally.marks == ["m before", "m", "m", "m after"]


def test_an_endpoint_that_was_never_there(
    open_engine: Callable[..., Engine], flow: Path, tally: Tally
) -> None:
    with ScriptedOllama() as gone:
        url, port = gone.url, int(gone.url.rpartition(":")[2])
    job = open_engine(ollama_host=url).submit(flow, {"mark": "m"})
    with pytest.raises(JobFailed, match="no Ollama answers") as caught:
        job.result(DEADLINE)
    assert (caught.value.type, caught.value.node) == ("ModelUnavailable", "before")
    assert url in caught.value.message
    assert "Start Ollama or set OLLAMA_HOST" in caught.value.message
    with ScriptedOllama(tally, port=port):
        job.resume()
        job.result(DEADLINE)
    assert tally.marks == ["m before", "m", "m after"]


def test_an_endpoint_that_comes_back_while_a_job_tries_again(
    open_engine: Callable[..., Engine], flow: Path
) -> None:
    tally = Tally(m=[text("words", delay=30), fitting()])
    with ScriptedOllama(tally) as ollama:
        url, port = ollama.url, int(ollama.url.rpartition(":")[2])
        job = open_engine(ollama_host=url).submit(flow, {"mark": "m"})
        assert ollama.until(lambda o: o.calls == 2)
    with ScriptedOllama(tally, port=port):
        job.result(DEADLINE)
    assert job.get().attempt == 1
    assert tally.marks == ["m before", "m", "m", "m after"]


def test_an_endpoint_that_asks_to_wait_is_asked_again_after_that_time(
    engine: Engine, flow: Path, tally: Tally
) -> None:
    tally.script("m", status(429, retry_after=1), fitting())
    engine.submit(flow, {"mark": "m"}).result(DEADLINE)
    first, second = (at for mark, at in tally.asked if mark == "m")
    assert second - first >= 0.99


def test_an_endpoint_that_cannot_list_its_models_at_first(
    engine: Engine, flow: Path, ollama: ScriptedOllama
) -> None:
    ollama.tags = status(503)
    job = engine.submit(flow, {"mark": "m"})
    assert ollama.until(lambda o: o.paths.count("/api/tags") >= 2)
    ollama.tags = None
    job.result(DEADLINE)


def test_an_answer_that_takes_too_long_although_it_never_stops(
    open_engine: Callable[..., Engine], flow: Path, tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("m", text("word " * 1000, pause=0.05))
    job = open_engine(model_timeout=2.0).submit(flow, {"mark": "m"})
    with pytest.raises(JobFailed, match="no answer within 2 s") as caught:
        job.result(DEADLINE)
    assert (caught.value.type, caught.value.node) == ("ModelTimeout", "asks")
    assert ollama.url in caught.value.message
    assert ollama.until(lambda o: o.hang_ups == 1)


# ---------------------------------------------------------------- what is stopped hangs up


def test_a_closing_engine_hangs_up_on_the_model(
    open_engine: Callable[..., Engine], flow: Path, tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("m", hang(after=2))
    engine = open_engine()
    job = engine.submit(flow, {"mark": "m"})
    assert ollama.until(lambda o: o.calls == 2)
    engine.close(grace=0)
    assert ollama.until(lambda o: o.hang_ups == 1)
    tally.script("m")
    open_engine().job(job.id).result(DEADLINE)
    assert tally.marks == ["m before", "m", "m", "m after"]


def test_the_error_of_one_node_hangs_up_on_its_siblings_model(
    engine: Engine, tmp_path: Path, tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("hangs", hang())
    tally.script("fails", status(401))
    file = tmp_path / "two.yaml"
    file.write_text(
        ASKER + "name: two\nnodes:\n"
        "  hangs: {agent: asker, with: {mark: hangs}}\n"
        "  fails: {agent: asker, with: {mark: fails}}\n"
        'edges: ["START -> [hangs, fails] -> END"]\n'
    )
    job = engine.submit(file)
    with pytest.raises(JobFailed, match="OLLAMA_API_KEY"):
        job.result(DEADLINE)
    assert ollama.until(lambda o: o.hang_ups == 1)
    assert sorted(node_runs(job.get())) == [("fails", "failed"), ("hangs", "failed")]
    [stopped] = [step for step in job.steps() if step.node == "hangs"]
    assert stopped.error is not None
    assert (stopped.error.type, "fails" in stopped.error.message) == ("Interrupted", True)


def test_an_engine_closes_although_a_sync_node_hangs(
    open_engine: Callable[..., Engine], tally: Tally, ollama: ScriptedOllama
) -> None:
    tally.script("m", hang())
    chat = ChatOllama(
        model="llama3.2", base_url=ollama.url, client_kwargs={"headers": {"Connection": "close"}}
    )

    def node(state: Log) -> dict[str, list[str]]:
        return {"log": [str(chat.invoke("m: words").content)]}

    graph = StateGraph(Log)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    engine = open_engine()
    job = engine.submit(engine.add("blocking", graph))
    assert ollama.until(lambda o: o.calls == 1)
    closing = threading.Thread(target=engine.close, kwargs={"grace": 0}, daemon=True)
    closing.start()
    closing.join(5)
    assert not closing.is_alive()
    tally.script("m")
    again = open_engine()
    again.add("blocking", graph)
    again.job(job.id).result(DEADLINE)


# ---------------------------------------------------------------- a graph's own calls


@pytest.mark.parametrize(
    ("reply", "type", "says"),
    [
        (hang(), "ReadTimeout", "POST {url}/api/chat"),
        (hang(after=2), "ReadTimeout", "POST {url}/api/chat"),
        (cut(), "RemoteProtocolError", "POST {url}/api/chat"),
        (status(500, "no memory"), "ResponseError", "no memory"),
        (garbage(), "JSONDecodeError", ""),
    ],
    ids=["hangs", "hangs in the middle", "cuts", "is broken", "is no Ollama"],
)
def test_a_graph_that_asks_itself_an_endpoint_that(
    engine: Engine, tally: Tally, ollama: ScriptedOllama, reply: Reply, type: str, says: str
) -> None:
    """… hangs, cuts, refuses: fails with what its client says, and goes on."""
    host = ollama.url.removeprefix("http://")
    chat = ChatOllama(
        model="llama3.2",
        base_url=f"http://me:secret@{host}",
        client_kwargs={"timeout": 1.0, "headers": {"Connection": "close"}},
    )

    def asks(mark: str) -> Node:
        async def node(state: Log) -> dict[str, list[str]]:
            return {"log": [str((await chat.ainvoke(f"{mark}: words")).content)]}

        return node

    graph = StateGraph(Log)
    nodes: list[Node] = [("before", asks("before")), ("asks", asks("m"))]
    graph.add_sequence(nodes)
    graph.add_edge(START, "before")
    tally.script("m", reply)
    job = engine.submit(engine.add("own", graph))
    with pytest.raises(JobFailed) as caught:
        job.result(DEADLINE)
    assert (caught.value.type, caught.value.node) == (type, "asks")
    assert says.format(url=ollama.url) in caught.value.message
    assert "secret" not in caught.value.message
    assert "ucop jobs resume" in str(caught.value)
    tally.script("m")
    job.resume()
    assert len(job.result(DEADLINE)["log"]) == 2
    assert tally.marks == ["before", "m", "m"]


# ---------------------------------------------------------------- which node it was


def test_of_two_nodes_that_fail_at_once_the_message_fits_the_node(engine: Engine) -> None:
    def raises(name: str) -> Node:
        async def node(state: Log) -> dict[str, list[str]]:
            await asyncio.sleep(0)
            raise ValueError(f"{name} is broken")

        return node

    graph = StateGraph(Log)
    for name in "abcdef":
        graph.add_node(name, raises(name))
        graph.add_edge(START, name)
    workflow = engine.add("six", graph)
    for _ in range(5):
        job = engine.submit(workflow)
        with pytest.raises(JobFailed) as caught:
            job.result(DEADLINE)
        assert caught.value.message == f"{caught.value.node} is broken"
        for step in job.steps():
            assert step.error is not None
            assert step.error.type == "Interrupted" or step.error.message.startswith(step.node)


def test_a_condition_that_fails_names_the_node_it_leads_out_of(
    engine: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "cond.yaml"
    file.write_text(
        ASKER + "name: cond\ninput: {mark: string}\nnodes:\n"
        '  asks: {agent: asker, with: {mark: "${mark}"}, writes: a}\n'
        '  more: {agent: asker, with: {mark: "${mark} more"}}\n'
        "edges:\n  - START -> asks\n"
        "  - from: asks\n    to:\n"
        '      - {node: more, when: "int(a.reply) > 3"}\n      - END\n  - more -> END\n'
    )
    job = engine.submit(file, {"mark": "m"})
    with pytest.raises(JobFailed) as caught:
        job.result(DEADLINE)
    assert caught.value.node == "asks"
    assert node_runs(job.get()) == [("asks", "completed")]
