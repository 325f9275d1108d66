"""Each run of a node of a job passes here, at any depth, and each task of the functional API.

LangGraph takes some exceptions for its own word, and Python's event loop ends with others. Where a
node's code raises one, it becomes an error of that node (`Escaped`), as bare LangGraph would have
it for any other error. LangGraph offers no place for that: `arun_with_retry` is what it calls
for each run, so that function is put in the place of LangGraph's, and leaves alone what no job runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from langgraph.constants import TAG_HIDDEN
from langgraph.errors import GraphBubbleUp, GraphDrained, GraphInterrupt, ParentCommand
from langgraph.runtime import Runtime
from langgraph.types import Interrupt

from ucop.agents.text.raised import Escaped, escaped
from ucop.graphs.pregel.config_keys import (
    CONF,
    CONFIG_KEY_CHECKPOINT_NS,
    CONFIG_KEY_RUNTIME,
    NS_SEP,
)
from ucop.graphs.pregel.names import way_to
from ucop.graphs.pregel.node_runs import replace_run, run_node

from ..jobs.job import JobId
from ..loop.at_work import AtWork, at_work
from ..loop.loop import SAFE
from ..values.stored import stored_json

if TYPE_CHECKING:
    from langgraph.types import PregelExecutableTask

CUSTOM = "custom"
"""What stands for a channel if a stream writer was given something that cannot be stored."""

_OWN_WORD = "only LangGraph itself may raise that"


class Watch(Protocol):
    """What hears of each run: the attempt's journal."""

    job_id: JobId

    def begins(self, task_id: str, node: str) -> None: ...


watch: ContextVar[Watch] = ContextVar("watch")
"""Of the attempt in whose tasks this code runs."""

AroundRun = Callable[[str, str, Callable[[], Awaitable[Any]]], Awaitable[Any]]

intercepted: ContextVar[AroundRun | None] = ContextVar("intercepted", default=None)
"""Runs a task, by its id and node, inside the attempt's interceptors; None if it has none."""


# `stopping.py` finds the tasks of nodes by this name, and by the argument `task`.
async def arun_with_retry(
    task: PregelExecutableTask,
    retry_policy: Sequence[Any] | None,
    stream: bool = False,
    configurable: dict[str, Any] | None = None,
) -> Any:
    watching = watch.get(None)
    if watching is None:
        return await run_node(task, retry_policy, stream, configurable)
    node = name_of(task)
    watching.begins(task.id, node)
    around = at_work.get()
    at_work.set(AtWork(watching.job_id, node))
    try:
        checked = _checking(task, node, configurable)
        around_run = intercepted.get()
        if around_run is None or TAG_HIDDEN in task.config.get("tags", ()):
            return await run_node(task, retry_policy, stream, checked)
        inside = partial(run_node, task, retry_policy, stream, checked)
        return await around_run(task.id, node, inside)
    except GraphBubbleUp as word:
        if (why := _unfit(word, task)) is None:
            raise
        raise Escaped(word, why) from word
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        if _closes_this(error):
            raise
        raise escaped(error) from error
    finally:
        at_work.set(around)


replace_run(arun_with_retry)
SAFE.add(arun_with_retry.__code__)


def _closes_this(error: BaseException) -> bool:
    """Whether Python closes the coroutine that caught this: nothing inside has raised it."""
    trace = error.__traceback__
    return isinstance(error, GeneratorExit) and trace is not None and trace.tb_next is None


def name_of(task: PregelExecutableTask) -> str:
    """The node that a task runs, with the nodes around it."""
    namespace = task.config.get(CONF, {}).get(CONFIG_KEY_CHECKPOINT_NS) or ""
    around = namespace.rpartition(NS_SEP)[0]
    return way_to(around.split(NS_SEP), task.name) if around else task.name


def _unfit(word: GraphBubbleUp, task: PregelExecutableTask) -> str | None:
    """Why a word of LangGraph's own cannot be taken from this node; None if it can."""
    if isinstance(word, GraphDrained):
        control = _runtime(task).control
        asked = control is not None and control.drain_requested
        return None if asked else f"{_OWN_WORD}, when a job is to pause"
    if isinstance(word, GraphInterrupt):
        return _no_question(word)
    if isinstance(word, ParentCommand):
        namespace = task.config.get(CONF, {}).get(CONFIG_KEY_CHECKPOINT_NS) or ""
        outermost = NS_SEP not in namespace
        return "there is no graph around the node that could take a Command" if outermost else None
    return _OWN_WORD


def _no_question(word: GraphInterrupt) -> str | None:
    asked = word.args[0] if word.args else ()
    if not isinstance(asked, list | tuple) or not all(isinstance(q, Interrupt) for q in asked):
        return "it holds no questions; use interrupt()"
    # A breakpoint inside a subgraph asks nothing either.
    return None if asked or _is_langgraphs(word) else "it asks nothing; use interrupt()"


def _is_langgraphs(error: BaseException) -> bool:
    """Whether LangGraph's own code raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == "langgraph"


def _runtime(task: PregelExecutableTask) -> Runtime[Any]:
    runtime: Runtime[Any] = task.config[CONF][CONFIG_KEY_RUNTIME]
    return runtime


def _checking(
    task: PregelExecutableTask, node: str, configurable: dict[str, Any] | None
) -> dict[str, Any] | None:
    """Have the node's stream writer refuse, in the node itself, what cannot be stored."""
    runtime = task.config.get(CONF, {}).get(CONFIG_KEY_RUNTIME)
    if not isinstance(runtime, Runtime):
        return configurable
    checked = runtime.override(stream_writer=_checked(runtime.stream_writer, node))
    return {**(configurable or {}), CONFIG_KEY_RUNTIME: checked}


def _checked(write: Callable[[Any], None], node: str) -> Callable[[Any], None]:
    def checked(chunk: Any) -> None:
        stored_json(chunk, node=node, channel=CUSTOM)
        write(chunk)

    return checked
