"""The bundled YAML agents that bundled functions ask."""

from __future__ import annotations

from functools import cache

from ..spec.spec import AgentSpec

WARMEST = 0.7
"""Above it the small embedded model loses the thread."""


@cache
def bundled_spec(name: str) -> AgentSpec:
    """The spec of `library/NAME.yaml`."""
    from ..spec.registry import LIBRARY
    from ..spec.spec_file import read_agent_file

    (agent,) = read_agent_file(LIBRARY / f"{name}.yaml", bundled=True)
    assert agent.spec is not None
    return agent.spec


def with_new_seed(spec: AgentSpec, round: int) -> AgentSpec:
    """The spec for another round of a loop: another seed and a little more warmth.

    Without it a model at temperature 0 writes in every round what it wrote in the first.
    """
    if round <= 0:
        return spec
    options = spec.options
    warmer = min(WARMEST, (options.temperature or 0.0) + 0.2 + 0.1 * round)
    # Repairs inside one round count up from its seed; rounds stay clear of them.
    seed = (options.seed or 0) + 100 * round
    return spec.model_copy(
        update={"options": options.model_copy(update={"seed": seed, "temperature": warmer})}
    )
