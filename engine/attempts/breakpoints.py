"""Breakpoints: where a graph was compiled to stop (`interrupt_before`, `interrupt_after`).

LangGraph ends its stream there without a word, and any later run of the thread passes the
breakpoint, whoever began it. A job must not: its next attempt may follow a crash, and nobody
has let it pass. So the ledger keeps the newest saved state (`jobs.passed`) that a person let the
job go on from, and an attempt stops again at a breakpoint that stands behind a later one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langgraph.constants import TAG_HIDDEN
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from ucop.graphs.pregel.config_keys import CONFIG_KEY_CHECKPOINTER

SEEN = "__interrupt__"
"""LangGraph's name for the versions at which a graph last stopped."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A graph that has breakpoints, or one inside a node, and where it stands."""

    path: tuple[str, ...]
    """The nodes that it runs in, from the outermost."""
    graph: Pregel[Any, Any, Any, Any]
    snapshot: StateSnapshot


def has_breakpoints(graph: Any) -> bool:
    """Whether a graph, or one that its nodes are known to run, can stop at a breakpoint."""
    if not isinstance(graph, Pregel):
        return False
    return stops_itself(graph) or any(
        stops_itself(inner) for _, inner in graph.get_subgraphs(recurse=True)
    )


def stops_itself(graph: Any) -> bool:
    """Whether a graph was compiled to stop; one that runs elsewhere knows that alone."""
    if not isinstance(graph, Pregel):
        return False
    return bool(graph.interrupt_before_nodes or graph.interrupt_after_nodes)


async def stopped_at(graph: Any, config: Mapping[str, Any]) -> str | None:
    """Where a graph whose stream has ended stands, though it has not ended; None if it has."""
    places = [place async for place in _places(graph, graph, config)]
    if not places[0].snapshot.next:
        return None
    return _told(max(places, key=lambda place: len(place.path)))


async def due_at(graph: Any, config: Mapping[str, Any], passed: str | None) -> str | None:
    """The breakpoint at which a job stands that nobody let pass, if there is one. What was
    saved up to `passed`, a person let go on."""
    async for place in _places(graph, graph, config):
        id = place.snapshot.config["configurable"].get("checkpoint_id")
        is_new = id is not None and (passed is None or id > passed)
        if is_new and place.snapshot.next and await _is_due(graph, place):
            return _told(place)
    return None


def _told(place: Place) -> str:
    inside = f" in {'/'.join(place.path)}" if place.path else ""
    due = dict.fromkeys(task.name for task in place.snapshot.tasks if task.result is None)
    return f"stopped at a breakpoint{inside} before {', '.join(due)}"


async def _places(
    root: Any, graph: Any, config: Mapping[str, Any], path: tuple[str, ...] = ()
) -> AsyncIterator[Place]:
    """A graph, and those inside that its open tasks have begun.

    Read as they were saved. LangGraph's newest state has what finished tasks wrote merged in, which
    calls the graph's own code and may raise.
    """
    where = {"checkpoint_id": None, CONFIG_KEY_CHECKPOINTER: root.checkpointer}
    as_saved = {**config, "configurable": {**config["configurable"], **where}}
    snapshot = await graph.aget_state(as_saved)
    yield Place(path=path, graph=graph, snapshot=snapshot)
    inner = {name: each for name, each in graph.get_subgraphs() if isinstance(each, Pregel)}
    for task in snapshot.tasks if snapshot.next else ():
        if task.name in inner and isinstance(task.state, dict):
            given: Any = task.state
            async for place in _places(root, inner[task.name], given, (*path, task.name)):
                if place.snapshot.next:
                    yield place


async def _is_due(root: Any, place: Place) -> bool:
    """Whether LangGraph would have stopped here, in the run that saved this state."""
    graph, snapshot = place.graph, place.snapshot
    if (snapshot.metadata or {}).get("source") != "loop":
        return False
    saver: Any = root.checkpointer
    found = await saver.aget_tuple(snapshot.config)
    if found is None or not _is_new(found.checkpoint):
        return False
    if _named(graph, graph.interrupt_before_nodes, snapshot.next):
        return True
    if not graph.interrupt_after_nodes or snapshot.parent_config is None:
        return False
    before = await root.aget_state(snapshot.parent_config)
    return _named(graph, graph.interrupt_after_nodes, before.next)


def _is_new(checkpoint: Mapping[str, Any]) -> bool:
    """Whether anything was written since the graph last stopped."""
    seen = checkpoint["versions_seen"].get(SEEN, {})
    return any(
        channel not in seen or version > seen[channel]
        for channel, version in checkpoint["channel_versions"].items()
    )


def _named(graph: Any, breakpoints: Literal["*"] | Sequence[str], nodes: Collection[str]) -> bool:
    if breakpoints == "*":
        return any(TAG_HIDDEN not in (graph.nodes[node].tags or ()) for node in nodes)
    return any(node in breakpoints for node in nodes)
