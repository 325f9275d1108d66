"""A node with `cache`: the answer that an agent gave to the same inputs before, while it is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .work import AgentWork, Turn, Work

if TYPE_CHECKING:
    from .context import RunContext


@dataclass(frozen=True)
class CachedWork(Work):
    """Calls an agent, unless its answer to these inputs is kept. Errors are not kept."""

    work: AgentWork
    seconds: float
    """How long an answer is kept."""

    async def run(self, data: Any, turn: Turn) -> Any:
        context = turn.runtime.context
        if context.answers is None:
            return await self.work.run(data, turn)
        key = self._key(data, context)
        if (text := await context.answers.find(key)) is not None:
            context.cached(turn.task_id)
            return json.loads(text)
        answer = await self.work.run(data, turn)
        await context.answers.keep(key, json.dumps(answer, ensure_ascii=False), self.seconds)
        return answer

    def _key(self, data: Any, context: RunContext) -> str:
        """Of all that shapes the answer: the agent, the models that its name stands for in this
        project, and the inputs. Whoever writes under a key writes what this agent answered, so
        a worker that was declared lost does no harm."""
        agent = self.work.agent
        asked = [] if agent.spec is None else context.models.candidates(agent.spec.model)
        shape = {"agent": agent.fingerprint, "models": asked, "input": data}
        if context.production:  # what development let through was not looked at
            shape["production"] = True
        text = json.dumps(shape, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
