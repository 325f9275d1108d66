"""What a run gives to the nodes of a workflow: LangGraph's run context, one object an attempt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ucop.agents.memory.memory import Memory, NoMemory

if TYPE_CHECKING:
    from ucop.agents.models.answer_cache import KeptAnswers
    from ucop.agents.models.models import Models

    from .mesh_rules import Calls


def _ignore(*news: Any) -> None:
    """Stands for a listener if nobody listens."""


async def _begin_at_once() -> None:
    """Nothing waits to be saved."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Passed as `graph.astream(…, context=RunContext(…))`."""

    job_id: str
    given: Mapping[str, Any] | None = None
    """The context that the run was given, for Python graphs inside; secrets resolved."""
    models: Models
    folder: Path
    """The project's folder, from which file agents read and where they write."""
    production: bool = False
    """Whether an agent's output that is a placeholder is refused."""
    progress: Callable[[str, str], None] = field(default=_ignore)
    """Called with a node's name and one line on what it does."""
    retried: Callable[[str, str, int, BaseException | None], None] = field(default=_ignore)
    """Called when a node's call is tried again: its task, its name, which try begins, and what
    the last one raised, None if it was stopped because its time was over."""
    raised: dict[str, BaseException] = field(default_factory=dict)
    """What the last try of a call raised, by `Turn.key`, while it may be tried again."""
    memory: Memory = field(default_factory=NoMemory)
    """What agents remember beyond the job."""
    answers: KeptAnswers | None = None
    """Where answers of nodes with `cache` are kept; without it they are not."""
    cached: Callable[[str], None] = field(default=_ignore)
    """Called with the node's task id for each answer that came from there."""
    room: Callable[[], Awaitable[None]] = field(default=_begin_at_once)
    """Awaited before an item of a fan-out begins: it waits while many that ended are not saved."""
    attempt: int = 1
    """Which run of the job this is."""
    calls: Calls | None = None
    """Where it is kept how the agents of meshes fare; without it all count as healthy and idle."""
    hopped: Callable[[str, str, Mapping[str, Any]], None] = field(default=_ignore)
    """Called with the node of a mesh (empty if the workflow is one), `asked`, `answered`,
    `failed` or `stopped`, and what there is to tell of a hop."""
