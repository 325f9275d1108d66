"""What kinds of nodes there are, and how a node says which it is.

Read from a node as the language writes it (`dump.py`), which is what a job keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any


class NodeKind(Enum):
    """Who does a node's work. The value is the node's key in the language."""

    agent = "agent"
    workflow = "workflow"
    ask = "ask"
    mesh = "mesh"
    python = "python"
    """A function of a Python graph; the language has no such key."""


def kind_of(said: Mapping[str, Any]) -> NodeKind:
    """The kind of a node as the language writes it."""
    return next((kind for kind in NodeKind if kind.value in said), NodeKind.agent)


def work_of(said: Mapping[str, Any]) -> str:
    """Who does the work, in a few words: `agent reviewer`, `asks “Publish?”`."""
    kind = kind_of(said)
    named = said.get(kind.value)
    if isinstance(named, Mapping) and kind is NodeKind.mesh:
        return f"mesh of {', '.join(map(_called_name, named.get('agents', ())))}"
    if kind is NodeKind.ask:
        return f"asks “{' '.join(str(named).split())}”"
    if isinstance(named, Mapping):
        return f"{kind.value} that can {named.get('capability', 'do it')}"
    return f"{kind.value} {named}"


def _called_name(agent: Any) -> str:
    return str(agent["capability"]) if isinstance(agent, Mapping) else str(agent)
