"""A node that runs another workflow as one step, with checkpoints of its own inside."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ucop.graphs.state import normalise
from ucop.graphs.work import Turn, Work

if TYPE_CHECKING:
    from ucop.graphs.context import RunContext
    from ucop.graphs.workflow import Workflow


@dataclass(frozen=True)
class SubWorkflow(Work):
    """Runs a workflow inside the node. LangGraph gives it a namespace of the node's task, so that
    it goes on inside after a kill, pauses with its parent, and can ask people."""

    workflow: Workflow

    async def run(self, data: Any, turn: Turn) -> Any:
        first = self.workflow.start(self.workflow.accept(data))
        values = await self.workflow.graph().ainvoke(first, context=inside(turn))
        return normalise(self.workflow.result(values), None, f"node {turn.node}")


def inside(turn: Turn) -> RunContext:
    """The run's context, where what is told of a node names the way to it."""
    run = turn.runtime.context

    def way(node: str) -> str:
        return f"{turn.node}/{node}" if node else turn.node

    return replace(
        run,
        progress=lambda node, text: run.progress(way(node), text),
        hopped=lambda node, what, data: run.hopped(way(node), what, data),
    )
