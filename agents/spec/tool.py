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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..finding import Finding, Position
from ..text.source import nearest
from .mcp import McpServer, McpTools
from .spec import Agent

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


Bound = Tool | Agent | McpTools
"""What a name in an agent's `tools` means."""


def tool_of(value: Any, module: str) -> Tool | None:
    """The tool that a value of `module` is; None for anything else."""
    # Who has not imported LangChain's tools has none, and shall not wait for their import.
    base = sys.modules.get(_BASE)
    if base is None or not isinstance(value, base.BaseTool):
        return None
    function = _function(value)
    if function is None:
        return Tool(name=value.name, body=value, origin=module)
    code = inspect.unwrap(function).__code__
    position = Position(code.co_filename, code.co_firstlineno, 1)
    origin = f"{Path(position.file).name}:{position.line}"
    return Tool(name=value.name, body=value, origin=origin, position=position)


def _function(tool: BaseTool) -> Any:
    """The Python function of a tool, where it is one."""
    found = getattr(tool, "coroutine", None) or getattr(tool, "func", None)
    return found if inspect.isfunction(found) else None


class Binder:
    """Binds agents to what their `tools` name. Agents are looked for in `agents`."""

    def __init__(
        self,
        agents: Mapping[str, Agent],
        tools: Mapping[str, Tool],
        servers: Mapping[str, McpServer],
    ) -> None:
        self._agents, self._tools, self._servers = agents, tools, servers
        self._done: dict[str, Agent] = {}
        self._inside: list[str] = []
        self.findings: list[Finding] = []

    def bind(self, agent: Agent) -> Agent:
        """The agent with its tools; what cannot be found is a finding."""
        spec = agent.spec
        if spec is None or not spec.tools or agent.tools:
            return agent
        if self._agents.get(agent.name) is agent and agent.name in self._done:
            return self._done[agent.name]
        self._inside.append(agent.name)
        found = {name: self._find(name, agent) for name in spec.tools}
        self._inside.pop()
        tools = {name: bound for name, bound in found.items() if bound is not None}
        made = replace(agent, tools=tools)
        self._done[agent.name] = made
        return made

    def _find(self, name: str, agent: Agent) -> Bound | None:
        if name.startswith(MCP):
            return self._find_server(name, agent)
        if name in self._tools:
            return self._tools[name]
        if name not in self._agents:
            known = [*self._tools, *self._agents, *(f"{MCP}{server}" for server in self._servers)]
            near = nearest(name, known)
            meant = f"did you mean {near!r}?" if near else MARK_IT
            return self._missing(agent, f"there is no tool or agent named {name!r}; {meant}")
        if name in self._inside:
            way = " -> ".join((*self._inside[self._inside.index(name) :], name))
            return self._missing(agent, f"its tools lead back to itself: {way}")
        return self.bind(self._agents[name])

    def _find_server(self, name: str, agent: Agent) -> McpTools | None:
        server, _, only = name.removeprefix(MCP).partition("/")
        if server in self._servers:
            return McpTools(server=server, settings=self._servers[server], only=only or None)
        near = nearest(server, self._servers)
        meant = f"did you mean {MCP}{near}?" if near else f"declare [mcp.{server}] in its settings"
        self._missing(agent, f"the project has no MCP server {server!r}; {meant}")
        return None

    def _missing(self, agent: Agent, message: str) -> Bound | None:
        told = f"agent {agent.name!r}: {message}"
        self.findings.append(
            Finding(severity="error", message=told, position=agent.position, code="tool")
        )
        return None


MARK_IT = "mark a function with LangChain's @tool in a module that the setting `agents` names"


def agents_inside(agents: Iterable[Agent]) -> Iterator[Agent]:
    """The agents, and those that are tools of them, however deep; each once."""
    waiting, seen = list(agents), set[int]()
    for agent in waiting:
        if id(agent) not in seen:
            seen.add(id(agent))
            yield agent
            waiting += [bound for bound in agent.tools.values() if isinstance(bound, Agent)]


def needs_of(agents: Iterable[Agent]) -> list[str]:
    """What only this project can supply for the agents: `agent:…`, `tool:…`, `mcp:…`."""
    needs: list[str] = []
    for agent in agents_inside(agents):
        if agent.spec is None and not agent.bundled:
            needs.append(f"agent:{agent.name}")
        for bound in agent.tools.values():
            if isinstance(bound, Tool):
                needs.append(f"tool:{bound.name}")
            elif isinstance(bound, McpTools):
                needs.append(f"{MCP}{bound.server}")
    return list(dict.fromkeys(needs))
