"""The agents that can be named: bundled ones, a project's own, and those of other packages.

A project's `@merge` functions and its tools are found with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ..errors import InvalidDefinition, UnknownAgent, UnknownMerge
from ..finding import Finding, Position
from ..text.nearest import did_you_mean
from .agent import Agent
from .binding import Binder
from .function import agent_of
from .mcp_server import McpServer
from .merging import MergeFunction, merge_of
from .module import load_module, place_of_failure
from .spec import AGENT_NAME
from .tool import Tool, tool_of

ENTRY_POINTS = "ucop.agents"
LIBRARY = Path(__file__).parents[1] / "library"

MARK_IT = "mark a function with @merge in a module that the setting `agents` names"

Named = Agent | MergeFunction | Tool
"""What Python of a project is found by its name."""

KINDS = {Agent: "agent", MergeFunction: "merge", Tool: "tool"}


class Registry:
    """Agents by name, merges, and tools. Immutable: `extended` gives a new one."""

    def __init__(
        self,
        agents: Mapping[str, Agent],
        merges: Mapping[str, MergeFunction] | None = None,
        tools: Mapping[str, Tool] | None = None,
        servers: Mapping[str, McpServer] | None = None,
    ) -> None:
        """Raises InvalidDefinition where an agent names tools that are not there."""
        self.merges: Mapping[str, MergeFunction] = MappingProxyType(dict(merges or {}))
        """The project's `@merge` functions by name."""
        self.tools: Mapping[str, Tool] = MappingProxyType(dict(tools or {}))
        """The project's tool objects of LangChain by name."""
        self.servers: Mapping[str, McpServer] = MappingProxyType(dict(servers or {}))
        """The project's MCP servers by name."""
        binder = Binder(agents, self.tools, self.servers)
        bound = {name: binder.bind(agent) for name, agent in agents.items()}
        if binder.findings:
            raise InvalidDefinition(tuple(dict.fromkeys(binder.findings)))
        self._agents = MappingProxyType(bound)

    @classmethod
    def of(cls, *agents: Any, servers: Mapping[str, McpServer] | None = None) -> Registry:
        """A registry of agents, of `@agent` and `@merge` functions, and of LangChain's tools.
        Raises InvalidDefinition for a clash."""
        found = _Found()
        for given in agents:
            made = _named(given)
            if made is None:
                raise TypeError(f"{given!r} is neither an Agent nor marked with @agent")
            found.add(made)
        return found.registry({}, servers)

    def get(self, name: str) -> Agent:
        """The agent of that name. Raises UnknownAgent, which names the nearest one."""
        try:
            return self._agents[name]
        except KeyError:
            raise UnknownAgent(self._unknown(name)) from None

    def merge(self, name: str) -> MergeFunction:
        """The merge of that name. Raises UnknownMerge, which names the nearest one."""
        try:
            return self.merges[name]
        except KeyError:
            meant = did_you_mean(name, self.merges) or MARK_IT
            raise UnknownMerge(f"there is no merge named {name!r}; {meant}") from None

    def find(self, *, capability: str | None = None, category: str | None = None) -> list[Agent]:
        """The agents that declare the capability and are of the category, by name."""
        return [
            agent
            for agent in self
            if capability in (None, *agent.capabilities) and category in (None, agent.category)
        ]

    def names(self) -> list[str]:
        return sorted(self._agents)

    def extended(self, agents: Iterable[Agent]) -> Registry:
        """This registry with `agents` added; they win over agents of the same name."""
        own = {agent.name: agent for agent in agents}
        return Registry({**self._agents, **own}, self.merges, self.tools, self.servers)

    def mistakes(self, agents: Iterable[Agent]) -> dict[str, list[Finding]]:
        """What is wrong with the tools of `agents`, by agent, were this extended by them."""
        own = {agent.name: agent for agent in agents}
        wrong: dict[str, list[Finding]] = {}
        for name, agent in own.items():
            binder = Binder({**self._agents, **own}, self.tools, self.servers)
            binder.bind(agent)
            if binder.findings:
                wrong[name] = binder.findings
        return wrong

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents[name] for name in self.names())

    def __len__(self) -> int:
        return len(self._agents)

    def __contains__(self, name: object) -> bool:
        return name in self._agents

    def __repr__(self) -> str:
        return f"Registry({', '.join(self.names())})"

    def _unknown(self, name: str) -> str:
        meant = did_you_mean(name, self._agents) or "`ucop agents list` shows all."
        return f"there is no agent named {name!r}; {meant}"


def load_registry(
    root: Path | None,
    patterns: Sequence[str] = (),
    *,
    bundled: bool = True,
    servers: Mapping[str, McpServer] | None = None,
) -> Registry:
    """The agents of a project.

    `patterns`, relative to `root`: YAML files (`agents/*.yaml`), and Python files or modules
    with `@agent` and `@merge` functions and tools of LangChain. `servers` are those of MCP by name. Entry points of the group `ucop.agents` follow. A project's agent
    takes the place of a bundled one of the same name, so that a new bundled agent breaks no
    project; any other clash is a mistake. Raises InvalidDefinition with every mistake found.
    """
    found = _Found()
    for pattern in patterns:
        for source in _sources(pattern, root or Path.cwd()):
            found.load(source)
    for entry_point in entry_points(group=ENTRY_POINTS):
        found.load(partial(_of_entry_point, entry_point))
    return found.registry(bundled_agents() if bundled else {}, servers)


