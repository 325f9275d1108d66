"""Workflows for tests: YAML whose nodes all call one scripted agent, on real LangGraph."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver

from ucop.agents.models.models import Models
from ucop.agents.run.context import AgentContext
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.nodes.context import RunContext
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

Script = Mapping[str, Any]
"""By node: an answer, a list of answers by run, or a function of the run's number and value."""


class Flow:
    """A workflow and a witness of what ran in it.

    Every node's agent is `step`, which takes `value` and gives the answer that the script has
    for its node (without one: the value, or else the node's name). `python` are further agents and
    merges of the project.
    """

    def __init__(
        self,
        text: str,
        script: Script | None = None,
        *,
        pause: float = 0.0,
        python: Sequence[Any] = (),
    ) -> None:
        self.script = dict(script or {})
        self.pause = pause
        self.began: list[str] = []
        self.ended: list[str] = []
        self.values: list[tuple[str, Any]] = []
        self.keys: list[str] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.told: list[tuple[str, str]] = []
        self.registry = Registry.of(self._step(), *python)
        self.workflow: YamlWorkflow = workflow_of(read_yaml(text, "flow.yaml"), self.registry)

    @property
    def counts(self) -> Counter[str]:
        """How often each node's agent ended."""
        return Counter(self.ended)

    def _step(self) -> Any:
        @agent("step")
        async def step(context: AgentContext, value: Any = None) -> Any:
            node = context.node
            self.began.append(node)
            self.values.append((node, value))
            self.keys.append(context.key)
            self.running[node] += 1
            self.most[node] = max(self.most[node], self.running[node])
            context.progress(f"{node} runs")
            try:
                await asyncio.sleep(self.pause)
                answer = self._answer(node, value)
                if asyncio.iscoroutine(answer):
                    answer = await answer
            finally:
                self.running[node] -= 1
            self.ended.append(node)
            return answer

        return step

    def _answer(self, node: str, value: Any) -> Any:
        run = self.ended.count(node)
        answer = self.script.get(node, node if value is None else value)
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            return answer(run, value)
        if isinstance(answer, Answers):
            return answer[min(run, len(answer) - 1)]
        return answer

    def context(self, job_id: str = "job") -> RunContext:
        return RunContext(
            job_id=job_id,
            models=Models(embedded=False),
            folder=Path(),
            progress=lambda node, text: self.told.append((node, text)),
        )

    async def run(
        self, data: Mapping[str, Any] | None = None, *, saver: Any = None, thread: str = "1"
    ) -> Any:
        """Run from the start to the end; the job's output."""
        return await self.go(self.workflow.start(self.workflow.accept(data or {})), saver, thread)

    async def resume(self, saver: Any, thread: str = "1") -> Any:
        """Go on from the last checkpoint; the job's output."""
        return await self.go(None, saver, thread)

    async def go(self, first: Any, saver: Any, thread: str, control: Any = None) -> Any:
        graph = self.workflow.graph().copy({"checkpointer": saver})
        last: Any = {}
        async for values in graph.astream(
            first,
            {"configurable": {"thread_id": thread}},
            context=self.context(),
            stream_mode="values",
            control=control,
            durability="sync" if saver else None,
        ):
            last = values
        return self.workflow.result(last)

    async def state(self, saver: Any, thread: str = "1") -> dict[str, Any]:
        graph = self.workflow.graph().copy({"checkpointer": saver})
        found = await graph.aget_state({"configurable": {"thread_id": thread}})
        return dict(found.values)


class Answers(tuple[Any, ...]):
    """The answers of a node's runs, in order; the last one holds for all later runs."""


def answers(*given: Any) -> Answers:
    return Answers(given)


class InlineSaver(SqliteSaver):
    """LangGraph's SQLite saver on the caller's loop, so that a cancelled run leaves no write half
    done behind: a killed process does not either."""

    async def aget_tuple(self, config: Any) -> Any:
        return self.get_tuple(config)

    async def alist(self, config: Any, **options: Any) -> AsyncIterator[Any]:
        for found in list(self.list(config, **options)):
            yield found

    async def aput(self, *given: Any) -> Any:
        return self.put(*given)

    async def aput_writes(self, *given: Any) -> None:
        self.put_writes(*given)


@asynccontextmanager
async def saver_at(path: Path | str) -> AsyncIterator[InlineSaver]:
    """LangGraph's own saver on a file."""
    connection = sqlite3.connect(path, check_same_thread=False)
    try:
        yield InlineSaver(connection)
    finally:
        connection.close()


def flow(nodes: str, edges: str, rest: str = "", **options: Any) -> Flow:
    """A flow of the given nodes (by names, or as YAML lines), edges and other parts."""
    if ":" not in nodes:
        nodes = "\n".join(f"  {name}: {{agent: step, writes: {name}_}}" for name in nodes.split())
    return Flow(f"name: flow\nnodes:\n{nodes}\nedges:\n{edges}\n{rest}", **options)
