"""The workflows that are run while workers die: what may run, and what must have run.

`maze` is a LangGraph graph: a loop around a fan-out by `Send`, parallel edges (in each branch a node
runs a graph of its own, in one by a blocking function in a thread) and a join. `quarry` is the same in
YAML: a loop around an `each` and a parallel branch, with a join. `swarm` is one wide `each`. Every visit has a label that
it tells the witness and leaves in the state, so that the state shows which visits it holds.
"""

from __future__ import annotations

import asyncio
import operator
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

from tests.chaos.witness import Witness
from ucop.agents.run.context import AgentContext
from ucop.agents.spec.function import agent, agent_of
from ucop.agents.spec.registry import Registry

NAP = "CHAOS_NAP"
"""Environment variable: the longest time in seconds that a visit takes."""

ROUNDS = 3
ITEMS = 4
MARK = "visit:"


def label(node: str, round: int, item: int | str | None = None) -> str:
    """The name of one visit; recognised wherever it lies in a state."""
    return f"{MARK}{node}.{round}" + ("" if item is None else f".{item}")


def labels_in(value: Any) -> Iterator[str]:
    """Every visit that a state, or a part of one, holds."""
    if isinstance(value, str):
        if value.startswith(MARK):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from labels_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from labels_in(item)


@cache
def _witness() -> Witness:
    return Witness()


def _nap() -> float:
    return random.uniform(0, float(os.environ.get(NAP, "0.05")))


async def visit(name: str, visited: str) -> str:
    """Be at a place for a while, and tell the witness."""
    _witness().tell("begin", name, visited)
    await asyncio.sleep(_nap())
    _witness().tell("end", name, visited)
    return visited


def visit_blocking(name: str, visited: str) -> str:
    _witness().tell("begin", name, visited)
    time.sleep(_nap())
    _witness().tell("end", name, visited)
    return visited


# ---------------------------------------------------------------- maze: a Python graph


class Maze(TypedDict):
    name: str
    round: int
    done: Annotated[list[str], operator.add]
    who: Annotated[list[str], operator.add]
    """Which process did it; an auditor in the database reads it."""


class Item(TypedDict):
    name: str
    round: int
    item: int


def _did(*labels: str) -> dict[str, Any]:
    return {"done": list(labels), "who": [f"@{os.getpid()}."]}


async def _plan(state: Maze) -> dict[str, Any]:
    return _did(await visit(state["name"], label("plan", state["round"])))


async def _item(state: Item) -> dict[str, Any]:
    return _did(await visit(state["name"], label("item", state["round"], state["item"])))


async def _near(state: Maze) -> dict[str, Any]:
    return {"done": [await visit(state["name"], label("near", state["round"]))], "who": []}


async def _far(state: Maze) -> dict[str, Any]:
    return {"done": [await visit(state["name"], label("far", state["round"]))], "who": []}


def _under(state: Maze) -> dict[str, Any]:
    return {"done": [visit_blocking(state["name"], label("under", state["round"]))], "who": []}


def _deep(state: Maze) -> dict[str, Any]:
    return {"done": [visit_blocking(state["name"], label("deep", state["round"]))], "who": []}


async def _gather(state: Maze) -> dict[str, Any]:
    visited = await visit(state["name"], label("gather", state["round"]))
    return {**_did(visited), "round": state["round"] + 1}


async def _last(state: Maze) -> dict[str, Any]:
    return _did(await visit(state["name"], label("last", state["round"])))


def _items(state: Maze) -> list[Send]:
    given = {"name": state["name"], "round": state["round"]}
    return [Send("item", {**given, "item": item}) for item in range(ITEMS)]


def _again(state: Maze) -> str:
    return "plan" if state["round"] < ROUNDS else "last"


def cave() -> Any:
    """A graph in a node: its two visits have checkpoints of their own."""
    graph = StateGraph(Maze)
    graph.add_node("near", _near)
    graph.add_node("far", _far)
    graph.add_edge(START, "near")
    graph.add_edge("near", "far")
    graph.add_edge("far", END)
    return graph.compile()


def den() -> Any:
    """The same of plain functions, which a node runs in its thread."""
    graph = StateGraph(Maze)
    graph.add_node("under", _under)
    graph.add_node("deep", _deep)
    graph.add_edge(START, "under")
    graph.add_edge("under", "deep")
    graph.add_edge("deep", END)
    return graph.compile()


