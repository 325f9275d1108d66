"""What is no graph of LangGraph's own and runs like one: `graph | runnable`, a RemoteGraph.

LangChain runs such a thing without checkpoints of its own. Here each of its parts is a node, so
that what a part gave is saved before the next begins; a graph among them keeps its checkpoints
inside its node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable, RunnableConfig
    from langgraph.graph import StateGraph

VALUE = "value"
"""The one name of the state: what went in, and then what the last part gave."""

_COORDINATES = ("thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map")


class Passed(TypedDict):
    """The state of such a graph."""

    value: Any


def graph_of(runnable: Runnable[Any, Any]) -> StateGraph[Any, Any, Any, Any]:
    """A graph with a node for each part of `runnable`."""
    from langgraph.graph import END, START, StateGraph

    builder = StateGraph(Passed)
    before = START
    for name, part in _name_parts(_parts(runnable)):
        builder.add_node(name, _node(part))
        builder.add_edge(before, name)
        before = name
    builder.add_edge(before, END)
    return builder


def _parts(runnable: Runnable[Any, Any]) -> Sequence[Runnable[Any, Any]]:
    from langchain_core.runnables import RunnableSequence

    return runnable.steps if isinstance(runnable, RunnableSequence) else [runnable]


def _name_parts(parts: Sequence[Runnable[Any, Any]]) -> list[tuple[str, Runnable[Any, Any]]]:
    named: dict[str, Runnable[Any, Any]] = {}
    for part in parts:
        # LangGraph keeps these for namespaces and for itself.
        name = "".join("_" if c in "|:" else c for c in part.get_name()).strip("_") or "part"
        number = 2
        unique = name if name != VALUE else f"{name}_"
        while unique in named:
            unique, number = f"{name}_{number}", number + 1
        named[unique] = part
    return list(named.items())


def _node(part: Runnable[Any, Any]) -> Any:
    from langgraph.pregel.remote import RemoteGraph

    remote = isinstance(part, RemoteGraph)

    async def run(state: Passed, config: RunnableConfig) -> Passed:
        given = _without_thread(config) if remote else config
        return {"value": await part.ainvoke(state["value"], given)}

    return run


def _without_thread(config: RunnableConfig) -> RunnableConfig:
    """Another server knows nothing of this job's thread; it has its own, or none."""
    named = config.get("configurable", {})
    kept = {name: value for name, value in named.items() if name not in _COORDINATES}
    return {**config, "configurable": kept}
