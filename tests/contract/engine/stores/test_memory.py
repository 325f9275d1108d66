"""What agents remember, on both databases: LangGraph's store with vectors, and ingested folders."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from tests.support.ollama import ScriptedOllama
from ucop.agents.errors import MemoryUnavailable
from ucop.agents.memory.ingest import ingest
from ucop.engine import Engine, JobFailed
from ucop.engine.settings import MemorySettings

DEADLINE = 60.0
EMBEDDING = "nomic-embed-text:latest"

AGENTS = """
from ucop.agents import AgentContext, agent

@agent
def learns(fact: str, context: AgentContext) -> int:
    memory = context.memory
    known = memory.get("count") or {"n": 0}
    memory.put("count", {"n": known["n"] + 1})
    memory.put(f"fact-{known['n']}", fact)
    memory.shared.put("last", {"fact": fact})
    return known["n"] + 1

@agent
async def recalls(question: str, context: AgentContext) -> dict:
    own = await context.memory.asearch()
    found = await context.memory.of("agents", "learns").asearch(question, limit=1)
    last = await context.memory.shared.aget("last")
    return {"own": len(own), "best": found[0].text, "score": found[0].score, "last": last}
"""
FLOW = """
name: learn
input: {fact: string, question: string}
nodes:
  learn: {agent: learns, with: {fact: "${fact}"}, writes: n}
  recall: {agent: recalls, with: {question: "${question}"}, writes: found}