def maze() -> StateGraph[Maze]:
    inner, lower = cave(), den()

    async def left(state: Maze) -> dict[str, Any]:
        given = {"name": state["name"], "round": state["round"], "done": [], "who": []}
        return _did(*(await inner.ainvoke(given))["done"])

    def right(state: Maze) -> dict[str, Any]:
        given = {"name": state["name"], "round": state["round"], "done": [], "who": []}
        return _did(*lower.invoke(given)["done"])

    graph = StateGraph(Maze)
    graph.add_node("plan", _plan)
    graph.add_node("item", _item)
    graph.add_node("left", left)
    graph.add_node("right", right)
    graph.add_node("gather", _gather)
    graph.add_node("last", _last)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", _items, ["item"])
    graph.add_edge("plan", "left")
    graph.add_edge("plan", "right")
    graph.add_edge(["item", "left", "right"], "gather")
    graph.add_conditional_edges("gather", _again, ["plan", "last"])
    graph.add_edge("last", END)
    return graph


# ---------------------------------------------------------------- twig: the smallest


def twig() -> StateGraph[Maze]:
    """Three nodes in a row, for many small jobs."""
    graph = StateGraph(Maze)
    for node in TWIG:

        async def run(state: Maze, node: str = node) -> dict[str, Any]:
            return _did(await visit(state["name"], label(node, 0)))

        graph.add_node(node, run)
    graph.add_edge(START, TWIG[0])
    for before, after in pairwise(TWIG):
        graph.add_edge(before, after)
    return graph


TWIG = ("bud", "leaf", "fruit")

# ---------------------------------------------------------------- quarry: YAML

QUARRY = """
name: quarry
description: A loop around an each, a parallel branch and a join.
input:
  name: string
nodes:
  scout:
    agent: quarry_scout
    with: {name: "${name}", round: "${default(review.round, 0)}"}
    writes: plan
  dig:
    agent: quarry_digger
    each: "${plan.items}"
    as: item
    limit: 2
    with: {name: "${name}", round: "${plan.round}", item: "${item}"}
    writes: finds
  haul:
    agent: quarry_hauler
    with: {name: "${name}", round: "${plan.round}"}
    writes: load
  weigh:
    agent: quarry_weigher
    with: {name: "${name}", round: "${plan.round}", finds: "${finds}", load: "${load}"}
    writes: weight
  review:
    agent: quarry_reviewer
    with: {name: "${name}", round: "${plan.round}", weight: "${weight.label}"}
    writes: review
edges:
  - START -> scout -> [dig, haul] -> weigh -> review
  - from: review
    to:
      - {node: scout, when: "review.round < 2", at_most: 3}
      - END
output: {finds: "${finds}", load: "${load}", weight: "${weight}", review: "${review}"}
"""
QUARRY_ROUNDS = 2
QUARRY_ITEMS = ("a", "b", "c")


@agent("quarry_scout", description="Finds what to dig.")
async def scout(name: str, round: int, context: AgentContext) -> dict[str, Any]:
    visited = await visit(name, label("scout", round))
    return {"label": visited, "round": round, "items": list(QUARRY_ITEMS)}


@agent("quarry_digger", description="Digs one item.")
async def digger(name: str, round: int, item: str, context: AgentContext) -> str:
    return await visit(name, label("dig", round, item))


@agent("quarry_hauler", description="Hauls, in a thread.")
def hauler(name: str, round: int, context: AgentContext) -> str:
    return visit_blocking(name, label("haul", round))


@agent("quarry_weigher", description="Weighs what was found.")
async def weigher(
    name: str, round: int, finds: list[str], load: str, context: AgentContext
) -> dict[str, Any]:
    await visit(name, label("weigh", round))
    return {"label": label("weigh", round), "finds": finds, "load": load}


@agent("quarry_reviewer", description="Asks for another round.")
async def reviewer(name: str, round: int, weight: str, context: AgentContext) -> dict[str, Any]:
    return {"label": await visit(name, label("review", round)), "round": round + 1}


# ---------------------------------------------------------------- swarm: one wide fan-out

SWARM_LIMIT = 20
SWARM = f"""
name: swarm
description: An each over very many items.
input:
  name: string
  items: {{type: array, items: integer}}
nodes:
  buzz:
    agent: swarm_bee
    each: "${{items}}"
    as: item
    limit: {SWARM_LIMIT}
    with: {{name: "${{name}}", item: "${{item}}"}}
    writes: all
output: ${{all}}
"""


@agent("swarm_bee", description="Visits one item.")
async def bee(name: str, item: int, context: AgentContext) -> str:
    return await visit(name, label("buzz", 0, item))


# ---------------------------------------------------------------- random graphs (graphs.py)


