"""A small chat model inside ucop, behind an Ollama-compatible endpoint on loopback."""

from ucop.agents.embedded.process import EmbeddedModel
from ucop.agents.embedded.weights import EMBEDDED_MODEL

__all__ = ["EMBEDDED_MODEL", "EmbeddedModel"]