edges: [START -> learn -> recall -> END]
output: {n: "${n}", found: "${found}"}
"""


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama(models=[EMBEDDING]) as one:
        yield one


@pytest.fixture
def project(tmp_path: Path, ollama: ScriptedOllama) -> dict[str, Any]:
    (tmp_path / "learn.yaml").write_text(FLOW, encoding="utf-8")
    (tmp_path / "memory_agents.py").write_text(AGENTS, encoding="utf-8")
    patterns = {"workflows": ["learn.yaml"], "agents": ["memory_agents.py"]}
    return {**patterns, "ollama_host": ollama.url, "embedded": False}


def test_given_agents_that_learned_then_later_jobs_of_their_tenant_recall(
    open_engine: Callable[..., Engine], project: dict[str, Any], ollama: ScriptedOllama
) -> None:
    engine = open_engine(settings=project)

    def learn(fact: str, question: str, tenant: str | None = None) -> Any:
        job = engine.submit("learn", {"fact": fact, "question": question}, tenant=tenant)
        return job.result(DEADLINE)

    assert learn("tea is made from leaves", "leaves")["n"] == 1
    second = learn("bees make honey", "what do bees make")
    assert second["n"] == 2
    assert second["found"]["best"] == "bees make honey"
    assert second["found"]["own"] == 0
    assert second["found"]["last"] == {"fact": "bees make honey"}
    assert 0 < second["found"]["score"] <= 1
    other = learn("rain is wet", "what do bees make", tenant="acme.org")
    assert other["n"] == 1
    assert other["found"]["best"] == "rain is wet"
    spaces = asyncio.run(engine.memory(tenant="acme.org").aspaces())
    assert sorted(spaces) == [("agents", "learns"), ("shared",)]
    # Numbers and the like have no text, and cost no vector.
    assert "n" not in {text[:1] for text in ollama.embedded}


def test_given_the_memory_of_a_process_that_ended_then_the_next_one_searches_it(
    open_engine: Callable[..., Engine], project: dict[str, Any]
) -> None:
    with open_engine(settings=project, worker=False) as first:
        first.memory().shared.put("a", "the moon is round")
        first.memory().shared.put("b", {"text": "grass is green", "kind": "plant"})
    with open_engine(settings=project, worker=False) as second:
        shared = second.memory().shared
        assert [one.key for one in shared.search("round moon", limit=1)] == ["a"]
        assert [one.key for one in shared.search("moon", filter={"kind": "plant"})] == ["b"]
        shared.put("a", {"no": "text"})
        assert [one.key for one in shared.search("round moon")] == ["b"]
        shared.delete("b")
        assert shared.search("grass") == []
        assert [one.value for one in shared.search()] == [{"no": "text"}]


def test_given_a_graph_of_python_then_its_runtime_has_the_same_store(
    open_engine: Callable[..., Engine], project: dict[str, Any]
) -> None:
    class State(TypedDict):
        found: str

    async def write(state: State, runtime: Runtime) -> State:
        assert runtime.store is not None
        await runtime.store.aput(("mine",), "k", {"text": "a walk in the park"})
        return state

    def read(state: State, runtime: Runtime) -> State:
        assert runtime.store is not None
        item = runtime.store.get(("mine",), "k")
        (near,) = runtime.store.search(("mine",), query="park")
        assert item is not None
        return {"found": f"{item.value['text']}, {near.key}"}

    graph = StateGraph(State)
    graph.add_node("write", write)
    graph.add_node("read", read)
    graph.add_edge(START, "write")
    graph.add_edge("write", "read")
    graph.add_edge("read", END)
    engine = open_engine(settings=project)
    job = engine.submit(graph, {"found": ""})
    assert job.result(DEADLINE) == {"found": "a walk in the park, k"}


def test_given_a_folder_that_changed_then_only_the_change_is_embedded(
    open_engine: Callable[..., Engine],
    project: dict[str, Any],
    ollama: ScriptedOllama,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "pages"
    (folder / "deep").mkdir(parents=True)
    (folder / "tea.md").write_text("# Tea\n\nTea is made from leaves.\n\n# Milk\n\nFrom cows.\n")
    (folder / "deep/bees.txt").write_text("Bees make honey.")
    (folder / "copy.txt").write_text("Bees make honey.")
    (folder / ".hidden.md").write_text("secret")
    (folder / "code.py").write_text("secret")
    (tmp_path / "outside.md").write_text("secret")
    (folder / "link.md").symlink_to(tmp_path / "outside.md")
    (folder / "bad.md").write_bytes(b"\xff\xfe")
    engine = open_engine(settings=project, worker=False)
    memory = engine.memory().documents("pages")
    first = asyncio.run(ingest(folder, memory, passage=40))
    assert (first.files, first.unchanged, first.removed) == (3, 0, 0)
    assert list(first.unread) == ["bad.md"]
    assert ollama.embedded.count("Bees make honey.") == 1
    (best, *_) = memory.search("do bees make honey", limit=1)
    assert best.text == "Bees make honey."
    assert best.value["source"] in ("deep/bees.txt", "copy.txt")
    texts = {one.text for one in asyncio.run(memory.aall())}
    assert "secret" not in texts
    assert any(text.startswith("# Milk") for text in texts)

    before = len(ollama.embedded)
    again = asyncio.run(ingest(folder, memory, passage=40))
    assert (again.added, again.unchanged, again.removed) == (0, first.added, 0)
    assert len(ollama.embedded) == before
    (folder / "tea.md").unlink()
    (folder / "new.txt").write_text("Rain is wet.")
    (folder / "third.txt").write_text("Bees make honey.")
    changed = asyncio.run(ingest(folder, memory, passage=40))
    assert (changed.added, changed.unchanged) == (2, 2)
    assert changed.removed == first.added - 2
    assert ollama.embedded[before:] == ["Rain is wet."]


def test_given_many_processes_that_begin_a_memory_then_each_can_write(
    open_engine: Callable[..., Engine], project: dict[str, Any]
) -> None:
    engines = [open_engine(settings=project, worker=False) for _ in range(3)]

    async def write() -> None:
        writes = (
            engine.memory().shared.aput(str(number), f"word{number}")
            for number, engine in enumerate(engines)
        )
        await asyncio.gather(*writes)

    asyncio.run(write())
    assert len(engines[0].memory().shared.search()) == 3


def test_given_another_model_than_the_memory_began_with_then_it_is_refused(
    open_engine: Callable[..., Engine], project: dict[str, Any]
) -> None:
    with open_engine(settings=project, worker=False) as first:
        first.memory().shared.put("a", "the moon is round")
    changed = {**project, "memory": MemorySettings(model="ollama:another")}
    with open_engine(settings=changed, worker=False) as second:
        assert second.memory().shared.get("a") == {"text": "the moon is round"}
        with pytest.raises(MemoryUnavailable, match=r"ollama:nomic-embed-text.*ollama:another"):
            second.memory().shared.search("moon")


def test_given_nobody_who_makes_vectors_then_the_job_fails_and_says_so(
    open_engine: Callable[..., Engine], project: dict[str, Any]
) -> None:
    engine = open_engine(settings={**project, "ollama_host": "127.0.0.1:9"})
    job = engine.submit("learn", {"fact": "x", "question": "y"})
    with pytest.raises(JobFailed, match="nomic-embed-text"):
        job.result(DEADLINE)
    engine.memory().shared.put("k", {"n": 1})
    assert engine.memory().shared.get("k") == {"n": 1}
