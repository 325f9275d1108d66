"""What the names in an agent's `tools` mean: tools, other agents and servers of MCP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..finding import Finding
from ..text.nearest import did_you_mean, nearest
from .agent import Agent, Bound
from .mcp import McpTools
from .mcp_server import McpServer
from .tool import MARK_IT, MCP, Tool


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
            meant = did_you_mean(name, known) or MARK_IT
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
        self.findings.append(Finding.error("tool", told, agent.position))
        return None


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
