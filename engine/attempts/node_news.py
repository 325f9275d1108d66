"""What nodes tell while they run, as events of their job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ucop.graphs.pregel.names import inside_of

from ..jobs.failure import failure
from ..values.json_text import to_json
from ..values.stored import stored_json
from .node_runs import CUSTOM

if TYPE_CHECKING:
    from ..journal.journal import Journal

_LATE = {"type": "TimeoutError", "message": "its time was over", "node": None}


class NodeNews:
    """On the engine's loop, where nodes of YAML run; `progress` from any thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._loop = journal, asyncio.get_running_loop()

    def custom(self, data: Any, namespace: Sequence[str]) -> None:
        """What a node's stream writer was given, and inside which nodes; that it can be stored was
        seen there (node_runs.py), and here it is seen that it still can. Raises Unstorable."""
        told = stored_json(data, node=None, channel=CUSTOM)
        way = inside_of(namespace)
        within = f',"within":{to_json(way)}' if way else ""
        self._journal.tell_of("progress", f'{{"data":{told}{within}}}')

    def progress(self, node: str, text: str) -> None:
        """An agent tells how far it is; synchronous agents have threads of their own. Raises
        Unstorable."""
        stored_json(text, node=node, channel="progress")
        self._loop.call_soon_threadsafe(
            self._journal.event, "progress", {"node": node, "text": text}
        )

    def retried(self, task_id: str, node: str, number: int, error: BaseException | None) -> None:
        """What is stopped for its time raises nothing."""
        told = _LATE if error is None else failure(error)
        self._journal.retried(task_id, node, number, told)

    def hopped(self, node: str, what: str, data: Mapping[str, Any]) -> None:
        """A hop of a mesh."""
        told = {"node": node, "attempt": self._journal.attempt, **data}
        self._journal.event(f"mesh.{what}", told)
