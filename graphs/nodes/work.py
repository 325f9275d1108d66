"""What a node calls: an agent here; a person in `question.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.runtime import Runtime, get_runtime

from ..pregel.config_keys import CONFIG_KEY_SCRATCHPAD
from ..types.state import normalise
from .context import RunContext

if TYPE_CHECKING:
    from ucop.agents.run.context import AgentContext
    from ucop.agents.spec.agent import Agent


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One call: of which node, in which run, for which item of `each`."""

    node: str
    runtime: Runtime[RunContext]
    index: int | None = None

    @property
    def task_id(self) -> str:
        """LangGraph's id of the node's run."""
        info = self.runtime.execution_info
        return info.task_id if info else ""

    @property
    def key(self) -> str:
        """The same over all tries of this call, and different for every other one."""
        item = "" if self.index is None else f"/{self.index}"
        return f"{self.runtime.context.job_id}/{self.task_id}{item}"


class Work(ABC):
    """Does one call of a node."""

    @abstractmethod
    async def run(self, data: Any, turn: Turn) -> Any:
        """The answer to `data`, as JSON with the declared types."""


@dataclass(frozen=True)
class AgentWork(Work):
    """Calls an agent on its inputs."""

    agent: Agent

    async def run(self, data: Any, turn: Turn) -> Any:
        from ucop.agents.run.run import call

        with going_on():
            answer = await call(self.agent, data, context=self._context(turn))
        return normalise(answer, self.agent.output_schema, f"node {turn.node}")

    @staticmethod
    def _context(turn: Turn) -> AgentContext:
        from ucop.agents.run.context import AgentContext

        run = turn.runtime.context
        # That of the task which runs now: an item of `each` has its own timeout.
        heartbeat = get_runtime(RunContext).heartbeat

        def tell(text: str) -> None:
            heartbeat()
            run.progress(turn.node, text)

        return AgentContext(
            job_id=run.job_id,
            node=turn.node,
            key=turn.key,
            models=run.models,
            folder=run.folder,
            given=run.given,
            production=run.production,
            progress=tell,
            memory=run.memory,
        )


@contextmanager
def going_on() -> Iterator[None]:
    """What runs inside goes on in the checkpoints that an earlier try of this call left.

    LangGraph numbers the graphs that one run of a node calls, and tells them at a retry to
    resume. But it counts on, so that each would begin anew under the next number: a tool that
    was done would be called again. Here a retry counts from the start, as a new attempt does.
    """
    info = get_runtime(RunContext).execution_info
    config = var_child_runnable_config.get()
    pad = (config or {}).get("configurable", {}).get(CONFIG_KEY_SCRATCHPAD)
    if config is None or pad is None or info is None or info.node_attempt < 2:
        yield
        return
    again = replace(pad, subgraph_counter=count().__next__)
    configurable = {**config["configurable"], CONFIG_KEY_SCRATCHPAD: again}
    token = var_child_runnable_config.set({**config, "configurable": configurable})
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)
