"""The bundled YAML agents that bundled functions ask."""

from __future__ import annotations

from functools import cache

from ucop.agents.spec import AgentSpec


@cache
def bundled_spec(name: str) -> AgentSpec:
    """The spec of `library/NAME.yaml`."""
    from ucop.agents.registry import LIBRARY
    from ucop.agents.spec_file import read_agent_file

    (agent,) = read_agent_file(LIBRARY / f"{name}.yaml", bundled=True)
    assert agent.spec is not None
    return agent.spec
