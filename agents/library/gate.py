"""`text_reviewer` and `gatekeeper`: the score of a gate, and what it makes of its verdict."""

from __future__ import annotations

from pydantic import BaseModel

from ..errors import AgentOutputError
from ..run.context import AgentContext
from ..run.model_agent import ask
from ..spec.function import agent
from .specs import bundled_spec

READ_EMBEDDED = 6000
"""Characters of a text that fit into the small embedded model's window."""


class Score(BaseModel):
    """A reviewer's opinion."""

    comments: str
    score: int


class Outcome(BaseModel):
    """Whether a gate is open."""

    passed: bool


@agent(capabilities=["review"], category="checks")
async def text_reviewer(text: str, context: AgentContext) -> Score:
    """Review a text of any length.

    The small embedded model reads how a long text begins.
    """
    spec = bundled_spec("reviewer")
    use = await context.models.resolve(spec.model)
    read = text[:READ_EMBEDDED] if use.embedded else text
    answer = await ask(spec, {"article": read}, context=context)
    return Score(**answer)


@agent(capabilities=["gate"], category="checks")
def gatekeeper(
    passed: bool, context: AgentContext, must_pass: bool = False, remarks: str | None = None
) -> Outcome:
    """Let a job end with what it found, or fail where it must pass and did not."""
    if must_pass and not passed:
        why = f" ({remarks.rstrip('.')})" if remarks else ""
        raise AgentOutputError(
            f"node {context.node!r} of job {context.job_id}: the checks did not pass{why}. "
            "The steps of the job hold what was tried; without `must_pass` it is the job's output."
        )
    return Outcome(passed=passed)
