"""A workflow as data: what its file says, defaults filled in, with the place of every part.

The classes are the language: each field that is a `Key` is read (`load.py`), kept (`dump.py`) and
described to editors (`json_schema.py`) as it is declared. Nothing here reads files, looks agents
up or imports LangGraph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Annotated, Any

from ucop.agents.text.places import Path, Places

from ..limits import LIMITS, Limits, limits_of, refused
from .channel import INPUTS, STATE, Channel, Merge
from .edges import EDGES, Entry, Route
from .forms import ANYTHING, MAPPING, TEXT, Form, Key, Reader, keys_of, one_of, ref, shown, typed
from .mesh import Mesh
from .names import (
    END,
    ERRORS,
    GIVEN,
    MESH,
    MESH_NAMES,
    NODE_NAME,
    PATH,
    RESULT,
    SAID,
    STACK,
    START,
    WORKFLOW_NAME,
)
from .node import DEFAULTS, NODE, NODES, AnswerDeadline, Node
from .policies import ERROR_FIELDS, OnError, Retry

# fmt: off
__all__ = [
    "END", "ERRORS", "ERROR_FIELDS", "GIVEN", "MESH", "MESH_NAMES", "PATH", "RESULT", "SAID",
    "STACK", "START", "AnswerDeadline", "Channel", "Definition", "Entry", "Kind", "Merge", "Mesh",
    "Node", "OnError", "Retry", "Route",
]
# fmt: on


class Kind(Enum):
    """What a workflow's file describes."""

    graph = "graph"
    """Nodes and edges."""
    mesh = "mesh"
    """Nothing but a mesh: one node of that name, whose router and agents are the graph."""


def _read_limits(reader: Reader, value: Any, path: Path) -> Limits:
    given = MAPPING.read(reader, value, path) or {}
    reader.known(given, path, LIMITS)
    for name, limit in given.items():
        if name in LIMITS and (wrong := refused(name, limit)):
            what = f"{name!r} {wrong}, not {shown(limit)}"
            reader.error("bad-value", what, (*path, name))
    return limits_of(given)


_KIND = one_of(Kind, "kind is graph or mesh")
_LIMITS = Form(_read_limits, ref("limits"), Limits.given)
_AGENTS = typed(
    dict, propertyNames={"pattern": f"^{NODE_NAME}$"}, additionalProperties=ref("agent")
)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A whole workflow. Equal definitions behave alike; places do not count."""

    name: Annotated[str, Key(WORKFLOW_NAME, written=True, examples=["blog"])] = ""
    """What the workflow is called."""
    kind: Annotated[Kind, Key(_KIND)] = Kind.graph
    """What the file describes: nodes and edges, or nothing but a mesh."""
    description: Annotated[str, Key(TEXT, written=True)] = ""
    """What it does, in a sentence."""
    inputs: Annotated[
        Mapping[str, Channel],
        Key(
            INPUTS,
            name="input",
            written=True,
            examples=[{"topic": {"type": "string", "minLength": 3}}],
        ),
    ] = field(default_factory=dict)
    """What a job is given: names with types. An input without a `default` must be given."""
    state: Annotated[
        Mapping[str, Channel],
        Key(STATE, written=True, examples=[{"notes": {"type": "array", "merge": "append"}}]),
    ] = field(default_factory=dict)
    """Further names of the state, with types, and how writes to them meet."""
    nodes: Annotated[Mapping[str, Node], Key(NODES, written=True)] = field(default_factory=dict)
    """The steps, by name."""
    routes: Annotated[
        tuple[Route, ...],
        Key(EDGES, name="edges", written=True, examples=[["START -> research -> write -> END"]]),
    ] = ()
    """Which node follows which. Left out, they follow from the references."""
    # Whether the edges follow from references because the file has none.
    derived: bool = field(default=False, compare=False)
    output: Annotated[Any, Key(ANYTHING, examples=[{"path": "${article.path}"}, "${text}"])] = None
    """The job's result: any value with `${…}`. Left out: every name that a node wrote."""
    agents: Annotated[Mapping[str, Any], Key(_AGENTS)] = field(default_factory=dict)
    """Agents of this file's own, by name: prompts for a chat model."""
    limits: Annotated[Limits, Key(_LIMITS, examples=[{"deadline": "30m", "model_calls": 50}])] = (
        field(default_factory=Limits)
    )
    """What a job may use at most, over all its attempts."""
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
        writers: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if node.writes:
                writers.setdefault(node.writes, []).append(node)
        return writers


_DEFAULTS = "Policies of every node that calls, and has none of its own."
_OWN = keys_of(Definition)
# In the order in which messages list them.
WORKFLOW = {
    **{name: key for name, key in _OWN.items() if name != "limits"},
    "defaults": Key(DEFAULTS, name="defaults", meaning=lambda: _DEFAULTS),
    "limits": _OWN["limits"],
    "mesh": NODE["mesh"],
    "with": NODE["with"],
}
"""Every key of a workflow's file. What `defaults`, `mesh` and `with` say is held by nodes."""
NOT_IN_A_MESH = ("state", "nodes", "edges", "defaults")
"""Keys that say nothing if the workflow is a mesh."""
ONLY_IN_A_MESH = ("mesh", "with")
