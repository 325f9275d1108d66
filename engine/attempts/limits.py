"""What one attempt may use, and how it is stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.errors import GraphDrained

from ..errors import LimitReached
from ..jobs.budget import Budget

if TYPE_CHECKING:
    from langgraph.runtime import RunControl

    from ucop.agents.models.meter import Usage

    from ..ledger.records import Claimed

T = TypeVar("T")


class AttemptLimits:
    """The budget of an attempt's job, whose graph `control` can stop at the next superstep."""

    def __init__(self, claimed: Claimed, control: RunControl) -> None:
        self._budget = Budget(
            job_id=claimed.job_id,
            limits=claimed.budget,
            since=claimed.submitted_at,
            before=claimed.spent,
        )
        self._control = control
        self._begun = 0
        self.refused: str | None = None
        """Why no further model call could begin, once one was refused."""

    @property
    def ask(self) -> Callable[[Usage], None] | None:
        """What the meter is to ask before each model call."""
        return self._ask if self._budget.asks else None

    def _ask(self, used: Usage) -> None:
        """In the thread that makes the call. Raises GraphDrained if the budget is used up:
        LangGraph lets the other nodes end, and nothing takes it for an error of the node."""
        if (reason := self._budget.refusal(used)) is None:
            return
        self.refused = reason
        # Also for nodes that catch everything: the graph stops after them.
        self._control.request_drain(reason)
        raise GraphDrained(reason)

    def begin_step(self, node: str) -> None:
        """Raises StepsUsedUp."""
        self._begun += 1
        self._budget.begin_step(self._begun, node)

    async def in_time(self, work: Coroutine[Any, Any, T], insist: Callable[[], None]) -> T:
        """`work`, cancelled when the job's deadline passes; `insist` is called then. Raises
        DeadlinePassed."""
        try:
            left = self._budget.seconds_left(time.monotonic())
        except LimitReached:
            work.close()
            raise
        if left is None:
            return await work
        late = asyncio.get_running_loop().call_later(left, insist)
        try:
            async with asyncio.timeout(left) as clock:
                return await work
        except TimeoutError:
            if clock.expired():
                raise self._budget.late() from None
            raise
        finally:
            late.cancel()
