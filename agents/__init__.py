"""Agents: what they are, where they are found, and one call of one of them.

Everything here is imported when it is first used, so that naming a part of this package
costs only that part.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import (
        AgentInputError,
        AgentOutputError,
        DoublesRefused,
        InterceptorMisused,
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
    from .finding import Finding, Position
    from .models.fallback import ModelFallback
    from .models.interceptor import AgentRun, Interceptor, ModelRun, NodeRun
    from .models.models import Models
    from .models.provider import ModelUse
    from .providers.settings import ProviderSettings
    from .run.alone import Ran, run_alone
    from .run.context import AgentContext
    from .run.run import call
    from .spec.agent import Agent
    from .spec.function import agent
    from .spec.merging import merge
    from .spec.registry import Registry, load_registry
    from .spec.spec import AgentSpec

__all__ = [
    "Agent",
    "AgentContext",
    "AgentInputError",
    "AgentOutputError",
    "AgentRun",
    "AgentSpec",
    "DoublesRefused",
    "Finding",
    "Interceptor",
    "InterceptorMisused",
    "InvalidDefinition",
    "ModelError",
    "ModelFallback",
    "ModelResponseError",
    "ModelRun",
    "ModelTimeout",
    "ModelUnavailable",
    "ModelUse",
    "Models",
    "NodeRun",
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
    "Agent": "spec.agent",
    "AgentContext": "run.context",
    "AgentRun": "models.interceptor",
    "AgentSpec": "spec.spec",
    "Finding": "finding",
    "Interceptor": "models.interceptor",
    "ModelFallback": "models.fallback",
    "ModelRun": "models.interceptor",
    "ModelUse": "models.provider",
    "Models": "models.models",
    "NodeRun": "models.interceptor",
    "Position": "finding",
    "ProviderSettings": "providers.settings",
    "Ran": "run.alone",
    "Registry": "spec.registry",
    "agent": "spec.function",
    "call": "run.run",
    "load_registry": "spec.registry",
    "merge": "spec.merging",
    "run_alone": "run.alone",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return __all__
