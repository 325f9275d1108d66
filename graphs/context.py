"""What a run gives to the nodes of a workflow: LangGraph's run context, one object an attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ucop.agents.models import Models
    from ucop.graphs.cache import Answers


def _silent(node: str, text: str) -> None:
    """Progress that nobody listens to."""


def _uncounted(task_id: str) -> None:
    """Cached answers that nobody counts."""


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """Passed as `graph.astream(…, context=RunContext(…))`."""

    job_id: str
    models: Models
    folder: Path
    """The project's folder, from which file agents read and where they write."""
    progress: Callable[[str, str], None] = field(default=_silent)
    """Called with a node's name and one line on what it does."""
    answers: Answers | None = None
    """Where answers of nodes with `cache` are kept; without it they are not."""
    cached: Callable[[str], None] = field(default=_uncounted)
    """Called with the node's task id for each answer that came from there."""
