"""What LangGraph's loops are made to do beyond what they do: methods of its private classes.

All matter for graphs that a node runs itself, by `invoke` or `stream`, in whatever thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from langgraph._internal import _queue
from langgraph.constants import TAG_HIDDEN
from langgraph.pregel import Pregel
from langgraph.types import Command

from ucop.graphs.pregel.names import way_to
from ucop.graphs.pregel.wanted import need, need_use, wanted

with wanted("hears of tasks before they run"):
    from langgraph._internal._config import patch_configurable
    from langgraph._internal._constants import CONF, CONFIG_KEY_CHECKPOINT_MAP, CONFIG_KEY_RESUMING
    from langgraph.pregel._algo import prepare_next_tasks
    from langgraph.pregel._loop import AsyncPregelLoop, PregelLoop, SyncPregelLoop
    from langgraph.pregel.debug import map_debug_tasks

    need(PregelLoop, "_emit", "_first", "_loaded_latest", "checkpointer", "checkpoint_ns")
    need(PregelLoop, "durability", "is_nested", "checkpoint_metadata", "checkpoint", "channels")
    need(PregelLoop, "checkpoint_pending_writes", "nodes", "managed", "config", "step", "stop")
    need_use(PregelLoop.tick, "_emit", "map_debug_tasks")
    need_use(PregelLoop._first, "CONFIG_KEY_RESUMING")
    need_use(PregelLoop._put_checkpoint, "CONFIG_KEY_CHECKPOINT_MAP")
    for stream in (Pregel.stream, Pregel.astream):
        need_use(stream, "_put_checkpoint_fut")

from ..loop.loop import SAFE

_emit = PregelLoop._emit
_first = PregelLoop._first


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


def beginning(self: PregelLoop, **options: Any) -> Any:
    """Begin a graph that a node runs, and that keeps its state over several runs (`checkpointer=True`).
    LangGraph tells each graph inside a run that goes on to go on as well. One that has not begun in
    this run yet, and is done with an earlier one, would take that for its result, and its input
    for nothing."""
    saves_for_a_job = getattr(self.checkpointer, "journal", None) is not None
    if saves_for_a_job and _is_of_an_earlier_run(self):
        self.config = patch_configurable(self.config, {CONFIG_KEY_RESUMING: False})
    return _first(self, **options)


def _is_of_an_earlier_run(loop: PregelLoop) -> bool:
    """Whether a graph inside, which is to go on, has come to an end already, in another superstep of
    the graph around it, and is given an input now."""
    options = loop.config.get(CONF, {})
    return bool(
        loop.is_nested
        and options.get(CONFIG_KEY_RESUMING)
        and loop._loaded_latest
        and not (loop.input is None or isinstance(loop.input, Command))
        and loop.checkpoint_metadata.get("parents") != options.get(CONFIG_KEY_CHECKPOINT_MAP)
        and not _due(loop)
    )


def _due(loop: PregelLoop) -> bool:
    """Whether any node is left to run."""
    return bool(
        prepare_next_tasks(
            loop.checkpoint,
            loop.checkpoint_pending_writes,
            loop.nodes,
            loop.channels,
            loop.managed,
            loop.config,
            loop.step,
            loop.stop,
            for_execution=False,
        )
    )


def extend() -> None:
    """Done once, when the fenced savers are imported."""
    PregelLoop._emit = announcing  # type: ignore[method-assign]
    PregelLoop._first = beginning  # type: ignore[method-assign]
    put = AsyncPregelLoop._checkpointer_put_after_previous
    wait = vars(_queue)["AsyncQueue"].wait
    SAFE.update((wait.__code__, put.__code__))
    for loop in (AsyncPregelLoop, SyncPregelLoop):
        if not hasattr(loop, "_put_checkpoint_fut"):
            loop._put_checkpoint_fut = Saved()  # type: ignore[assignment]
