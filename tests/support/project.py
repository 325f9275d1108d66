"""A project of quick Python agents and graphs, as files."""

from __future__ import annotations

SETTINGS = """\
workflows = ["workflows/*.yaml", "flows.py:adder", "flows.py:asking"]
agents = ["agents.py"]
sweep = 0.2
grace = 5
"""

AGENTS = '''\
import asyncio
from pathlib import Path

from ucop.agents import AgentContext, agent


def witness(context: AgentContext, what: str) -> None:
    with open(context.folder / "ran.txt", "a") as file:
        file.write(what + "\\n")


@agent
def shout(text: str, context: AgentContext) -> str:
    """Say it louder."""
    witness(context, "shout")
    return text.upper()


@agent
async def until_file(name: str, context: AgentContext) -> str:
    """Wait until a file of the project's folder is there."""
    witness(context, f"wait for {name}")
    context.progress(f"looks for {name}")
    while not (context.folder / name).exists():
        await asyncio.sleep(0.02)
    return (context.folder / name).read_text()


@agent
def need_file(name: str, context: AgentContext) -> str:
    """Fail until a file of the project's folder is there."""
    witness(context, f"need {name}")
    if not (context.folder / name).exists():
        raise FileNotFoundError(f"no {name}, so no answer")
    return (context.folder / name).read_text()
'''

FLOWS = """\
from typing import Annotated
from operator import add

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict):
    numbers: Annotated[list[int], add]
    total: int


def sum_up(state):
    return {"total": sum(state["numbers"])}


adder = StateGraph(State)
adder.add_node("sum_up", sum_up)
adder.add_edge(START, "sum_up")
adder.add_edge("sum_up", END)


def ask(state):
    return {"total": interrupt("how many?")}


asking = StateGraph(State)
asking.add_node("ask", ask)
asking.add_edge(START, "ask")
asking.add_edge("ask", END)
"""

SAY = """\
name: say
description: Say something loudly.
input:
  text: {type: string, minLength: 2}
  times: {type: integer, default: 1}
nodes:
  shout: {agent: shout, with: {text: "${text}"}, writes: said}
output: "${said}"
"""

GATED = """\
name: gated
input: {text: string}
nodes:
  shout: {agent: shout, with: {text: "${text}"}, writes: said}
  gate: {agent: until_file, with: {name: go.txt}, writes: word}
  last: {agent: shout, with: {text: "${word}"}, writes: answer}
edges:
  - START -> shout -> gate -> last -> END
output: {said: "${said}", answer: "${answer}"}
"""

NEEDY = """\
name: needy
input: {text: string}
nodes:
  shout: {agent: shout, with: {text: "${text}"}}
  need: {agent: need_file, with: {name: cure.txt}, writes: word}
  last: {agent: shout, with: {text: "${word}"}, writes: answer}
edges:
  - START -> shout -> need -> last -> END
output: "${answer}"
"""

FILES = {
    "ucop.toml": SETTINGS,
    "agents.py": AGENTS,
    "flows.py": FLOWS,
    "workflows/say.yaml": SAY,
    "workflows/gated.yaml": GATED,
    "workflows/needy.yaml": NEEDY,
}
