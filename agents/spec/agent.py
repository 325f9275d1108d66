"""Agents: one class for those of YAML and those of Python."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

from ..finding import Position
from ..text.validation import Schema
from .spec import AgentSpec, without_references

if TYPE_CHECKING:
    from .function_body import FunctionBody
    from .mcp import McpTools
    from .tool import Tool


Bound: TypeAlias = "Tool | Agent | McpTools"
"""What a name in an agent's `tools` means."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """One agent, whatever its body: what the registry holds and workflows bind."""

    name: str
    description: str
    capabilities: tuple[str, ...]
    category: str | None
    body: AgentSpec | FunctionBody
    origin: str
    """Where it was defined: `library/researcher.yaml`, `agents.py:12`, …"""
    asks: tuple[str, ...] = ()
    """Capabilities of others that it may ask for in a mesh."""
    bundled: bool = False
    """Whether it comes with ucop, and so exists in every project."""
    position: Position | None = None
    """Where it was defined, for messages about it; None if no file of the project says."""
    tools: Mapping[str, Bound] = field(default_factory=dict, repr=False)
    """What the names in its spec's `tools` mean, once a registry has found them."""

    @property
    def spec(self) -> AgentSpec | None:
        """The YAML spec; None for a Python function."""
        return self.body if isinstance(self.body, AgentSpec) else None

    @cached_property
    def input_schema(self) -> Schema:
        return self.body.input_schema

    @cached_property
    def output_schema(self) -> Schema | None:
        """The output's schema as far as it is known before a call; None for plain text.

        Keywords that refer to an input are left out here.
        """
        declared = self.body.output_schema
        return None if declared is None else without_references(declared)

    @cached_property
    def fingerprint(self) -> str:
        """Changes when what the agent does may have changed."""
        text = json.dumps(self._essence(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _essence(self) -> dict[str, Any]:
        if isinstance(self.body, AgentSpec):
            shown = {"description", "capabilities", "category", "cache"}
            own = self.body.model_dump(mode="json", exclude=shown)
            return {**own, "tools": {name: _print(bound) for name, bound in self.tools.items()}}
        return {"name": self.name, "source": self.body.source}


def _print(bound: Bound) -> str:
    return getattr(bound, "fingerprint", "")  # of a server only its name is known


def spec_agent(
    spec: AgentSpec, origin: str, *, bundled: bool = False, position: Position | None = None
) -> Agent:
    """The agent that a spec describes."""
    return Agent(
        name=spec.name,
        description=spec.description,
        capabilities=tuple(spec.capabilities),
        asks=tuple(spec.asks),
        category=spec.category,
        body=spec,
        origin=origin,
        bundled=bundled,
        position=position,
    )