@lru_cache(maxsize=1)
def bundled_agents() -> Mapping[str, Agent]:
    """The agents that come with ucop, by name."""
    found = _Found()
    for path in sorted(LIBRARY.glob("*.yaml")):
        found.add(*_of_yaml(path, bundled=True))
    for path in sorted(LIBRARY.glob("[!_]*.py")):
        module = import_module(f"..library.{path.stem}", __package__)
        agents = [named for named in _of_module(module) if isinstance(named, Agent)]
        found.add(*(replace(agent, bundled=True) for agent in agents))
    return MappingProxyType(found.agents)


class _Found:
    """Agents and merges as they are found, and what was wrong on the way."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.merges: dict[str, MergeFunction] = {}
        self.tools: dict[str, Tool] = {}
        self.findings: list[Finding] = []

    def load(self, source: Callable[[], Iterable[Named]]) -> None:
        try:
            self.add(*source())
        except InvalidDefinition as error:
            self.findings += error.findings

    def add(self, *named: Named) -> None:
        for each in named:
            if not isinstance(each, MergeFunction) and not AGENT_NAME.fullmatch(each.name):
                self.findings.append(_misnamed(each))
            first = self._first(each)
            if first is not each and first.body is not each.body:
                self.findings.append(_clash(first, each))

    def registry(
        self, below: Mapping[str, Agent], servers: Mapping[str, McpServer] | None = None
    ) -> Registry:
        if self.findings:
            raise InvalidDefinition(self.findings)
        return Registry({**below, **self.agents}, self.merges, self.tools, servers)

    def _first(self, named: Named) -> Named:
        """What has the name already; else this, from now on."""
        if isinstance(named, MergeFunction):
            return self.merges.setdefault(named.name, named)
        # An agent may be a tool of another: the two share their names.
        others: Mapping[str, Named] = self.tools if isinstance(named, Agent) else self.agents
        if named.name in others:
            return others[named.name]
        if isinstance(named, Agent):
            return self.agents.setdefault(named.name, named)
        return self.tools.setdefault(named.name, named)


def _sources(pattern: str, root: Path) -> list[Callable[[], Sequence[Named]]]:
    """What gives the agents and merges of each file or module that a pattern names."""
    if pattern.endswith((".yaml", ".yml")):
        return [partial(_of_yaml, path, root=root) for path in _files(pattern, root)]
    if pattern.endswith(".py"):
        return [partial(_of_python, str(path), root) for path in _files(pattern, root)]
    return [partial(_of_python, pattern, root)]


def _of_python(reference: str, root: Path) -> list[Named]:
    return _of_module(load_module(reference, root))


def _files(pattern: str, root: Path) -> list[Path]:
    """The files of a pattern; one without a wildcard must exist."""
    if not any(character in pattern for character in "*?["):
        return [root / pattern]
    anchor = Path(pattern).anchor
    return sorted(Path(anchor or root).glob(pattern.removeprefix(anchor)))


def _of_yaml(path: Path, *, root: Path | None = None, bundled: bool = False) -> list[Agent]:
    from .spec_file import read_agent_file

    shown = path.relative_to(root) if root and path.is_relative_to(root) else path
    if bundled:
        shown = path.relative_to(LIBRARY.parent)
    return read_agent_file(path, shown_as=str(shown), bundled=bundled)


def _named(value: Any, module: str = "Python") -> Named | None:
    return agent_of(value) or merge_of(value) or tool_of(value, module)


def _of_module(module: ModuleType) -> list[Named]:
    """What a module's values name, in their order; imported ones count too."""
    name = module.__name__
    found = [named for value in vars(module).values() if (named := _named(value, name)) is not None]
    for named in found:
        if isinstance(named, Agent):
            _ = named.input_schema, named.output_schema  # hints that cannot be read raise here
    return found


def _of_entry_point(entry_point: EntryPoint) -> list[Named]:
    """The agents of an entry point that names an agent, a module, or several agents."""
    try:
        loaded = entry_point.load()
    except (InvalidDefinition, KeyboardInterrupt):
        raise
    except BaseException as error:
        message = f"entry point {entry_point.name!r}: {type(error).__name__}: {error}"
        raise InvalidDefinition([_mistake(message, place_of_failure(error))]) from error
    if isinstance(loaded, ModuleType):
        return _of_module(loaded)
    several = loaded if isinstance(loaded, list | tuple) else [loaded]
    found = [named for value in several if (named := _named(value)) is not None]
    if len(found) < len(several):
        message = f"entry point {entry_point.name!r} ({entry_point.value}) is no agent or module"
        raise InvalidDefinition([_mistake(message)])
    return found


def _misnamed(named: Agent | Tool) -> Finding:
    """One made in Python, past `@agent` and YAML, which look at the name themselves."""
    what = "an agent" if isinstance(named, Agent) else "a tool"
    message = f"{named.name!r} ({named.origin}) is no name for {what}: letters, digits, _ and -"
    return _mistake(message, named.position)


def _clash(first: Named, second: Named) -> Finding:
    kinds = [KINDS[type(each)] for each in (first, second)]
    what = f"two {kinds[0]}s" if kinds[0] == kinds[1] else f"a {kinds[1]} and an {kinds[0]}"
    if kinds == ["tool", "agent"]:
        what = "an agent and a tool"
    message = f"{what} are named {second.name!r}: in {first.origin} and in {second.origin}"
    return _mistake(message, second.position)


def _mistake(message: str, position: Position | None = None) -> Finding:
    return Finding(severity="error", message=message, position=position, code="registry")
