"""`ucop agents run`: one agent alone, in the real command."""

from __future__ import annotations

import signal

from tests.support.command import Ucop
from tests.support.ollama import ScriptedOllama, answer, hang, status, text

ASKS = """\
name: asks
category: questions
capabilities: [asking]
prompt: "${words} ${times}"
input:
  words: {type: string, minLength: 2}
  times: {type: integer, default: 1}
output: {said: string}
repairs: 1
"""

PROJECT = """\
agents = ["agents.py", "*.yaml"]
"""


def project(ucop: Ucop) -> None:
    ucop.write("ucop.toml", PROJECT)
    ucop.write("asks.yaml", ASKS)


def test_an_agent_runs_alone_on_its_model_and_tells_what_it_used(ucop: Ucop) -> None:
    project(ucop)
    replies = [text("not JSON", tokens=(5, 2)), answer({"said": "yes"}, tokens=(7, 3))]
    with ScriptedOllama(replies) as ollama:
        done = ucop("agents", "run", "asks", "-i", "words=hello", OLLAMA_HOST=ollama.url)
        assert (done.code, done.out) == (0, "yes\n")
        assert f"model default: llama3.2 on the Ollama at {ollama.url}" in done.err
        assert "ollama:llama3.2, 2 model calls, 12 tokens in, 5 out" in done.err
        assert ollama.requests[0]["messages"][-1]["content"] == "hello 1"
        assert not (ucop.folder / ".ucop").exists()
        ucop.write("in.json", '{"words": "from a file", "times": 2}')
        given = ("--input-file", "in.json", "-i", "times=3", "--json")
        done = ucop("agents", "run", "asks", *given, OLLAMA_HOST=ollama.url)
    assert ollama.requests[-1]["messages"][-1]["content"] == "from a file 3"
    told = done.json
    assert told.pop("seconds") > 0
    assert told == {
        "agent": "asks",
        "output": {"said": "yes"},
        "models": ["ollama:llama3.2"],
        "model_calls": 1,
        "tokens_in": 7,
        "tokens_out": 3,
        "cost": None,
    }


def test_what_an_agent_cannot_take_is_told_before_any_model_is_asked(ucop: Ucop) -> None:
    project(ucop)
    with ScriptedOllama([answer({"said": "yes"})]) as ollama:
        done = ucop(
            "agents", "run", "asks", "-i", "words=h", "-i", "time=2", OLLAMA_HOST=ollama.url
        )
        assert (done.code, done.out, ollama.paths) == (2, "", [])
    assert "the input of agent 'asks' does not fit" in done.err
    assert "words" in done.err
    assert "time" in done.err
    assert ucop("agents", "run", "ask").code == 3
    assert ucop("agents", "run", "asks", "-i", "words").code == 2


def test_an_agent_that_fails_alone_says_why(ucop: Ucop) -> None:
    project(ucop)
    done = ucop("agents", "run", "need_file", "-i", "name=x.txt")
    assert (done.code, done.out) == (1, "")
    assert "agent 'need_file' raised FileNotFoundError: no x.txt, so no answer" in done.err
    with ScriptedOllama([status(400)]) as ollama:
        done = ucop("agents", "run", "asks", "-i", "words=hello", OLLAMA_HOST=ollama.url)
    assert done.code == 1
    assert "HTTP 400" in done.err


def test_ctrl_c_ends_an_agent_alone_and_its_call(ucop: Ucop) -> None:
    project(ucop)
    with ScriptedOllama([hang(after=1)]) as ollama:
        running = ucop.start("agents", "run", "asks", "-i", "words=hi", OLLAMA_HOST=ollama.url)
        assert ollama.until(lambda o: o.calls == 1, timeout=60)
        running.signal(signal.SIGINT)
        assert running.end().code == 130
        assert ollama.until(lambda o: o.hang_ups == 1)


def test_agents_are_listed_by_capability_and_category(ucop: Ucop) -> None:
    project(ucop)
    named = ucop("agents", "list", "--category", "questions", "--capability", "asking").rows
    assert [row[0] for row in named] == ["asks"]
    assert ucop("agents", "list", "--category", "nothing").rows == []


def test_production_mode_runs_no_agent_with_a_test_double_alone(ucop: Ucop) -> None:
    ucop.write("ucop.toml", 'mode = "production"\nagents = ["doubled.py"]\n')
    ucop.write(
        "doubled.py",
        "from unittest.mock import Mock\nfrom ucop.agents import agent\nservice = Mock()\n"
        "@agent\ndef pay() -> str: return str(service())\n",
    )
    done = ucop("agents", "run", "pay")
    assert done.code == 2
    assert "agent 'pay' uses a test double" in done.err


def test_an_agent_shows_the_tools_that_the_project_declares(ucop: Ucop) -> None:
    ucop.write("asker.yaml", "name: asker\nprompt: x\ntools: ['mcp:notes/remember', shout]\n")
    servers = '[mcp.notes]\ncommand = "notes-server"\nenv = {TOKEN = "secret"}\n'
    ucop.write("ucop.toml", f'agents = ["agents.py", "asker.yaml"]\n{servers}')
    shown = ucop("agents", "show", "asker").out
    assert "  mcp:notes/remember: remember of the MCP server 'notes' (notes-server)\n" in shown
    assert "  shout: Say it louder.\n" in shown
    assert "secret" not in shown
