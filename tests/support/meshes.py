"""Agents that ask each other, as a project's own Python, and meshes of them."""

from __future__ import annotations

AGENTS = '''\
import asyncio

from ucop.agents import AgentContext, agent


def witness(context: AgentContext, what: str) -> None:
    with open(context.folder / "ran.txt", "a") as file:
        file.write(f"{what}\\n")


def is_up(context: AgentContext, name: str) -> bool:
    return not (context.folder / f"{name}.down").exists()


@agent(capabilities=["write"], asks=["research", "check"])
def writer(topic: str, context: AgentContext) -> dict[str, str]:
    """Ask for notes and for a check, then write."""
    witness(context, f"writer {topic}")
    notes = context.ask("research", {"topic": topic})
    verdict = context.ask("check", {"text": notes})
    return {"text": f"{topic}: {notes}", "verdict": verdict}


@agent(capabilities=["research"])
def anna(topic: str, context: AgentContext) -> str:
    """Knows everything, unless she is down."""
    witness(context, f"anna {topic}")
    if not is_up(context, "anna"):
        raise ConnectionError("anna is down")
    return f"notes on {topic}"


@agent(capabilities=["research"])
async def bert(topic: str, context: AgentContext) -> str:
    """Knows the same."""
    witness(context, f"bert {topic}")
    if not is_up(context, "bert"):
        raise ConnectionError("bert is down")
    return f"notes on {topic}"


@agent(capabilities=["check"])
async def checker(text: str, context: AgentContext) -> str:
    """Waits until `go.txt` is there, where `wait.txt` is."""
    witness(context, f"checker {text}")
    while (context.folder / "wait.txt").exists() and not (context.folder / "go.txt").exists():
        await asyncio.sleep(0.02)
    return f"checked {text}"


@agent(capabilities=["chicken"])
def hen(n: int, context: AgentContext) -> int:
    return context.ask("egg", {"n": n + 1})


@agent(capabilities=["egg"])
def egg(n: int, context: AgentContext) -> int:
    return context.ask("chicken", {"n": n + 1})


@agent
def stray(context: AgentContext) -> str:
    return context.ask("miracles", {})


@agent(capabilities=["count"])
def counter(context: AgentContext) -> int:
    """Asks for one thing after another."""
    return sum(context.ask("tick", {"n": n}) for n in range(100))


@agent(capabilities=["tick"])
def clock(n: int) -> int:
    return 1
'''

NEWS = """\
kind: mesh
name: news
input: {topic: string}
mesh: {entry: writer}
"""

FILES = {
    "agents.py": AGENTS,
    "workflows/news.yaml": NEWS,
    "workflows/cycle.yaml": """\
kind: mesh
name: cycle
mesh: {entry: hen, agents: [hen, egg]}
with: {n: 1}
""",
    "workflows/missing.yaml": """\
kind: mesh
name: missing
mesh: {entry: stray, agents: [stray, clock]}
""",
    "workflows/many.yaml": """\
kind: mesh
name: many
mesh: {entry: counter, agents: [clock], max_hops: 5}
""",
    "workflows/page.yaml": """\
name: page
input: {topics: {type: array, items: string}}
nodes:
  write:
    mesh: {entry: {capability: write}}
    each: "${topics}"
    with: {topic: "${item}"}
    writes: pages
output: "${pages.map(p, p.answer.text)}"
""",
}
