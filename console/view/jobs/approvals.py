"""Questions of LangChain's `HumanInTheLoopMiddleware`: tool calls that a person decides on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Approval:
    """What is asked: these calls, and what may be decided of each."""

    calls: tuple[str, ...]
    decisions: tuple[str, ...]
    """The types of decision that every call allows."""
    batched: bool
    """Whether one answer decides on all calls."""

    @property
    def text(self) -> str:
        """The question as a person reads it."""
        choice = f" ({', '.join(self.decisions)})" if self.decisions else ""
        return f"may the agent call {'; '.join(self.calls)}?{choice}"

    @property
    def example(self) -> str:
        """An answer, as JSON."""
        decision = {"type": self.decisions[0] if self.decisions else "approve"}
        whole = {"decisions": [decision] * len(self.calls)} if self.batched else decision
        return json.dumps(whole)


def approval_of(question: Any) -> Approval | None:
    """What a question asks to approve; None if it asks something else."""
    if not isinstance(question, Mapping):
        return None
    if question.get("type") == "tool_approval" and "name" in question:
        # Which decisions are allowed, its schema says.
        return Approval(calls=(_call(question),), decisions=(), batched=False)
    requests, configs = question.get("action_requests"), question.get("review_configs")
    if not isinstance(requests, list) or not isinstance(configs, list):
        return None
    if not requests or not all(isinstance(each, Mapping) for each in [*requests, *configs]):
        return None
    allowed = [each.get("allowed_decisions") for each in configs]
    kinds = [tuple(each) for each in allowed if isinstance(each, list)]
    shared = [kind for kind in kinds[0] if all(kind in each for each in kinds)] if kinds else []
    return Approval(
        calls=tuple(_call(each) for each in requests), decisions=tuple(shared), batched=True
    )


def _call(request: Mapping[str, Any]) -> str:
    args = request.get("args")
    given = args.items() if isinstance(args, Mapping) else ()
    told = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given]
    return f"{request.get('name')}({', '.join(told)})"
