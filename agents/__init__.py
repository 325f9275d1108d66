"""Agents: what they are, where they are found, and one call of one of them.

Everything here is imported when it is first used, so that naming a part of this package
costs only that part.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ucop.agents.alone import Ran, run_alone
    from ucop.agents.errors import (
        AgentInputError,
        AgentOutputError,
        DoublesRefused,
        InvalidDefinition,
        ModelError,
        ModelResponseError,
        ModelTimeout,
        ModelUnavailable,
        ToolUnavailable,
        UcopError,
        UnknownAgent,
        UnknownMerge,
    )
    from ucop.agents.function import agent
    from ucop.agents.merging import merge
    from ucop.agents.models import ModelFallback, Models
    from ucop.agents.provider import ProviderSettings
    from ucop.agents.registry import Registry, load_registry
    from ucop.agents.run import AgentContext, call
    from ucop.agents.serving import ModelUse
    from ucop.agents.source import Finding, Position
    from ucop.agents.spec import Agent, AgentSpec

__all__ = [
    "Agent",
    "AgentContext",
    "AgentInputError",
    "AgentOutputError",
    "AgentSpec",
    "DoublesRefused",
    "Finding",
    "InvalidDefinition",
    "ModelError",
    "ModelFallback",
    "ModelResponseError",
    "ModelTimeout",
    "ModelUnavailable",
    "ModelUse",
    "Models",
    "Position",
    "ProviderSettings",
    "Ran",
    "Registry",
    "ToolUnavailable",
    "UcopError",
    "UnknownAgent",
    "UnknownMerge",
    "agent",
    "call",
    "load_registry",
    "merge",
    "run_alone",
]

_HOME = {
    "Agent": "spec",
    "AgentContext": "run",
    "AgentSpec": "spec",
    "Finding": "source",
    "ModelFallback": "models",
    "ModelUse": "serving",
    "Models": "models",
    "Position": "source",
    "ProviderSettings": "provider",
    "Ran": "alone",
    "Registry": "registry",
    "agent": "function",
    "call": "run",
    "load_registry": "registry",
    "merge": "merging",
    "run_alone": "alone",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
