"""Budgets on the command line: a job that is paused by one, and let go on."""

from __future__ import annotations

from tests.support.command import Ucop
from tests.support.ollama import ScriptedOllama, text

FRUGAL = """
name: frugal
limits: {model_calls: 1, deadline: 30m, cost: 1.5}
nodes:
  one: {agent: writer, with: {text: one}, writes: first}
  two: {agent: writer, with: {text: two}, writes: second}
edges: [START -> one -> two -> END]
output: "${first} ${second}"
agents:
  writer: {prompt: "${text}", input: {text: string}}
"""


def test_a_job_that_its_budget_paused_goes_on_with_more(ucop: Ucop) -> None:
    ucop.write("frugal.yaml", FRUGAL)
    with ScriptedOllama([text("tea"), text("time")]) as ollama:
        host = {"OLLAMA_HOST": ollama.url}
        paused = ucop("run", "frugal.yaml", "--json", **host)
        assert paused.code == 5
        assert "Error in" not in paused.err
        job = paused.json
        assert (job["status"], ollama.calls) == ("paused", 1)
        assert job["budget"] == {"deadline": 1800.0, "model_calls": 1, "cost": 1.5}
        assert f"ucop jobs resume {job['id']} --budget model_calls=" in paused.err
        shown = ucop("jobs", "show", job["id"]).out
        assert "budget    deadline 30 min 00 s, model calls 1, cost $1.5" in shown

        assert ucop("jobs", "resume", job["id"], **host).code == 5
        refused = ucop("jobs", "resume", job["id"], "--budget", "calls=2", **host)
        assert (refused.code, "model_calls" in refused.err) == (2, True)
        assert ucop("jobs", "resume", job["id"], "--budget", "tokens=none", **host).code == 2
        assert ollama.calls == 1

        more = ("--budget", "model_calls=2", "--budget", "deadline=2h")
        done = ucop("jobs", "resume", job["id"], *more, "--json", **host)
        assert (done.code, done.json["output"], ollama.calls) == (0, "tea time", 2)
        assert done.json["budget"] == {"deadline": 7200.0, "model_calls": 2, "cost": 1.5}


def test_a_budget_may_be_given_when_a_job_is_run(ucop: Ucop) -> None:
    ucop.write("frugal.yaml", FRUGAL)
    with ScriptedOllama([text("tea"), text("time")]) as ollama:
        failed = ucop("run", "frugal.yaml", "--budget", "steps=1", "--json", OLLAMA_HOST=ollama.url)
    assert failed.code == 1
    assert failed.json["error"]["type"] == "StepsUsedUp"
    assert ucop("run", "frugal.yaml", "--budget", "cost=0").code == 2


def test_a_dry_run_tells_the_limits(ucop: Ucop) -> None:
    ucop.write("frugal.yaml", FRUGAL)
    told = ucop("run", "frugal.yaml", "--dry-run").out
    assert "limits:\n  deadline 30 min 00 s\n  model calls 1\n  cost $1.5\n" in told
