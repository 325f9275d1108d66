"""An agent with tools: what its model may call, what it is told, and when it has to stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from langchain.tools import ToolRuntime
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool

from tests.support import ollama as scripted
from tests.support.ollama import ScriptedOllama, tool_call
from ucop.agents import (
    AgentContext,
    AgentOutputError,
    AgentSpec,
    InvalidDefinition,
    Models,
    ModelTimeout,
    Registry,
    ToolUnavailable,
    agent,
    call,
    load_registry,
    run_alone,
)
from ucop.agents.providers.retry import Retry
from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.mcp_server import McpServer
from ucop.agents.text.source import read_yaml
from ucop.graphs.workflows.catalog import Catalog
from ucop.graphs.workflows.gate import doubles_of
from ucop.graphs.workflows.stored import restore
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

KEYS: list[str] = []


@tool
def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


@tool
def pay(amount: int, runtime: ToolRuntime[AgentContext]) -> str:
    """Pay an amount."""
    KEYS.append(runtime.context.key)
    if amount > 100:
        raise ValueError("more than a hundred")
    return f"paid {amount}"


@agent
async def adder(a: int, b: int, context: AgentContext) -> dict[str, int]:
    """Add two numbers."""
    KEYS.append(context.key)
    return {"sum": a + b}


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    KEYS.clear()
    with ScriptedOllama() as one:
        yield one


@pytest.fixture
async def context(ollama: ScriptedOllama, tmp_path: Path) -> AsyncIterator[AgentContext]:
    models = Models(ollama_host=ollama.url, embedded=False, retry=Retry(tries=2, backoff=0.01))
    yield AgentContext(job_id="job-1", node="write", key="job-1/t1", models=models, folder=tmp_path)
    await models.aclose()


async def ask(
    ollama: ScriptedOllama, context: AgentContext, *replies: scripted.Reply, **spec: Any
) -> Any:
    ollama._replies = replies
    told = {"name": "solver", "prompt": "Solve it.", "tools": ["count_words", "pay", "adder"]}
    made = spec_agent(AgentSpec.model_validate({**told, **spec}), "test")
    registry = Registry.of(made, count_words, pay, adder)
    return await call(registry.get("solver"), {}, context=context)


def last(ollama: ScriptedOllama, number: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = ollama.requests[number]["messages"][-1]
    return found


async def test_the_model_calls_a_tool_and_answers_in_words(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    call_it = tool_call("count_words", {"text": "one two"})
    said = await ask(
        ollama,
        context,
        call_it,
        scripted.text("It has two."),
        system="Be exact.",
        options={"seed": 4},
    )
    assert said == "It has two."
    assert ollama.calls == 2
    first = ollama.requests[0]
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert [t["function"]["name"] for t in first["tools"]] == ["count_words", "pay", "adder"]
    assert first["options"]["seed"] == 4
    parameters = first["tools"][1]["function"]["parameters"]
    assert list(parameters["properties"]) == ["amount"]
    assert (last(ollama)["role"], last(ollama)["content"]) == ("tool", "2")


async def test_each_call_of_a_tool_has_a_key_of_its_own_below_the_agents(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    both = (tool_call("pay", {"amount": 1}), tool_call("adder", {"a": 2, "b": 3}))
    assert await ask(ollama, context, *both, scripted.text("done")) == "done"
    assert last(ollama)["content"] == '{"sum": 5}'
    assert len(set(KEYS)) == 2
    assert all(key.startswith("job-1/t1/") for key in KEYS)


async def test_words_are_asked_for_again_in_the_form_of_the_schema(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    replies = (
        tool_call("count_words", {"text": "one"}),
        scripted.text("One word."),
        scripted.answer({"words": 0}),
        scripted.answer({"words": 1}),
    )
    output = {"words": {"type": "integer", "minimum": 1}}
    assert await ask(ollama, context, *replies, output=output) == {"words": 1}
    assert [bool(r.get("tools")) for r in ollama.requests] == [True, True, False, False]
    assert [r.get("format") is None for r in ollama.requests] == [True, True, False, False]
    assert "JSON Schema" in last(ollama, 2)["content"]
    assert "must be at least 1" in last(ollama, 3)["content"]


async def test_words_that_fit_the_schema_are_not_asked_for_again(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    assert await ask(ollama, context, scripted.answer({"n": 1}), output={"n": "integer"}) == {
        "n": 1
    }
    assert ollama.calls == 1


@pytest.mark.parametrize("repair", ["feedback", "reseed"])
async def test_an_answer_that_never_fits_ends_after_the_repairs(
    ollama: ScriptedOllama, context: AgentContext, repair: str
) -> None:
    bad = scripted.answer({"n": "x"})
    with pytest.raises(AgentOutputError, match=r"agent 'solver' in node 'write' .* 2 answers"):
        await ask(ollama, context, bad, output={"n": "integer"}, repairs=1, repair=repair)
    assert ollama.calls == 3
    seeds = [r["options"].get("seed") for r in ollama.requests]
    assert seeds == ([None, None, 1] if repair == "reseed" else [None, None, None])


async def test_a_tool_that_raises_is_told_to_the_model(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    replies = (
        tool_call("pay", {"amount": 1000}),
        tool_call("pay", {"amount": "much"}),
        tool_call("adder", {"a": 1}),
        tool_call("nothing", {}),
        scripted.text("I give up."),
    )
    assert await ask(ollama, context, *replies) == "I give up."
    told = [last(ollama, number)["content"] for number in (1, 2, 3, 4)]
    assert told[0] == "ValueError: more than a hundred"
    assert "amount" in told[1]
    assert "'b' is missing" in told[2]
    assert "nothing is not a valid tool" in told[3]


async def test_more_answers_than_the_limit_are_an_error(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    with pytest.raises(AgentOutputError, match="no answer within 3 calls of its model"):
        await ask(ollama, context, tool_call("adder", {"a": 1, "b": 1}), limits={"model_calls": 3})
    assert ollama.calls == 3


async def test_more_calls_of_tools_than_the_limit_are_refused_to_the_model(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    again = tool_call("pay", {"amount": 1})
    replies = (again, again, again, scripted.text("stopped"))
    assert await ask(ollama, context, *replies, limits={"tool_calls": 1}) == "stopped"
    assert len(KEYS) == 1
    assert "limit" in last(ollama)["content"].lower()


async def test_a_model_that_is_silent_or_fails_is_treated_as_anywhere(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    replies = (tool_call("adder", {"a": 1, "b": 1}), scripted.status(500), scripted.text("there"))
    assert await ask(ollama, context, *replies) == "there"
    assert ollama.calls == 3
    context.models._idle_timeout = 0.2
    await context.models.aclose(connections_only=True)
    with pytest.raises(ModelTimeout):
        await ask(ollama, context, scripted.hang(after=1))


async def test_cancelling_reaches_the_model_and_the_tool(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    task = asyncio.ensure_future(ask(ollama, context, scripted.hang(after=1)))
    await asyncio.to_thread(ollama.until, lambda o: o.calls == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ollama.until, lambda o: o.hang_ups == 1)
    began, ended = asyncio.Event(), asyncio.Event()

    @agent
    async def waits() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    spec = AgentSpec(name="solver", prompt="x", tools=["waits"])
    ollama._replies = (tool_call("waits", {}),)
    found = Registry.of(spec_agent(spec, "test"), waits).get("solver")
    task = asyncio.ensure_future(call(found, {}, context=context))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_every_call_inside_is_counted_also_of_an_agent_that_is_a_tool(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    inner = spec_agent(AgentSpec(name="inner", prompt="Think."), "test")
    outer = spec_agent(AgentSpec(name="outer", prompt="Do.", tools=["inner"]), "test")
    ollama._replies = (
        tool_call("inner", {}, tokens=(5, 1)),
        scripted.text("a thought", tokens=(7, 2)),
        scripted.text("done", tokens=(11, 3)),
    )
    found = Registry.of(inner, outer).get("outer")
    ran = await run_alone(found, {}, models=context.models)
    assert ran.output == "done"
    assert (ran.usage.model_calls, ran.usage.tokens_in, ran.usage.tokens_out) == (3, 23, 6)


async def test_what_an_agent_inside_gives_up_on_fails_the_step(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    inner = spec_agent(AgentSpec(name="inner", prompt="x", output="integer", repairs=0), "test")
    outer = spec_agent(AgentSpec(name="outer", prompt="x", tools=["inner"]), "test")
    ollama._replies = (tool_call("inner", {}), scripted.text("no number"))
    with pytest.raises(AgentOutputError, match="agent 'inner'"):
        await call(Registry.of(inner, outer).get("outer"), {}, context=context)


async def test_in_production_a_placeholder_goes_back_to_the_model(
    ollama: ScriptedOllama, context: AgentContext
) -> None:
    from dataclasses import replace

    replies = (scripted.text("Dear [Your Name],"), scripted.text("Dear Ada,"))
    assert await ask(ollama, replace(context, production=True), *replies) == "Dear Ada,"
    assert ollama.calls == 2


# What the names mean


def test_a_project_brings_tools_and_names_them(tmp_path: Path) -> None:
    (tmp_path / "tools_of_this.py").write_text(
        "from langchain_core.tools import tool\n\n@tool\ndef lookup(word: str) -> str:\n"
        "    'Look a word up.'\n    return word\n"
    )
    (tmp_path / "a.yaml").write_text("name: asker\nprompt: x\ntools: [lookup]\n")
    registry = load_registry(tmp_path, ["tools_of_this.py", "a.yaml"], bundled=False)
    assert list(registry.tools) == ["lookup"]
    assert registry.tools["lookup"].origin == "tools_of_this.py:3"
    before = registry.get("asker").fingerprint
    assert [t.description for t in registry.get("asker").tools.values()] == ["Look a word up."]
    text = (tmp_path / "tools_of_this.py").read_text().replace("return word", "return 'x' + word")
    (tmp_path / "tools_other.py").write_text(text)
    other = load_registry(tmp_path, ["tools_other.py", "a.yaml"], bundled=False)
    assert other.get("asker").fingerprint != before


def test_names_that_mean_nothing_are_told_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "agents:\n  one: {prompt: x, tools: [two, addr]}\n  two: {prompt: x, tools: [one]}\n"
        "  three: {prompt: x, tools: ['mcp:files']}\n  adder: {prompt: x}\n"
    )
    with pytest.raises(InvalidDefinition) as caught:
        load_registry(tmp_path, ["a.yaml"], bundled=False)
    assert str(caught.value).splitlines() == [
        "a.yaml:3:3: agent 'two': its tools lead back to itself: one -> two -> one",
        "a.yaml:2:3: agent 'one': there is no tool or agent named 'addr'; did you mean 'adder'?",
        "a.yaml:4:3: agent 'three': the project has no MCP server 'files'; "
        "declare [mcp.files] in its settings",
    ]


def test_a_tool_and_an_agent_of_one_name_are_a_clash() -> None:
    other = spec_agent(AgentSpec(name="pay", prompt="x"), "pay.yaml")
    with pytest.raises(
        InvalidDefinition, match=r"a tool and an agent are named 'pay': in pay.yaml"
    ):
        Registry.of(other, pay)


@pytest.mark.parametrize("name", ["os:system", "mcp:", "mcp:a/b/c", "../x.py:f", "mcp:rm -rf"])
def test_a_spec_cannot_name_code_or_a_command(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.yaml").write_text(f"name: a\nprompt: x\ntools: [{json.dumps(name)}]\n")
    with pytest.raises(InvalidDefinition, match=r"a.yaml:3:9: tools: "):
        load_registry(tmp_path, ["a.yaml"])


async def test_an_agent_whose_tools_nobody_looked_up_says_so(context: AgentContext) -> None:
    lost = spec_agent(AgentSpec(name="lost", prompt="x", tools=["pay"]), "test")
    with pytest.raises(ToolUnavailable, match="tools pay were not looked up"):
        await call(lost, {}, context=context)


def test_doubles_are_found_among_tools_and_the_tools_of_tools() -> None:
    service = Mock()

    @tool
    def charge(amount: int) -> str:
        """Charge."""
        return str(service(amount))

    inner = spec_agent(AgentSpec(name="inner", prompt="x", tools=["charge"]), "test")
    outer = spec_agent(AgentSpec(name="outer", prompt="x", tools=["inner"]), "test")
    (double,) = doubles_of(Registry.of(inner, outer, charge).get("outer"))
    assert str(double).startswith("inner > charge > service is Mock of unittest.mock")
    assert (
        doubles_of(
            Registry.of(outer, spec_agent(AgentSpec(name="inner", prompt="x"), "t")).get("outer")
        )
        == []
    )


async def test_a_models_chat_refuses_to_block_the_loop(context: AgentContext) -> None:
    chat = context.model()
    with pytest.raises(RuntimeError, match="await the chat's `ainvoke`"):
        chat.invoke([HumanMessage("x")])


FLOW = """
name: flow
agents:
  outer: {prompt: x, tools: [inner, pay, adder, "mcp:files"]}
  inner: {prompt: y}
