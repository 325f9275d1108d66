"""Random well-formed graphs run as an independent reading of the rules allows, kills or none.

`UCOP_EXAMPLES=2000 pytest tests/unit/graphs/nodes/test_compile_property.py` tries more of them.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, example, given, note, settings
from hypothesis import strategies as st

from tests.support.flows import saver_at
from tests.support.shapes import (
    FAILED_ONCE,
    FAILS,
    REFUSED_BY_DESIGN,
    Reading,
    Shape,
    is_bounded,
    shapes,
)
from ucop.agents.errors import InvalidDefinition
from ucop.agents.models.models import Models
from ucop.agents.run.context import AgentContext
from ucop.agents.spec.function import agent
from ucop.agents.spec.registry import Registry
from ucop.agents.text.source import read_yaml
from ucop.graphs.nodes.context import RunContext
from ucop.graphs.workflows.yaml_file import workflow_of
from ucop.graphs.workflows.yaml_workflow import YamlWorkflow

EXAMPLES = int(os.environ.get("UCOP_EXAMPLES", "40"))


class Witness:
    """Runs a shape and writes down every run of a node, by its key."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.keys: dict[str, list[str]] = {node: [] for node in shape.nodes}
        self.began = 0
        self.ended: dict[str, str] = {}
        self.calls: Counter[str] = Counter()
        registry = Registry.of(self._step())

        def inner(name: str) -> YamlWorkflow:
            return workflow_of(read_yaml(shape.inner(name), f"{name}.yaml"), registry)

        document = read_yaml(shape.text(), "random.yaml")
        self.workflow: YamlWorkflow = workflow_of(document, registry, inner)

    def _step(self) -> Any:
        @agent("step")
        async def step(context: AgentContext) -> int:
            keys = self.keys[context.node]
            if context.key not in keys:
                keys.append(context.key)
            self.began += 1
            self.calls[context.key] += 1
            await asyncio.sleep(0)
            answers = self.shape.answers[context.node]
            self.ended.pop(context.key, None)
            self.ended[context.key] = context.node
            answer = answers[keys.index(context.key) % len(answers)]
            if answer == FAILS:
                raise ValueError(f"{context.node} fails")
            return answer

        return step

    async def run(self, path: Path, kills: Sequence[int]) -> None:
        for kill in kills:
            async with saver_at(path) as saver:
                await self._until(self.began + kill, self._go(saver))
        async with saver_at(path) as saver:
            await self._go(saver)

    async def _go(self, saver: Any) -> None:
        graph = self.workflow.graph().copy({"checkpointer": saver})
        config: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": 10_000}
        begun = await saver.aget_tuple(config) is not None
        context = RunContext(job_id="job", models=Models(embedded=False), folder=Path())
        async for _ in graph.astream(
            None if begun else self.workflow.start({}),
            config,
            context=context,
            durability="sync",
        ):
            pass

    async def _until(self, began: int, work: Any) -> None:
        """Cancel the work once so many calls began, as if the process had been killed."""
        running = asyncio.ensure_future(work)
        while self.began < began and not running.done():
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(shape=shapes(), kills=st.lists(st.integers(0, 12), max_size=2))
@example(shape=FAILED_ONCE[0], kills=[])
@example(shape=FAILED_ONCE[0], kills=[2, 1])
@example(shape=FAILED_ONCE[1], kills=[])
@example(shape=FAILED_ONCE[1], kills=[3, 1])
def test_given_any_graph_then_every_node_runs_as_often_as_its_definition_says(
    shape: Shape, kills: list[int]
) -> None:
    assume(is_bounded(shape))
    note(shape.text())
    try:
        witness = Witness(shape)
    except InvalidDefinition as error:
        assume(not {finding.code for finding in error.findings} <= REFUSED_BY_DESIGN)
        raise
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(witness.run(Path(folder) / "s.db", kills))
    reading = Reading(shape)
    for node in witness.ended.values():
        reading.ran(node)
    assert reading.left() == [], f"never ran: {reading.left()}"
