"""Who hears what becomes of an attempt's nodes, and what knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .notes import Writes


class Observer:
    """Hears of what a journal is told. This one does nothing; see attempts/flushing.py."""

    def begins(self, node: str) -> None:
        """A node is about to begin. What this raises ends the attempt."""

    def noted(self) -> None:
        """Notes wait. On the engine's loop."""

    def committed(self) -> None:
        """Events were committed. On the engine's loop."""


class Nodes(Protocol):
    """The nodes of a workflow, as `ucop.graphs.workflow.Workflow` knows them."""

    @property
    def nested(self) -> bool:
        """Whether what runs inside nodes is told as steps."""

    def hides(self, name: str, /) -> bool:
        """Whether the compiler made this node, or channel, for itself."""

    def caught(self, node: str, writes: Writes, /) -> Mapping[str, Any] | None:
        """The error that a node wrote in place of raising it."""
