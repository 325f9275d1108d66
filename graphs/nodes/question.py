"""A node that asks a person and holds the run until there is an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.types import interrupt

from ucop.agents.text.duration import seconds_of
from ucop.agents.text.schema import with_defaults
from ucop.agents.text.validation import validate
from ucop.agents.text.whole_numbers import with_whole_numbers

from ..errors import WorkflowError
from ..language.definition import AnswerDeadline
from ..types.state import normalise
from .work import Turn, Work

WITHIN = "x-within"
"""The keyword of a `response_schema` that says how long its question waits: seconds, or a time
such as `2d`. Then the schema's `default` is the answer; without one the job fails."""


@dataclass(frozen=True)
class Question(Work):
    """Asks with LangGraph's `interrupt`; what the answer must look like goes along."""

    answer: Mapping[str, Any]
    """JSON Schema of the answer."""
    deadline: AnswerDeadline | None = None

    async def run(self, data: Any, turn: Turn) -> Any:
        given = interrupt(data, response_schema=self._schema())
        # Who resumes with LangGraph alone has not checked it.
        answer = with_defaults(self.answer, given)
        if problems := validate(self.answer, answer):
            listed = "; ".join(str(problem) for problem in problems)
            raise WorkflowError(f"node {turn.node}: the answer does not fit: {listed}")
        return normalise(answer, self.answer, f"node {turn.node}")

    def _schema(self) -> dict[str, Any]:
        """The schema, and how long the question waits, as a graph of Python says it too."""
        if self.deadline is None:
            return dict(self.answer)
        default = {} if self.deadline.fails else {"default": self.deadline.default}
        return {**self.answer, WITHIN: self.deadline.within, **default}


def deadline_of(schema: Mapping[str, Any], node: str) -> AnswerDeadline | None:
    """How long a question waits, by the schema that it was asked with. Raises WorkflowError."""
    if WITHIN not in schema:
        return None
    within = seconds_of(schema[WITHIN])
    if within is None:
        raise WorkflowError(
            f"node {node}: {WITHIN} must be a time such as 30m or 2d, not {schema[WITHIN]!r}"
        )
    if "default" not in schema:
        return AnswerDeadline(within=within)
    if problems := validate(schema, schema["default"]):
        listed = "; ".join(str(problem) for problem in problems)
        raise WorkflowError(f"node {node}: the default does not fit the answer: {listed}")
    default = with_whole_numbers(schema, schema["default"])
    return AnswerDeadline(within=within, default=default)
