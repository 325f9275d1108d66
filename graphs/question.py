"""A node that asks a person and holds the run until there is an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.types import interrupt

from ucop.agents.schema import validate, with_defaults
from ucop.graphs.errors import WorkflowError
from ucop.graphs.state import normalise
from ucop.graphs.work import Turn, Work


@dataclass(frozen=True)
class Question(Work):
    """Asks with LangGraph's `interrupt`; what the answer must look like goes along."""

    answer: Mapping[str, Any]
    """JSON Schema of the answer."""

    async def run(self, data: Any, turn: Turn) -> Any:
        given = interrupt(data, response_schema=dict(self.answer))
        # Who resumes with LangGraph alone has not checked it.
        answer = with_defaults(self.answer, given)
        if problems := validate(self.answer, answer):
            listed = "; ".join(str(problem) for problem in problems)
            raise WorkflowError(f"node {turn.node}: the answer does not fit: {listed}")
        return normalise(answer, self.answer, f"node {turn.node}")
