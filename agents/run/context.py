"""What an agent is called with beside its input, and what a function may ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NobodyToAsk
from ..memory.memory import Memory, NoMemory
from ..text.validation import Problem
from .answered import Answered, answer_to

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from pydantic_core import CoreSchema

    from ..models.models import Models


SHOWN_PROBLEMS = 5


def no_progress(text: str) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, kw_only=True)
class AgentContext:
    """What an agent may know about the call, and may use."""

    job_id: str
    """Of an agent that runs alone, an id that no job has."""
    node: str
    """The workflow's node that calls; empty if the agent runs alone."""
    key: str
    """The same over all attempts at this call, and different for every other call: an agent
    that acts on the world uses it to act once."""
    models: Models
    folder: Path
    """The project's folder: relative paths of files start here."""
    given: Mapping[str, Any] | None = None
    """The context that the run was given (`ucop run --context`); None if it was given none."""
    production: bool = False
    """Whether an output that is a placeholder is refused."""
    progress: Callable[[str], None] = no_progress
    """Tells people who watch the job what is being done."""
    memory: Memory = field(default_factory=NoMemory)
    """What this agent remembers beyond the job; `memory.shared` is that of all agents,
    `memory.documents()` an ingested folder."""
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("ucop.agent"))
    answered: Sequence[Answered] | None = None
    """In a mesh: what it asked for and was given so far. None if nobody can be asked."""

    _loop: asyncio.AbstractEventLoop | None = None
    """The event loop, for a function that runs outside of it."""

    def ask(self, capability: str, data: Mapping[str, Any] | None = None) -> Any:
        """What another agent of the mesh, which declares the capability, answers to `data`.

        Where that is not known yet, the call ends here and the agent is called again, from its
        beginning, with the answer; so ask before doing what must not be done twice. The same
        question is asked once. Raises NobodyToAsk outside a mesh.
        """
        if self.answered is None:
            raise NobodyToAsk(
                f"{where(self)} asks for {capability!r}, and is not called in a mesh; call the "
                "agent at a node with `mesh`, or by `ucop mesh run`"
            )
        return answer_to(capability, data, self.answered, where(self))

    def for_agent(self, name: str) -> AgentContext:
        """This context with the memory and the logger of one agent."""
        memory, logger = self.memory.of("agents", name), self.logger.getChild(name)
        return replace(self, memory=memory, logger=logger)

    def model(
        self,
        name: str | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> BaseChatModel:
        """A chat model of LangChain by `provider:model` or alias, with retries and its chain.

        `options` are Ollama's; `schema` is the form of its answers. An async function awaits
        its `ainvoke`, a sync one calls its `invoke`. Calls are counted and ask the budget.
        """
        from ..models.chat import ModelChat

        return ModelChat(
            self.models,
            loop=self._loop,
            name_asked=name,
            options=dict(options or {}),
            answer_schema=schema,
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        """A tool of LangChain takes it as `ToolRuntime[AgentContext]`; pydantic asks no more of it
        than to be one."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(cls)


def does_not_fit(what: str, name: str, context: AgentContext, problems: list[Problem]) -> str:
    listed = "; ".join(str(problem) for problem in problems[:SHOWN_PROBLEMS])
    more = f"; and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
    schema = "ucop agents show " + name
    return (
        f"the {what} of agent {name!r}{where(context)} does not fit: {listed}{more}. "
        f"`{schema}` shows what is expected."
    )


def where(context: AgentContext) -> str:
    """Which node of which job calls, to follow the agent's name in a message."""
    return f" in node {context.node!r} of job {context.job_id}" if context.node else ""
