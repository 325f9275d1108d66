"""Tools of MCP servers: real server processes, on their streams and over HTTP."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.mcp import SERVER
from tests.support.ollama import ScriptedOllama, text, tool_call
from tests.support.waiting import until
from ucop.agents import AgentContext, AgentSpec, Models, Registry, ToolUnavailable, call
from ucop.agents.spec import mcp as mcp_module
from ucop.agents.spec.agent import spec_agent
from ucop.agents.spec.mcp_server import McpServer
from ucop.engine import Settings
from ucop.engine.errors import InvalidSettings


@pytest.fixture
def ollama() -> Iterator[ScriptedOllama]:
    with ScriptedOllama() as one:
        yield one


@pytest.fixture
async def context(ollama: ScriptedOllama, tmp_path: Path) -> AsyncIterator[AgentContext]:
    models = Models(ollama_host=ollama.url, embedded=False)
    yield AgentContext(job_id="job-1", node="n", key="job-1/t", models=models, folder=tmp_path)
    await models.aclose()


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> McpServer:
    (tmp_path / "notes.py").write_text(SERVER)
    monkeypatch.setenv("A_WORD", "noted:")
    env = {"NOTES_WORD": "${A_WORD}", "NOTES": str(tmp_path)}
    return McpServer(command=sys.executable, args=("notes.py", "stdio"), env=env)


def asker(server: McpServer, *tools: str) -> Registry:
    spec = AgentSpec(name="asker", prompt="x", tools=list(tools))
    return Registry.of(spec_agent(spec, "test"), servers={"notes": server})


async def test_an_agent_calls_the_tools_of_a_server_that_runs_for_its_call_only(
    notes: McpServer, context: AgentContext, ollama: ScriptedOllama, tmp_path: Path
) -> None:
    ollama._replies = (tool_call("remember", {"word": "tea"}), tool_call("fail", {}), text("ok"))
    assert await call(asker(notes, "mcp:notes").get("asker"), {}, context=context) == "ok"
    offered = [tool["function"]["name"] for tool in ollama.requests[0]["tools"]]
    assert offered == ["remember", "fail"]
    told = [request["messages"][-1]["content"] for request in ollama.requests[1:]]
    assert told[0].strip() == "noted: tea"
    assert "it is broken" in told[1]
    (pid,) = (int(file.stem) for file in tmp_path.glob("*.pid"))
    until(lambda: not Path(f"/proc/{pid}").exists(), "the server's process ends")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the server over HTTP, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "notes.py").write_text(SERVER)
    env = {**os.environ, "NOTES": str(folder), "NOTES_WORD": "said:", "NOTES_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "notes.py", "streamable-http"], cwd=folder, env=env)
    try:
        until(lambda: answers(port), "the server listens")
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_a_server_may_have_an_address(
    context: AgentContext, ollama: ScriptedOllama, tmp_path: Path
) -> None:
    ollama._replies = (tool_call("remember", {"word": "tea"}), text("ok"))
    with served(tmp_path) as url:
        registry = asker(McpServer(url=url), "mcp:notes/remember")
        assert await call(registry.get("asker"), {}, context=context) == "ok"
    assert ollama.requests[1]["messages"][-1]["content"].strip() == "said: tea"


async def test_one_tool_of_a_server_may_be_named(
    notes: McpServer, context: AgentContext, ollama: ScriptedOllama
) -> None:
    ollama._replies = (text("ok"),)
    await call(asker(notes, "mcp:notes/fail").get("asker"), {}, context=context)
    assert [tool["function"]["name"] for tool in ollama.requests[0]["tools"]] == ["fail"]
    with pytest.raises(ToolUnavailable, match="no tool 'forget'; it has fail, remember"):
        await call(asker(notes, "mcp:notes/forget").get("asker"), {}, context=context)


async def test_a_server_that_does_not_answer_is_named_with_the_reason(
    context: AgentContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusal(server: McpServer) -> str:
        with pytest.raises(ToolUnavailable) as caught:
            await call(asker(server, "mcp:notes").get("asker"), {}, context=context)
        return str(caught.value)

    gone = await refusal(McpServer(command="no-such-program"))
    assert "MCP server 'notes' (`no-such-program`) does not answer: FileNotFoundError" in gone
    ends = await refusal(McpServer(command=sys.executable, args=("-c", "pass")))
    assert "does not answer: " in ends
    silent = ("-c", "import time; time.sleep(60)")
    slow = await refusal(McpServer(command=sys.executable, args=silent, timeout=0.5))
    assert "nothing came within 0.5 s" in slow
    nobody = await refusal(McpServer(url="http://127.0.0.1:9/mcp"))
    assert "at http://127.0.0.1:9/mcp" in nobody
    lacks = await refusal(McpServer(command="x", env={"TOKEN": "${NOT_SET_ANYWHERE}"}))
    assert "environment variable NOT_SET_ANYWHERE" in lacks
    monkeypatch.setattr(mcp_module, "EXTRA", "no_such_adapters")
    extra = await refusal(McpServer(command="x"))
    assert "pip install 'ucop[mcp]'" in extra


def test_a_project_declares_servers_in_its_settings(tmp_path: Path) -> None:
    file = tmp_path / "ucop.toml"
    file.write_text('[mcp.files]\ncommand = "npx"\nargs = ["-y", "server"]\n')
    assert Settings.load(tmp_path).mcp["files"].args == ("-y", "server")
    file.write_text('[mcp.files]\ncommand = "npx"\nurl = "http://x"\nenv = {T = "secret"}\n')
    with pytest.raises(InvalidSettings, match="give either `command`") as caught:
        Settings.load(tmp_path)
    assert "secret" not in str(caught.value)
