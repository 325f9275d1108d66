"""What a factory of graphs is given as its `runtime`, as LangGraph's server gives it."""

from __future__ import annotations

from .wanted import wanted

with wanted("calls factories of graphs", "langgraph-sdk 0.4"):
    from langgraph_sdk.runtime import _ExecutionRuntime as ExecutionRuntime
    from langgraph_sdk.runtime import _ReadRuntime as ReadRuntime

__all__ = ["ExecutionRuntime", "ReadRuntime"]
