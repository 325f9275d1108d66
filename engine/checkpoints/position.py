"""Where a job stands in its graph, read from the checkpoint itself.

Not from LangGraph's `get_state().next`, which knows only nodes that the graph still has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.types import Send

from ucop.graphs.topology.wiring import START, Standing

BRANCH = "branch:to:"
SENDS = "__pregel_tasks"
"""LangGraph's channels: what leads to a node, and to nodes by `Send`."""
UNDONE = frozenset({"__error__", "__interrupt__", "__resume__", "__scheduled__"})
"""What tasks write without having ended."""


async def standing(graph: Any, config: Mapping[str, Any]) -> Standing:
    """Where the thread of `config` stands; `graph` has its checkpointer."""
    found = await graph.checkpointer.aget_tuple(config)
    values: Mapping[str, Any] = found.checkpoint["channel_values"]
    writes = found.pending_writes or ()
    ended = {task for task, channel, _ in writes if channel not in UNDONE}
    # As it was saved: to merge in what finished tasks wrote calls the graph's own code.
    snapshot = await graph.aget_state(found.config)
    return Standing(
        due=frozenset(_led_to(values.items())),
        done=frozenset(task.name for task in snapshot.tasks if task.id in ended),
        scheduled=frozenset(_led_to((channel, value) for _, channel, value in writes)),
    )


def _led_to(written: Iterable[tuple[str, Any]]) -> Iterable[str]:
    for channel, value in written:
        if channel == START:
            yield START
        elif channel.startswith(BRANCH):
            yield channel.removeprefix(BRANCH)
        elif channel == SENDS:
            yield from (send.node for send in _listed(value) if isinstance(send, Send))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
