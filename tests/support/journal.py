"""What a journal is told, and knows of a workflow."""

from __future__ import annotations

from typing import Any


def as_task(id: str, node: str, input: Any = None) -> dict[str, Any]:
    """A task as LangGraph's stream tells of it."""
    return {"id": id, "name": node, "input": input}


class Nodes:
    """Of a workflow whose compiler made some for itself."""

    nested = True

    def hides(self, name: str, /) -> bool:
        return name.startswith("_own")

    def caught(self, node: str, writes: Any, /) -> None:
        return None