nodes: {solve: {agent: outer, writes: said}}
output: "${said}"
"""


def test_a_job_keeps_the_agents_that_are_tools_and_needs_what_only_the_project_has() -> None:
    servers = {"files": McpServer(command="files")}
    registry = Registry.of(pay, adder, servers=servers)
    workflow = workflow_of(read_yaml(FLOW, "flow.yaml"), registry)
    assert list(workflow.stored["agents"]) == ["outer", "inner"]
    assert workflow.needs == ("tool:pay", "mcp:files", "agent:adder")
    again = restore(workflow.stored, catalog=Catalog(None, (), registry), registry=registry)
    assert isinstance(again, YamlWorkflow)
    assert list(again.agents["outer"].tools) == ["inner", "pay", "adder", "mcp:files"]
    assert again.needs == workflow.needs


def test_tools_in_a_workflow_file_that_mean_nothing_are_told_with_their_place() -> None:
    with pytest.raises(InvalidDefinition) as caught:
        workflow_of(read_yaml(FLOW, "flow.yaml"), Registry.of(pay))
    assert str(caught.value).splitlines() == [
        "flow.yaml:4:3: agent 'outer': there is no tool or agent named 'adder'; "
        "mark a function with LangChain's @tool in a module that the setting `agents` names",
        "flow.yaml:4:3: agent 'outer': the project has no MCP server 'files'; "
        "declare [mcp.files] in its settings",
    ]
