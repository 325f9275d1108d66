"""A small chat model inside ucop, behind an Ollama-compatible endpoint on loopback."""

from .process import EmbeddedModel
from .weights import EMBEDDED_MODEL

__all__ = ["EMBEDDED_MODEL", "EmbeddedModel"]
