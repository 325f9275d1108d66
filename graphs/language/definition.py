"""A workflow as data: what its file says, defaults filled in, with the place of every part.

Nothing here reads files, looks agents up or imports LangGraph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

from ucop.agents.text.places import Path, Places

from ..limits import Limits

START = "START"
END = "END"
ERRORS = "errors"
"""The name under which the state holds what failed, by node."""


class Kind(Enum):
    """What a workflow's file describes."""

    graph = "graph"
    """Nodes and edges."""
    mesh = "mesh"
    """Nothing but a mesh: one node of that name, whose router and agents are the graph."""


MESH, RESULT = "mesh", "result"
"""The node of a workflow that is a mesh, and the name that it writes."""
SAID, STACK, PATH, GIVEN = "_said", "_stack", "_path", "_given"
"""What else the state of a mesh holds: what the agent that was called last said, who waits for an
answer, every hop so far, and what the mesh was given where its inputs have no names."""
MESH_NAMES = (SAID, STACK, PATH, GIVEN, RESULT)


class Merge(Enum):
    """How a write to a channel meets what is there."""

    replace = "replace"
    append = "append"
    extend = "extend"
    union = "union"
    sum = "sum"
    max = "max"
    custom = "custom"


class OnError(Enum):
    """What an error of a node does."""

    fail = "fail"
    continue_ = "continue"


ERROR_FIELDS = ("node", "type", "message", "items")
"""What `errors.<node>` has; `items` only where the node has `each`."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One name of the state."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the value; empty where nothing is declared."""
    merge: Merge = Merge.replace
    function: str = ""
    """The project's `@merge` function, by name, where `merge` is custom."""
    path: Path = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often an agent's call is tried again."""

    attempts: int = 3
    """Calls in all, the first one counted."""
    delay: float = 0.5
    """Seconds before the second call; doubles with each further one."""
    longest: float = 60.0
    """The longest pause, in seconds."""


@dataclass(frozen=True, kw_only=True)
class AnswerDeadline:
    """When a question has waited long enough, and what happens then."""

    within: float
    """Seconds from the moment that it was asked."""
    fails: bool = True
    """Whether the job fails; else `default` is the answer."""
    default: Any = None


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Agents among which a router finds who answers, and who is asked on the way."""

    entry: str = ""
    """The agent that is called first; empty where a capability is wanted."""
    entry_capability: str | None = None
    """What the agent that is called first must declare; the router chooses it."""
    agents: tuple[str, ...] = ()
    """Who may be called, by name; once it is checked, everyone who may."""
    capabilities: tuple[str, ...] = ()
    """Everyone who declares one of these may be called too; none once it is checked."""
    max_hops: int = 16
    """Most hand-overs to an agent, the first one counted."""
    retry: Retry | None = None
    """How often one call of an agent is tried before another agent is."""
    timeout: float | None = None
    """Seconds that one call of an agent may take."""
    idle: float | None = None


@dataclass(frozen=True, kw_only=True)
class Node:
    """One call of an agent, a workflow, a mesh or a person, or with `each` one per item."""

    name: str
    agent: str = ""
    """The agent's name; for a node that names a capability, known once it is checked."""
    capability: str | None = None
    """What an agent must be able to do: the first that can, by name, is called."""
    workflow: str = ""
    """The workflow that runs as this node."""
    mesh: Mesh | None = None
    """The agents that answer together."""
    ask: str | None = None
    """The question, with `${…}`."""
    answer: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the answer to `ask`."""
    deadline: AnswerDeadline | None = None
    """`within` and `default`: how long `ask` waits."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """`with`: the agent's inputs, literals and `${…}`."""
    writes: str | None = None
    each: str | None = None
    item: str = "item"
    """`as`: what one item of `each` is called."""
    limit: int | None = None
    """How many items run at the same time; None is no limit of ours."""
    retry: Retry | None = None
    timeout: float | None = None
    """Seconds that one call may take."""
    idle: float | None = None
    """Seconds that may pass in a call without a sign of progress: a token, or an agent's word."""
    cache: float | None = None
    """Seconds for which an answer is kept for the same inputs."""
    on_error: OnError | str = OnError.fail
    """A policy, or the node that an error leads to."""
    path: Path = field(default=(), compare=False)

    @property
    def catches(self) -> bool:
        """Whether the run goes on after an error of this node."""
        return self.on_error is not OnError.fail


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One way out of a route; `at_most` makes it a loop edge."""

    target: str
    when: str | None = None
    at_most: int | None = None
    path: Path = field(default=(), compare=False)
    offset: int = field(default=-1, compare=False)
    """Where the target's name begins inside a chain's text; -1 where it stands alone."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Edges out of one node of which the first that holds is taken. All routes of a node apply."""

    source: str
    entries: tuple[Entry, ...]
    path: Path = field(default=(), compare=False)
    offset: int = field(default=-1, compare=False)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A whole workflow. Equal definitions behave alike; places do not count."""

    name: str
    kind: Kind = Kind.graph
    description: str = ""
    inputs: Mapping[str, Channel] = field(default_factory=dict)
    state: Mapping[str, Channel] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    derived: bool = field(default=False, compare=False)
    """Whether the edges follow from references because the file has none."""
    output: Any = None
    """A template; None stands for every name that a node writes."""
    agents: Mapping[str, Any] = field(default_factory=dict)
    """Specs of the file's own agents, as they were read."""
    limits: Limits = field(default_factory=Limits)
    """Where a job of it stops."""
    places: Places = field(default_factory=Places, compare=False, repr=False)

    @cached_property
    def channels(self) -> dict[str, Channel]:
        """Every name of the state: inputs, declared state, and what nodes write."""
        channels = {**self.inputs, **self.state}
        for node in self.nodes.values():
            if node.writes and node.writes not in channels:
                channels[node.writes] = Channel(name=node.writes, path=(*node.path, "writes"))
        return channels

    @property
    def written(self) -> tuple[str, ...]:
        """The names that nodes write, in the order of the file."""
        return tuple(dict.fromkeys(n.writes for n in self.nodes.values() if n.writes))

    @cached_property
    def catching(self) -> tuple[str, ...]:
        """The nodes after whose errors the run goes on: those that `errors` has entries for."""
        return tuple(node.name for node in self.nodes.values() if node.catches)

    @cached_property
    def has_choices(self) -> bool:
        """Whether a run may go past some of the nodes."""
        chosen = any(len(route.entries) > 1 for route in self.routes)
        return chosen or any(isinstance(node.on_error, str) for node in self.nodes.values())

    def writers(self, channel: str) -> Sequence[Node]:
        """The nodes that write `channel`."""
        return self._writers.get(channel, ())

    @cached_property
    def _writers(self) -> dict[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if node.writes:
                found.setdefault(node.writes, []).append(node)
        return found
