"""What a graph gives in the end, out of all that its state holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def output_of(graph: Any, values: Any) -> Any:
    """The values of the output's schema, as LangGraph's `invoke` returns them. `values` are the
    last part of a stream that shows the whole state."""
    names = graph.output_channels
    if graph.stream_channels_asis == names or not isinstance(values, Mapping):
        return values
    if isinstance(names, str):
        return values.get(names)
    return {name: values[name] for name in names if name in values}