@agent("graph_step", description="Gives the answer that its graph has for this run of its node.")
async def graph_step(answers: list[int], context: AgentContext) -> int:
    node = f"{context.job_id}.{context.node}"
    number = _number_of(context.folder / "keys" / node, context.key)
    _witness().tell("begin", context.job_id, f"{context.node} {context.key}")
    await asyncio.sleep(_nap())
    _witness().tell("end", context.job_id, f"{context.node} {context.key}")
    answer = answers[number % len(answers)]
    if answer < 0:
        raise ValueError(f"{context.node} fails")
    return answer


def _number_of(file: Path, key: str) -> int:
    """Which run of its node this is: the place of its key among those that the file has. A killed
    run begins again with its key, and a node of one job never runs twice at once."""
    file.parent.mkdir(exist_ok=True)
    known = file.read_text().splitlines() if file.exists() else []
    if key not in known:
        with file.open("a") as opened:
            opened.write(key + "\n")
        known.append(key)
    return known.index(key)


# ---------------------------------------------------------------- meshes (meshes.py)

TEAM = """
kind: mesh
name: team
input: {name: string}
mesh: {entry: team_lead, agents: [team_ann, team_ben, team_scale]}
"""
TEAM_PARTS = 4


@agent("team_lead", description="Asks for one part after another.")
def lead(name: str, context: AgentContext) -> int:
    parts = [context.ask("dig", {"name": name, "part": part}) for part in range(TEAM_PARTS)]
    return sum(parts)


@agent("team_ann", capabilities=["dig"], description="Asks what a part weighs.")
def ann(name: str, part: int, context: AgentContext) -> int:
    weight: int = context.ask("weigh", {"name": name, "part": part})
    return weight + 1


@agent("team_ben", capabilities=["dig"], description="Does the same.")
async def ben(name: str, part: int, context: AgentContext) -> int:
    weight: int = context.ask("weigh", {"name": name, "part": part})
    return weight + 1


@agent("team_scale", capabilities=["weigh"], description="Visits a part.")
async def scale(name: str, part: int) -> int:
    await visit(name, label("weigh", 0, part))
    return part


def registry() -> Registry:
    own = (scout, digger, hauler, weigher, reviewer, bee, graph_step, lead, ann, ben, scale)
    return Registry.of(*map(agent_of, own))


# ---------------------------------------------------------------- what must have run


def start_of(workflow: str, name: str) -> dict[str, Any]:
    """The input of a job."""
    if workflow in ("maze", "twig"):
        return {"name": name, "round": 0, "done": [], "who": []}
    return {"name": name}


@cache
def visits(workflow: str) -> frozenset[str]:
    """Every visit of a job that completed."""
    if workflow == "twig":
        return frozenset(label(node, 0) for node in TWIG)
    if workflow == "maze":
        rounds = {
            label(node, round)
            for node in ("plan", "near", "far", "under", "deep", "gather")
            for round in range(ROUNDS)
        }
        items = {label("item", r, i) for r in range(ROUNDS) for i in range(ITEMS)}
        return frozenset({*rounds, *items, label("last", ROUNDS)})
    rounds = {
        label(node, round)
        for node in ("scout", "haul", "weigh", "review")
        for round in range(QUARRY_ROUNDS)
    }
    return frozenset(
        rounds | {label("dig", r, i) for r in range(QUARRY_ROUNDS) for i in QUARRY_ITEMS}
    )


@cache
def steps(workflow: str) -> Counter[str]:
    """How often each node completed in a job that completed."""
    if workflow == "twig":
        return Counter(TWIG)
    if workflow == "maze":
        inside = ("left/near", "left/far", "right/under", "right/deep")
        each = dict.fromkeys(("plan", "left", "right", "gather", *inside), ROUNDS)
        return Counter({**each, "item": ROUNDS * ITEMS, "last": 1})
    return Counter(dict.fromkeys(("scout", "dig", "haul", "weigh", "review"), QUARRY_ROUNDS))


def output_is_right(workflow: str, output: Any) -> bool:
    """Whether a job's output is what it would be without any accident."""
    if workflow == "twig":
        return bool(output["done"] == [label(node, 0) for node in TWIG])
    if workflow == "maze":
        return sorted(output["done"]) == sorted(visits("maze")) and output["round"] == ROUNDS
    last = QUARRY_ROUNDS - 1
    finds = [label("dig", last, item) for item in QUARRY_ITEMS]
    load = label("haul", last)
    return bool(
        output
        == {
            "finds": finds,
            "load": load,
            "weight": {"label": label("weigh", last), "finds": finds, "load": load},
            "review": {"label": label("review", last), "round": QUARRY_ROUNDS},
        }
    )
