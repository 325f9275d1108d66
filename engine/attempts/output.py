"""What a graph gives in the end, out of all that its state holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.channels.untracked_value import UntrackedValue


def output_of(graph: Any, values: Any) -> Any:
    """The values of the output's schema, as LangGraph's `invoke` returns them, but for those that
    the graph does not keep. `values` are the last part of a stream that shows the whole state."""
    names = graph.output_channels
    if not isinstance(values, Mapping):
        return values
    if isinstance(names, str):
        return values if graph.stream_channels_asis == names else values.get(names)
    kept = [name for name in names if not isinstance(graph.channels.get(name), UntrackedValue)]
    return {name: values[name] for name in kept if name in values}
