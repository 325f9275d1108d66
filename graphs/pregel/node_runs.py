"""The function that LangGraph calls for each run of a node, and which another may stand for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import signature
from typing import Any

from .wanted import need_use, wanted

RUN = "arun_with_retry"
"""Its name, by which tasks of nodes are found on the event loop."""

with wanted("runs nodes"):
    from langgraph.pregel import _runner

    run_node: Callable[..., Awaitable[Any]] = getattr(_runner, RUN)
    """LangGraph's own."""
    # What stands for it takes the same, and is looked up where it is called.
    if (taken := [*signature(run_node).parameters][:2]) != ["task", "retry_policy"]:
        raise AttributeError(f"{RUN} takes {', '.join(taken)}")
    need_use(_runner.PregelRunner.atick, RUN)


def replace_run(run: Callable[..., Awaitable[Any]]) -> None:
    """Have LangGraph call `run` from now on, which has the same name."""
    assert run.__name__ == RUN
    setattr(_runner, RUN, run)
