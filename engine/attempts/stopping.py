"""Stopping an attempt whose nodes do not end: they swallow their cancellation, or take long over it.

LangGraph waits for its nodes without a bound. So nodes that go on are cancelled again and again,
and after a few times the attempt ends without them. What they still do is committed nowhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

from ucop.graphs.pregel.node_runs import RUN

log = logging.getLogger("ucop.worker")

AGAIN = 5.0
"""Seconds that nodes get to end in, each time they are cancelled."""

PATIENCE = 2
"""Times that nodes are cancelled again before their attempt ends without them."""


async def insist(
    job: str, attempt: int, task: asyncio.Task[Any], in_nodes: Callable[[], bool]
) -> None:
    """See to it that an attempt which was cancelled ends, and its nodes too. Goes on as long as they do.

    Args:
        task: The attempt's.
        in_nodes: Whether its graph runs still: what comes after that is not broken into.
    """
    times = 0
    while True:
        await asyncio.wait([task], timeout=AGAIN)
        left = list(nodes(job, attempt))
        if task.done() and not left:
            return
        times += 1
        if times == 1 and left:
            log.warning(
                "job %s: attempt %d was stopped, and %s goes on: it is stopped again and again",
                *(job, attempt, ", ".join(sorted(node.get_name() for node in left))),
            )
        for node in left:
            node.cancel()
        if times > PATIENCE and in_nodes() and not task.done():
            log.error("job %s: attempt %d ends without its nodes", job, attempt)
            task.cancel()
            task.uncancel()  # it counts as cancelled once: who did it first knows why
        if task.done():
            await asyncio.sleep(AGAIN)


def nodes(job: str, attempt: int) -> Iterator[asyncio.Task[Any]]:
    """The tasks in which LangGraph runs an attempt's nodes. Nothing public leads to them but the
    loop itself: each is a call of what `replace_run` was given, and its task names the job."""
    for task in asyncio.all_tasks():
        coroutine: Any = task.get_coro()
        if coroutine.__name__ != RUN or coroutine.cr_frame is None:
            continue
        told = coroutine.cr_frame.f_locals["task"].config.get("metadata", {})
        if (told.get("ucop_job"), told.get("ucop_attempt")) == (job, attempt):
            yield task
