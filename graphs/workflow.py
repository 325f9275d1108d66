"""A workflow as the job layer sees it: YAML or a Python graph, behind one view."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ucop.agents.finding import Finding

from .edit import Update, chosen
from .errors import InvalidInput
from .limits import Limits
from .topology.wiring import Wiring

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable
    from langgraph.graph import StateGraph
    from langgraph.pregel import Pregel
    from langgraph.store.base import BaseStore

    from .pregel.superstep import Ran, Superstep, Write
    from .topology.wiring import Standing as Begun
    from .types.given_context import Unchecked

    Graph: TypeAlias = StateGraph[Any, Any, Any, Any] | Runnable[Any, Any] | Callable[..., Any]
    """What code may give as a workflow. Compiled graphs, sequences and graphs on other servers are
    Runnables; a function makes one."""


COMPILER_FORMAT = 1
"""Part of every fingerprint: raised when the compiled graph's nodes or channels change."""


_CHANNELS = ("__", "branch:", "join:")
"""How the names of LangGraph's own channels begin."""


class Workflow(ABC):
    """Something that can be run as a job."""

    kind: Literal["yaml", "python"]
    name: str
    description: str
    origin: str
    """Where it was defined, for people."""
    fingerprint: str
    """Changes when a run may go another way; ignores layout and comments."""
    stored: dict[str, Any]
    """What a job keeps of it, as JSON. The order of keys matters: keep it as text."""
    needs: tuple[str, ...]
    """What only the project can supply: `graph:NAME`, `agent:NAME`, `merge:NAME`, `tool:NAME`,
    `mcp:NAME`."""
    input_schema: dict[str, Any] | None
    warnings: tuple[Finding, ...] = ()
    context_schema: Any = None
    """The class that declares the names of its context; None if none does."""
    takes_values: bool = True
    """Whether its input is an object of names and values, and not any value."""
    nested: bool = False
    """Whether its nodes run workflows of their own, whose steps are to be seen."""
    limits: Limits = Limits()
    """What its jobs may use at most, where their submission does not say otherwise."""

    @abstractmethod
    def accept(self, data: Any) -> Any:
        """The input with its defaults, as the graph takes it. Raises InvalidInput naming
        everything that is wrong."""

    @abstractmethod
    def graph(self) -> Pregel[Any, Any, Any, Any]:
        """The compiled graph, without a checkpointer, to be looked at. Imports LangGraph."""

    @asynccontextmanager
    async def opened(self, run: Run) -> AsyncIterator[Workflow]:
        """This workflow with the graph that is to be run, which is there as long as this is open:
        a factory may hold connections for it. Raises what the factory raises."""
        yield self

    def configured(self, config: Mapping[str, Any] | None) -> Workflow:
        """This workflow for a run with a config (JSON), on which its graph may depend."""
        return self

    def accept_context(self, context: Any, unchecked: Unchecked) -> dict[str, Any] | None:
        """A run's context as JSON. Raises InvalidInput for what the workflow does not take;
        values that are `unchecked` are secrets given by name."""
        if context is not None:
            raise InvalidInput(f"workflow {self.name!r} takes no context")
        return None

    def context(self, kept: Mapping[str, Any] | None) -> Any:
        """What LangGraph is given as the context, from what was accepted, secrets resolved."""
        return None

    @property
    def context_fields(self) -> dict[str, Any]:
        """The JSON Schema of each name of the context that is declared."""
        return {}

    @property
    def wiring(self) -> Wiring:
        """Its nodes and edges, as its jobs began with them."""
        from .topology.graph_shape import GraphShape

        return GraphShape(self.graph()).wiring

    @abstractmethod
    def start(self, data: Any) -> Any:
        """What a first attempt gives to the graph, from an accepted input."""

    @abstractmethod
    def result(self, values: Any) -> Any:
        """The job's output, as JSON, from the values of the state at the end."""

    @abstractmethod
    def shown_nodes(self) -> list[str]:
        """The nodes in an order that the edges allow."""

    @property
    def optional(self) -> tuple[str, ...]:
        """Nodes that a run may end without, named as their steps are; in their order."""
        return ()

    def caught(self, node: str, writes: Sequence[tuple[str, Any]]) -> Mapping[str, Any] | None:
        """The error of `node` that the run survives, where its writes tell of one."""
        return None

    def hides(self, node: str) -> bool:
        """Whether `node` is one of the compiler's own."""
        return False

    def shown_name(self, node: str) -> str:
        """The node of the definition that `node` belongs to."""
        return node

    def shown_part(self, part: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What of a part that the graph emits is not the compiler's own."""
        return part

    def edited_as(self, ran: Sequence[str], as_node: str | None) -> str:
        """The node as which a checkpoint that the nodes `ran` made is edited; see edit.py.
        Raises InvalidInput."""
        return chosen(ran, as_node)

    def check_edit(self, values: Mapping[str, Any]) -> None:  # noqa: B027 - most say it by schemas
        """Raise InvalidInput for values that a state of this workflow cannot hold."""

    async def rerouted(self, step: Superstep, task: Ran, values: Sequence[Write]) -> list[Write]:
        """Where `task` leads, had it written `values` as well."""
        return task.routes

    def loose_update(self, due: Sequence[str], values: Mapping[str, Any], node: str) -> Update:
        """What LangGraph's `update_state` is given if nobody knows what made a checkpoint, or
        `node` had no part in it."""
        return values, node

    def state_names(self) -> list[str]:
        """The names of the state that a person may edit."""
        channels = self.graph().channels
        return [name for name in channels if not name.startswith(_CHANNELS)]

    def as_begun(self, stored: Mapping[str, Any]) -> Workflow:
        """This workflow for a job that began with what it kept."""
        return self

    @property
    def is_known_by_name(self) -> bool:
        """Whether every process of the project can find it, or make it from what a job keeps."""
        return True

    @property
    def changed(self) -> bool:
        """Whether it is not what the job began with, so that its checkpoint may not fit."""
        return False

    def refuse_to_skip(self, standing: Begun) -> None:  # noqa: B027 - YAML never changes
        """Raise WorkflowChanged where nodes that a job was to run would be left out."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a factory may know of the run that it makes a graph for."""

    config: Mapping[str, Any]
    """As LangGraph's nodes get it: `configurable`, `tags`, `metadata`."""
    context: Any = None
    store: BaseStore | None = None
