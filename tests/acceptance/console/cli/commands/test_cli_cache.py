"""Cached answers, as the command line tells of them."""

from __future__ import annotations

from tests.support.command import Ucop
from tests.support.ollama import ScriptedOllama, text

FLOW = """
name: glossary
nodes:
  explain: {agent: teacher, each: "${['tea', 'time']}", with: {term: "${item}"}, cache: 1h}
agents:
  teacher: {prompt: "Explain ${term}", input: {term: string}}
"""


def test_steps_tell_what_the_cache_answered(ucop: Ucop) -> None:
    ucop.write("glossary.yaml", FLOW)
    assert "cache 3600 s" in ucop("run", "glossary.yaml", "--dry-run").out
    with ScriptedOllama([text("It is known.")]) as ollama:
        first = ucop("run", "glossary.yaml", "--json", OLLAMA_HOST=ollama.url).json
        assert ollama.calls == 2
    second = ucop("run", "glossary.yaml", "--json").json  # no model is there to be asked
    assert second["status"] == "completed"
    assert [job["steps"][0]["cached"] for job in (first, second)] == [0, 2]
    titles, row = ucop("jobs", "show", second["id"]).rows[-2:]
    assert dict(zip(titles, row, strict=True))["cached"] == "2"
    assert "cached=2" in ucop("jobs", "events", second["id"]).out
