"""Where LangGraph keeps what belongs to a run, in the config that it gives to nodes."""

from __future__ import annotations

from .wanted import wanted

with wanted("runs nodes"):
    from langgraph._internal._constants import (
        CONF,
        CONFIG_KEY_CHECKPOINT_NS,
        CONFIG_KEY_CHECKPOINTER,
        CONFIG_KEY_RUNTIME,
        CONFIG_KEY_SCRATCHPAD,
        NS_SEP,
    )

__all__ = [
    "CONF",
    "CONFIG_KEY_CHECKPOINTER",
    "CONFIG_KEY_CHECKPOINT_NS",
    "CONFIG_KEY_RUNTIME",
    "CONFIG_KEY_SCRATCHPAD",
    "NS_SEP",
]
