"""The errors of workflows; the whole tree is drawn in `engine/errors.py`.

UcopError
├── UnknownWorkflow     no workflow of that name, or no such file
├── InvalidInput        the input of a job does not fit the workflow's declaration
├── WorkflowChanged     a Python graph no longer fits what the job began with
├── WorkflowError       a running workflow cannot go on
│   ├── ExpressionError a reference or condition cannot be evaluated on the state
│   └── StateError      a value cannot be kept in the state
└── MeshStopped         a mesh ended before there was an answer; `path` has every hop
    ├── MeshCycle           whoever could answer waits for an answer itself
    ├── MeshAgentDead       whoever could answer failed, or is not asked for now
    ├── MissingCapability   nobody in the mesh declares what was asked for
    ├── MeshInputRefused    nobody who declares it takes what came with the question
    └── TooManyHops         the mesh asked as often as it may
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ucop.agents.errors import UcopError


class UnknownWorkflow(UcopError):
    """No workflow has this name."""


class InvalidInput(UcopError):
    """The input does not fit the workflow."""


class WorkflowChanged(UcopError):
    """The Python graph is no longer the one that the job began with."""


class WorkflowError(UcopError):
    """The workflow cannot go on; the message names node and edge."""


class ExpressionError(WorkflowError):
    """An expression cannot be evaluated on the state as it is."""


class StateError(WorkflowError):
    """A value cannot be kept in the workflow's state."""


Path = Sequence[Mapping[str, Any]]
"""The hops of a mesh from the first on; see graphs/nodes/mesh_rules.py."""


class MeshStopped(UcopError):
    """A mesh stopped before it had an answer; `path` is the whole way there."""

    def __init__(self, message: str, path: Path = ()) -> None:
        self.path = tuple(path)
        super().__init__(f"{message}. The path: {_way(path)}" if path else message)


class MeshCycle(MeshStopped):
    """Whoever could answer waits for an answer itself."""


class MeshAgentDead(MeshStopped):
    """Whoever could answer failed, or failed so often that it is not asked for now."""


class MissingCapability(MeshStopped):
    """Nobody in the mesh declares the capability that was asked for."""


class MeshInputRefused(MeshStopped):
    """Nobody who declares the capability takes the data that came with the question."""


class TooManyHops(MeshStopped):
    """The mesh asked as often as it may."""


def _way(path: Path) -> str:
    return ", ".join(_hop(hop) for hop in path)


def _hop(hop: Mapping[str, Any]) -> str:
    asked = f" for {hop['capability']}" if hop["capability"] else ""
    failed = hop.get("error")
    ended = f" ({hop['outcome']}: {failed['type']})" if failed else f" ({hop['outcome']})"
    return f"{hop['hop']} {hop['asker'] or 'the job'} asked {hop['agent']}{asked}{ended}"
