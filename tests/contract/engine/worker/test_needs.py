"""A job that needs Python of its project waits for a worker that has it, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ucop.engine import Engine

DEADLINE = 60.0

TOOLS = """
from ucop.agents import agent, merge

@agent
def same(value: int) -> int:
    return value

@merge
def largest_first(old, new):
    return sorted([*(old or []), new], reverse=True)
"""
MERGED = """
name: merged
state: {all: {type: array, items: integer, merge: {custom: largest_first}}}
nodes:
  a: {agent: counter, with: {text: "one"}, writes: all}
  b: {agent: counter, with: {text: "one two"}, writes: all}
edges:
  - START -> [a, b] -> END
output: ${all}
"""
PLAIN = "name: plain\nnodes: {a: {agent: counter, with: {text: one}, writes: n}}\noutput: ${n}\n"
COUNTER = "\n@agent\ndef counter(text: str) -> int:\n    return len(text.split())\n"


def test_given_a_worker_without_the_merge_then_the_job_waits_for_one_that_has_it(
    open_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    for name, text in {"merged.yaml": MERGED, "plain.yaml": PLAIN}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "needs_agents.py").write_text("from ucop.agents import agent\n" + COUNTER)
    (tmp_path / "needs_tools.py").write_text(TOOLS)
    full = {"workflows": ["*.yaml"], "agents": ["needs_agents.py", "needs_tools.py"]}
    less = {"workflows": ["plain.yaml"], "agents": ["needs_agents.py"]}
    sender = open_engine(settings=full, worker=False)
    job, other = sender.submit("merged"), sender.submit("plain")
    with open_engine(settings=less) as without:
        assert without.job(other.id).result(DEADLINE) == 1
        assert without.job(job.id).status == "pending"
    with open_engine(settings=full) as complete:
        assert complete.job(job.id).result(DEADLINE) == [2, 1]
