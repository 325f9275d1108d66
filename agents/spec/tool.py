"""What an agent's `tools:` name: tools of the project, other agents, servers of MCP.

A tool of the project is any tool object of LangChain in a module that the setting `agents`
names, such as a function under LangChain's `@tool`. Only names stand in a spec, so a workflow
file can neither import code nor start a program.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..finding import Position
from .function_body import origin_of, position_of

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

MCP = "mcp:"

_BASE = "langchain_core.tools.base"


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A tool object of LangChain that the project has."""

    name: str
    body: BaseTool
    origin: str
    position: Position | None = None

    @property
    def description(self) -> str:
        return self.body.description

    @property
    def fingerprint(self) -> str:
        """Changes when its source, or what the model is told of it, changes."""
        told = {"name": self.name, "description": self.description, "source": self._source}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def _source(self) -> str:
        function = _function(self.body)
        try:
            return inspect.getsource(function or type(self.body))
        except (OSError, TypeError):
            return type(self.body).__qualname__


def tool_of(value: Any, module: str) -> Tool | None:
    """The tool that a value of `module` is; None for anything else."""
    # Who has not imported LangChain's tools has none, and shall not wait for their import.
    base = sys.modules.get(_BASE)
    if base is None or not isinstance(value, base.BaseTool):
        return None
    function = _function(value)
    if function is None:
        return Tool(name=value.name, body=value, origin=module)
    return Tool(
        name=value.name,
        body=value,
        origin=origin_of(function),
        position=position_of(function),
    )


def _function(tool: BaseTool) -> Any:
    """The Python function of a tool, where it is one."""
    found = getattr(tool, "coroutine", None) or getattr(tool, "func", None)
    return found if inspect.isfunction(found) else None


MARK_IT = "mark a function with LangChain's @tool in a module that the setting `agents` names"
