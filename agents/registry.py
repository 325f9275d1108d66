"""The agents that can be named: bundled ones, a project's own, and those of other packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ucop.agents.errors import InvalidDefinition, UnknownAgent
from ucop.agents.function import agent_of
from ucop.agents.module import load_module
from ucop.agents.source import Finding, nearest
from ucop.agents.spec import Agent

ENTRY_POINTS = "ucop.agents"
LIBRARY = Path(__file__).parent / "library"


class Registry:
    """Agents by name. Immutable: `extended` gives a new one."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = MappingProxyType(dict(agents))

    @classmethod
    def of(cls, *agents: Any) -> Registry:
        """A registry of agents and `@agent` functions. Raises InvalidDefinition for a clash."""
        found = _Found()
        for given in agents:
            made = agent_of(given)
            if made is None:
                raise TypeError(f"{given!r} is neither an Agent nor marked with @agent")
            found.add(made)
        return found.registry({})

    def get(self, name: str) -> Agent:
        """The agent of that name. Raises UnknownAgent, which names the nearest one."""
        try:
            return self._agents[name]
        except KeyError:
            raise UnknownAgent(self._unknown(name)) from None

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
        return Registry({**self._agents, **{agent.name: agent for agent in agents}})

    def __iter__(self) -> Iterator[Agent]:
        return iter(self._agents[name] for name in self.names())

    def __len__(self) -> int:
        return len(self._agents)

    def __contains__(self, name: object) -> bool:
        return name in self._agents

    def __repr__(self) -> str:
        return f"Registry({', '.join(self.names())})"

    def _unknown(self, name: str) -> str:
        near = nearest(name, self._agents)
        meant = f"did you mean {near!r}?" if near else "`ucop agents list` shows all."
        return f"there is no agent named {name!r}; {meant}"


def load_registry(
    root: Path | None, patterns: Sequence[str] = (), *, bundled: bool = True
) -> Registry:
    """The agents of a project.

    `patterns`, relative to `root`: YAML files (`agents/*.yaml`), and Python files or modules
    with `@agent` functions. Entry points of the group `ucop.agents` follow. A project's agent
    takes the place of a bundled one of the same name, so that a new bundled agent breaks no
    project; any other clash is a mistake. Raises InvalidDefinition with every mistake found.
    """
    found = _Found()
    for pattern in patterns:
        for source in _sources(pattern, root or Path.cwd()):
            found.load(source)
    for entry_point in entry_points(group=ENTRY_POINTS):
        found.load(partial(_of_entry_point, entry_point))
    return found.registry(bundled_agents() if bundled else {})


@lru_cache(maxsize=1)
def bundled_agents() -> Mapping[str, Agent]:
    """The agents that come with ucop, by name."""
    found = _Found()
    for path in sorted(LIBRARY.glob("*.yaml")):
        found.add(*_of_yaml(path, bundled=True))
    for path in sorted(LIBRARY.glob("[!_]*.py")):
        module = import_module(f"{__package__}.library.{path.stem}")
        found.add(*(replace(agent, bundled=True) for agent in _of_module(module)))
    return MappingProxyType(found.agents)


class _Found:
    """Agents as they are found, and what was wrong on the way."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.findings: list[Finding] = []

    def load(self, source: Callable[[], Iterable[Agent]]) -> None:
        try:
            self.add(*source())
        except InvalidDefinition as error:
            self.findings += error.findings

    def add(self, *agents: Agent) -> None:
        for agent in agents:
            first = self.agents.setdefault(agent.name, agent)
            if first is not agent and first.body is not agent.body:
                self.findings.append(_clash(first, agent))

    def registry(self, below: Mapping[str, Agent]) -> Registry:
        if self.findings:
            raise InvalidDefinition(self.findings)
        return Registry({**below, **self.agents})


def _sources(pattern: str, root: Path) -> list[Callable[[], list[Agent]]]:
    """What gives the agents of each file or module that a pattern names."""
    if pattern.endswith((".yaml", ".yml")):
        return [partial(_of_yaml, path, root=root) for path in _files(pattern, root)]
    if pattern.endswith(".py"):
        return [partial(_of_python, str(path), root) for path in _files(pattern, root)]
    return [partial(_of_python, pattern, root)]


def _of_python(reference: str, root: Path) -> list[Agent]:
    return _of_module(load_module(reference, root))


def _files(pattern: str, root: Path) -> list[Path]:
    """The files of a pattern; one without a wildcard must exist."""
    if not any(character in pattern for character in "*?["):
        return [root / pattern]
    anchor = Path(pattern).anchor
    return sorted(Path(anchor or root).glob(pattern.removeprefix(anchor)))


def _of_yaml(path: Path, *, root: Path | None = None, bundled: bool = False) -> list[Agent]:
    from ucop.agents.spec_file import read_agent_file

    shown = path.relative_to(root) if root and path.is_relative_to(root) else path
    if bundled:
        shown = path.relative_to(LIBRARY.parent)
    return read_agent_file(path, shown_as=str(shown), bundled=bundled)


def _of_module(module: ModuleType) -> list[Agent]:
    """The agents among a module's values, in their order; imported ones count too."""
    found = [agent for value in vars(module).values() if (agent := agent_of(value)) is not None]
    for agent in found:
        _ = agent.input_schema, agent.output_schema  # hints that cannot be read raise here
    return found


def _of_entry_point(entry_point: EntryPoint) -> list[Agent]:
    """The agents of an entry point that names an agent, a module, or several agents."""
    try:
        loaded = entry_point.load()
    except InvalidDefinition:
        raise
    except Exception as error:
        message = f"entry point {entry_point.name!r}: {type(error).__name__}: {error}"
        raise InvalidDefinition([_mistake(message)]) from error
    if isinstance(loaded, ModuleType):
        return _of_module(loaded)
    several = loaded if isinstance(loaded, list | tuple) else [loaded]
    agents = [agent for value in several if (agent := agent_of(value)) is not None]
    if len(agents) < len(several):
        message = f"entry point {entry_point.name!r} ({entry_point.value}) is no agent or module"
        raise InvalidDefinition([_mistake(message)])
    return agents


def _clash(first: Agent, second: Agent) -> Finding:
    message = f"two agents are named {second.name!r}: in {first.origin} and in {second.origin}"
    return _mistake(message)


def _mistake(message: str) -> Finding:
    return Finding(severity="error", message=message, position=None, code="registry")
