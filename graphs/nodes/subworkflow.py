"""A node that runs another workflow as one step, with checkpoints of its own inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config

from ..pregel.config_keys import CONFIG_KEY_RUNTIME
from ..types.given_context import names_of
from ..types.state import normalise
from ..workflow import Run
from .work import Turn, Work

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from ..workflow import Workflow
    from .context import RunContext


@dataclass(frozen=True)
class SubWorkflow(Work):
    """Runs a workflow inside the node. LangGraph gives it a namespace of the node's task, so that
    it goes on inside after a kill, pauses with its parent, and can ask people."""

    workflow: Workflow

    async def run(self, data: Any, turn: Turn) -> Any:
        first = self.workflow.start(self.workflow.accept(data))
        config = var_child_runnable_config.get() or {}
        given = turn.runtime.context.given
        known = Run(config=config, context=given, store=turn.runtime.store)
        async with self.workflow.opened(known) as workflow:
            graph = workflow.graph()
            values = await graph.ainvoke(first, self._config(config), context=self._context(turn))
        return normalise(self.workflow.result(values), None, f"node {turn.node}")

    def _config(self, config: Mapping[str, Any]) -> RunnableConfig | None:
        """LangGraph gives a graph without a context its parent's, which is ucop's own here."""
        outer = config.get("configurable", {}).get(CONFIG_KEY_RUNTIME)
        if self.workflow.kind == "yaml" or outer is None:
            return None
        return {"configurable": {CONFIG_KEY_RUNTIME: outer.override(context=None)}}

    def _context(self, turn: Turn) -> Any:
        """Of the run's own context for a graph of Python, those names that it declares."""
        if self.workflow.kind == "yaml":
            return inside(turn)
        given, schema = turn.runtime.context.given, self.workflow.context_schema
        if given is None or schema is None:
            return None
        known = names_of(schema)
        return self.workflow.context({k: v for k, v in given.items() if k in known})


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
