"""Compiling a project's StateGraph, which it may have compiled before."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from .wanted import wanted

if TYPE_CHECKING:
    from langgraph.graph import StateGraph
    from langgraph.graph.state import CompiledStateGraph

with wanted("compiles graphs again"):
    # LangGraph's node for `set_node_defaults(error_handler=…)`.
    from langgraph.graph.state import _DEFAULT_ERROR_HANDLER_NODE as DEFAULT_HANDLER


def compile_again(
    builder: StateGraph[Any, Any, Any, Any], **terms: Any
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The graph, compiled as if for the first time. LangGraph's `compile` adds its node for the
    default error handler to the builder, and refuses a builder that has one already."""
    fresh = copy.copy(builder)
    fresh.nodes = {name: node for name, node in builder.nodes.items() if name != DEFAULT_HANDLER}
    return fresh.compile(**terms)
