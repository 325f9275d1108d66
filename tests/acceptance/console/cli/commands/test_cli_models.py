"""`ucop models`: which model answers to which name, and whether it really does."""

from __future__ import annotations

import socket

from tests.support.command import Ucop
from tests.support.ollama import ScriptedOllama, status

CHAIN = '[models]\nsmart = ["ollama:big", "ollama:small"]\ndefault = "ollama:small"\n'


def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_every_link_of_every_chain_is_asked_for(ucop: Ucop) -> None:
    ucop.write("ucop.toml", CHAIN)
    with ScriptedOllama(models=["small:latest"]) as ollama:
        done = ucop("models", "check", "--json", OLLAMA_HOST=ollama.url)
        assert done.code == 1
        found = {one["name"]: one for one in done.json}
        assert set(found) == {"ollama:big", "ollama:small"}
        assert (found["ollama:small"]["ok"], found["ollama:small"]["called"]) == (True, False)
        assert not found["ollama:big"]["ok"]
        assert "ollama pull big" in found["ollama:big"]["note"]
        assert ollama.calls == 0

        one = ucop("models", "check", "default", "--call", OLLAMA_HOST=ollama.url)
        assert one.code == 0
        assert one.out.split("\t")[:2] == ["ollama:small", "ok"]
        assert ollama.calls == 1
        assert ollama.requests[0]["options"]["num_predict"] < 20


def test_a_model_that_is_there_and_does_not_answer_is_down(ucop: Ucop) -> None:
    ucop.write("ucop.toml", CHAIN)
    with ScriptedOllama([status(500, "broken")], models=["small:latest"]) as ollama:
        assert ucop("models", "check", "default", OLLAMA_HOST=ollama.url).code == 0
        called = ucop("models", "check", "default", "--call", OLLAMA_HOST=ollama.url)
        assert called.code == 1
        assert "HTTP 500: broken" in called.out
        assert ollama.calls == 1


def test_a_job_tells_paid_calls_from_kept_answers(ucop: Ucop) -> None:
    ucop.write("ucop.toml", 'workflows = ["flow.yaml"]\n')
    ucop.write(
        "flow.yaml",
        "name: flow\nagents:\n  asker: {prompt: Well?, cache: 1h}\n"
        "nodes:\n  one: {agent: asker, writes: a}\n",
    )
    with ScriptedOllama() as ollama:
        shown = []
        for _ in range(2):
            job = ucop("run", "flow", "--json", OLLAMA_HOST=ollama.url).json
            shown.append(ucop("jobs", "show", job["id"]).out)
        assert ollama.calls == 1
    assert "1 model call, " in shown[0]
    assert "0 model calls (1 more from the cache)" in shown[1]


def test_nobody_and_nothing_known_are_told(ucop: Ucop) -> None:
    done = ucop("models", "check", OLLAMA_HOST=nobody())
    assert done.code == 1
    assert "no Ollama answers" in done.out
    unknown = ucop("models", "check", "smrt")
    assert unknown.code == 2
    assert "no model alias 'smrt'" in unknown.err
    missing = ucop("models", "check", "openai:gpt", OPENAI_API_KEY="")
    assert missing.code == 1
    assert "set OPENAI_API_KEY" in missing.out
