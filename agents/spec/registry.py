"""The agents that can be named: bundled ones, a project's own, and those of other packages.

A project's `@merge` functions and its tools are found with them.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
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
from .module import files_of, load_entry_point, load_module
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
        below: Mapping[str, Agent] | None = None,
    ) -> None:
        """`below`: agents that have no tools, each read when it is asked for; one of `agents` with
        the same name wins. Raises InvalidDefinition if an agent names tools that are not there."""
        self.merges: Mapping[str, MergeFunction] = MappingProxyType(dict(merges or {}))
        """The project's `@merge` functions by name."""
        self.tools: Mapping[str, Tool] = MappingProxyType(dict(tools or {}))
        """The project's tool objects of LangChain by name."""
        self.servers: Mapping[str, McpServer] = MappingProxyType(dict(servers or {}))
        """The project's MCP servers by name."""
        self._below: Mapping[str, Agent] = {} if below is None else below
        binder = Binder(_layers(agents, self._below), self.tools, self.servers)
        bound = {name: binder.bind(agent) for name, agent in agents.items()}
        if binder.findings:
            raise InvalidDefinition(tuple(dict.fromkeys(binder.findings)))
        self.own: Mapping[str, Agent] = MappingProxyType(bound)
        """The agents without those `below`, by name."""
        self._agents = _layers(bound, self._below)

    @classmethod
    def of(cls, *agents: Any, servers: Mapping[str, McpServer] | None = None) -> Registry:
        """A registry of agents, of `@agent` and `@merge` functions, and of LangChain's tools.
        Raises InvalidDefinition for a clash."""
        found = _Found()
        for given in agents:
            made = _item_of(given)
            if made is None:
                raise TypeError(f"{given!r} is neither an Agent nor marked with @agent")
            found.add(made)
        return found.registry({}, servers)

    def get(self, name: str) -> Agent:
        """The agent of that name. Raises UnknownAgent, which names the nearest one."""
        try:
            return self._agents[name]
        except KeyError:
            raise UnknownAgent(self._unknown_message(name)) from None

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
        own = {**self.own, **{agent.name: agent for agent in agents}}
        return Registry(own, self.merges, self.tools, self.servers, self._below)

    def mistakes(self, agents: Iterable[Agent]) -> dict[str, list[Finding]]:
        """What is wrong with the tools of `agents`, by agent, were this extended by them."""
        own = {agent.name: agent for agent in agents}
        wrong: dict[str, list[Finding]] = {}
        for name, agent in own.items():
            binder = Binder(_layers(own, self._agents), self.tools, self.servers)
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

    def _unknown_message(self, name: str) -> str:
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


def _layers(above: Mapping[str, Agent], below: Mapping[str, Agent]) -> Mapping[str, Agent]:
    layers: list[Any] = [above, below]  # ChainMap reads them, and never writes
    return ChainMap(*layers)


class _Bundled(Mapping[str, Agent]):
    """The agents that come with ucop. One in YAML has its file's name and is read when it is asked
    for; those in Python are all imported for the first name that none of the files has."""

    def __init__(self) -> None:
        self._files = {path.stem: path for path in sorted(LIBRARY.glob("*.yaml"))}
        self._read: dict[str, Agent] = {}

    def __getitem__(self, name: str) -> Agent:
        if name not in self._files:
            return self._python[name]
        if name not in self._read:
            (self._read[name],) = _of_yaml(self._files[name], bundled=True)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._files, *self._python))

    def __len__(self) -> int:
        return len(self._files) + len(self._python)

    @cached_property
    def _python(self) -> Mapping[str, Agent]:
        found = _Found()
        for path in sorted(LIBRARY.glob("[!_]*.py")):
            module = import_module(f"..library.{path.stem}", __package__)
            agents = [named for named in _of_module(module) if isinstance(named, Agent)]
            found.add(*(replace(agent, bundled=True) for agent in agents))
        return found.agents


@lru_cache(maxsize=1)
def bundled_agents() -> Mapping[str, Agent]:
    """The agents that come with ucop, by name."""
    return _Bundled()


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
                self.findings.append(_bad_name(each))
            first = self._first(each)
            if first is not each and first.body is not each.body:
                self.findings.append(_clash(first, each))

    def registry(
        self, below: Mapping[str, Agent], servers: Mapping[str, McpServer] | None = None
    ) -> Registry:
        if self.findings:
            raise InvalidDefinition(self.findings)
        return Registry(self.agents, self.merges, self.tools, servers, below)

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
        return [partial(_of_yaml, path, root=root) for path in files_of(pattern, root)]
    if pattern.endswith(".py"):
        return [partial(_of_python, str(path), root) for path in files_of(pattern, root)]
    return [partial(_of_python, pattern, root)]


def _of_python(reference: str, root: Path) -> list[Named]:
    return _of_module(load_module(reference, root))


def _of_yaml(path: Path, *, root: Path | None = None, bundled: bool = False) -> list[Agent]:
    from .spec_file import read_agent_file

    shown = path.relative_to(root) if root and path.is_relative_to(root) else path
    if bundled:
        shown = path.relative_to(LIBRARY.parent)
    return read_agent_file(path, shown_as=str(shown), bundled=bundled)


def _item_of(value: Any, module: str = "Python") -> Named | None:
    return agent_of(value) or merge_of(value) or tool_of(value, module)


def _of_module(module: ModuleType) -> list[Named]:
    """What a module's values name, in their order; imported ones count too."""
    name = module.__name__
    found = [
        named for value in vars(module).values() if (named := _item_of(value, name)) is not None
    ]
    for named in found:
        if isinstance(named, Agent):
            _ = named.input_schema, named.output_schema  # hints that cannot be read raise here
    return found


def _of_entry_point(entry_point: EntryPoint) -> list[Named]:
    """The agents of an entry point that names an agent, a module, or several agents."""
    loaded = load_entry_point(entry_point)
    if isinstance(loaded, ModuleType):
        return _of_module(loaded)
    several = loaded if isinstance(loaded, list | tuple) else [loaded]
    found = [named for value in several if (named := _item_of(value)) is not None]
    if len(found) < len(several):
        message = f"entry point {entry_point.name!r} ({entry_point.value}) is no agent or module"
        raise InvalidDefinition([_mistake(message)])
    return found


def _bad_name(named: Agent | Tool) -> Finding:
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
    return Finding.error("registry", message, position)
