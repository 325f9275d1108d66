"""What LangGraph's loops are made to do beyond what they do: two methods of its private classes.

Both matter for graphs that a node runs itself, by `invoke` or `stream`, in whatever thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from langgraph._internal import _queue
from langgraph.constants import TAG_HIDDEN
from langgraph.pregel import Pregel

from ucop.graphs.pregel.names import way_to
from ucop.graphs.pregel.wanted import need, need_use, wanted

with wanted("hears of tasks before they run"):
    from langgraph.pregel._loop import AsyncPregelLoop, PregelLoop, SyncPregelLoop
    from langgraph.pregel.debug import map_debug_tasks

    need(PregelLoop, "_emit", "checkpointer", "checkpoint_ns", "durability")
    need_use(PregelLoop.tick, "_emit", "map_debug_tasks")
    for stream in (Pregel.stream, Pregel.astream):
        need_use(stream, "_put_checkpoint_fut")

from ..loop.loop import SAFE

_emit = PregelLoop._emit


class Saved:
    """A checkpoint that is saved already.

    With `durability="sync"` LangGraph waits after each superstep for a save, and raises
    AttributeError where there is no saver: under `compile(checkpointer=False)`.
    """

    def result(self) -> None:
        return None

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


def announcing(
    self: PregelLoop, mode: Any, values: Callable[..., Any], *args: Any, **options: Any
) -> None:
    """Tell the journal of an attempt of each task before it runs, if its writes are saved. The stream tells of it too, but
    later, and not while a node holds the event loop up."""
    if values is map_debug_tasks:
        journal = getattr(self.checkpointer, "journal", None)
        if journal is not None and self.durability != "exit":
            for task in args[0]:
                if TAG_HIDDEN not in (task.config or {}).get("tags", ()):
                    told = {"id": task.id, "name": task.name, "input": task.input}
                    journal.announced(self.checkpoint_ns, told)
                    journal.begins(task.id, way_to(self.checkpoint_ns, task.name))
    _emit(self, mode, values, *args, **options)


def extend() -> None:
    """Done once, when the fenced savers are imported."""
    PregelLoop._emit = announcing  # type: ignore[method-assign]
    put = AsyncPregelLoop._checkpointer_put_after_previous
    wait = vars(_queue)["AsyncQueue"].wait
    SAFE.update((wait.__code__, put.__code__))
    for loop in (AsyncPregelLoop, SyncPregelLoop):
        if not hasattr(loop, "_put_checkpoint_fut"):
            loop._put_checkpoint_fut = Saved()  # type: ignore[assignment]
