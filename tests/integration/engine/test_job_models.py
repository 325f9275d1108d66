"""Models of a job: chains of them, limits of their providers, and what of it the job tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.ollama import Reply, ScriptedOllama, status, text, tool_call
from ucop.engine import Engine, JobStatus

DEADLINE = 60.0

FLOW = """\
name: flow
agents:
  asker: {input: {words: string}, prompt: "${words}", model: smart}
nodes:
  one: {agent: asker, with: {words: first}, writes: a}
  two: {agent: asker, with: {words: "${a}"}, writes: b}
  three: {agent: asker, with: {words: "${b}"}, writes: c}
edges: [START -> one -> two -> three -> END]
output: {c: "${c}"}
"""

HELPER = """\
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from ucop.agents import AgentContext, agent


@agent
async def helper(words: str, context: AgentContext) -> str:
    \"\"\"Answer with a tool that asks a model too.\"\"\"

    @tool
    async def look_up(words: str) -> str:
        \"\"\"Look something up.\"\"\"
        return (await context.models.ask("smart", [HumanMessage("inside")])).text

    worker = create_agent(await context.models.chat("smart"), [look_up])
    state = await worker.ainvoke({"messages": [HumanMessage(words)]})
    return state["messages"][-1].text
"""


def chain(**more: Any) -> dict[str, Any]:
    """Settings with an alias that stands for two models, without retries."""
    smart = ("ollama:big", "ollama:small")
    return {"models": {"smart": smart}, "providers": {"ollama": {"retries": 0, **more}}}


def test_a_fallback_in_the_middle_of_a_job_stands_at_its_step(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    """The first model answers once, is in trouble, and answers again."""
    replies = {"big": iter([text("big 1"), status(503), text("big 2")])}

    def by_model(request: dict[str, Any]) -> Reply:
        return next(replies[request["model"]]) if request["model"] in replies else text("small")

    (tmp_path / "flow.yaml").write_text(FLOW)
    with ScriptedOllama(by_model, models=["big:latest", "small:latest"]) as ollama:
        engine = open_engine(ollama_host=ollama.url, **chain())
        job = engine.submit(tmp_path / "flow.yaml")
        assert job.result(DEADLINE) == {"c": "big 2"}
        assert ollama.calls == 4
    assert [(step.node, step.models, step.model_calls) for step in job.steps()] == [
        ("one", ("ollama:big",), 1),
        ("two", ("ollama:big", "ollama:small"), 2),
        ("three", ("ollama:big",), 1),
    ]
    (told,) = [event.data for event in job.events() if event.type == "model.fallback"]
    assert (told["node"], told["asked"], told["failed"], told["name"]) == (
        "two",
        "smart",
        "ollama:big",
        "ollama:small",
    )
    assert "HTTP 503" in told["reason"]


def test_calls_of_an_agents_tools_belong_to_its_step(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    def scripted(request: dict[str, Any]) -> Reply:
        said = request["messages"][-1]
        if said["role"] == "tool":
            return text("Green.", tokens=(30, 2))
        if said["content"] == "inside":
            return text("deep", tokens=(5, 1))
        return tool_call("look_up", {"words": "tea"}, tokens=(20, 4))

    (tmp_path / "agents.py").write_text(HELPER)
    (tmp_path / "flow.yaml").write_text(
        "name: flow\nnodes:\n  one: {agent: helper, with: {words: tea}, writes: a}\n"
        'output: {a: "${a}"}\n'
    )
    with ScriptedOllama(scripted, models=["big:latest"]) as ollama:
        engine = open_engine(ollama_host=ollama.url, agents=("agents.py",), **chain())
        job = engine.submit(tmp_path / "flow.yaml")
        assert job.result(DEADLINE) == {"a": "Green."}
        (step,) = job.steps()
        assert (step.model_calls, step.tokens_in, step.tokens_out) == (3, 55, 7)
        assert (ollama.calls, ollama.tokens_in, ollama.tokens_out) == (3, 55, 7)
    assert step.seconds_generating > 0
    assert step.models == ("ollama:big",)


def test_a_budget_holds_for_the_calls_of_tools_and_cached_answers_are_free(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW.replace("model: smart", "model: smart, cache: 1h"))
    with ScriptedOllama([text("a"), text("b"), text("c")], models=["big:latest"]) as ollama:
        engine = open_engine(ollama_host=ollama.url, **chain())
        job = engine.submit(tmp_path / "flow.yaml", budget={"model_calls": 2})
        assert job.wait(DEADLINE) is JobStatus.PAUSED
        assert ollama.calls == 2
        job.resume(budget={"model_calls": 3})
        assert job.result(DEADLINE) == {"c": "c"}
        assert ollama.calls == 3
        again = engine.submit(tmp_path / "flow.yaml", budget={"model_calls": 1})
        assert again.result(DEADLINE) == {"c": "c"}
        assert ollama.calls == 3
    assert again.get().usage.cached_calls == 3


def test_what_calls_waited_for_is_told_apart_from_their_answering(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(
        "name: flow\nagents:\n  asker: {input: {words: string}, prompt: '${words}'}\n"
        "nodes:\n  all: {agent: asker, each: '${[1, 2, 3, 4]}', as: n, "
        "with: {words: '${string(n)}'}, writes: a}\n"
    )
    with ScriptedOllama(lambda request: text("ok", delay=0.1)) as ollama:
        engine = open_engine(
            ollama_host=ollama.url, providers={"ollama": {"concurrency": 1}}, embedded=False
        )
        job = engine.submit(tmp_path / "flow.yaml")
        job.result(DEADLINE)
        assert ollama.most_at_once == 1
    usage = job.get().usage
    assert usage.seconds_generating >= 0.4
    assert usage.seconds_waited >= 0.1


@pytest.mark.parametrize("words", ["${a}", "{a}", "{{a}}", "$a %s %(a)s", "{% raw %}"])
def test_text_from_the_state_is_never_read_as_a_template(
    open_engine: Callable[..., Engine], tmp_path: Path, words: str
) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)
    with ScriptedOllama([text(words), text("b"), text("c")], models=["big:latest"]) as ollama:
        engine = open_engine(ollama_host=ollama.url, **chain())
        engine.submit(tmp_path / "flow.yaml").result(DEADLINE)
        assert ollama.requests[1]["messages"][-1]["content"] == words
