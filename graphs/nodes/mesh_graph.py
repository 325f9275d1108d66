"""From a mesh to a LangGraph StateGraph: a router, and a node for each agent.

An agent's node writes what the agent said; the router reads it, and says by a Command who is
called next (`mesh.py` has the rules). Every hop is a checkpoint, so a run goes on at the agent
that was called when it was stopped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from langgraph.graph import END as LANGGRAPH_END
from langgraph.graph import START as LANGGRAPH_START
from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import TypedDict

from ucop.agents.errors import AgentInputError
from ucop.agents.run.answered import ANSWER, Answered
from ucop.agents.run.asking import consult
from ucop.agents.text.plain import brief

from ..errors import MeshStopped
from ..language.definition import (
    GIVEN,
    MESH_NAMES,
    PATH,
    RESULT,
    SAID,
    STACK,
    Definition,
    Mesh,
    Node,
)
from ..pregel.names import GATE
from ..types.state import normalise
from .context import RunContext
from .failures import failure, may_be_caught
from .mesh_rules import ERROR, Calls, Finish, Move, Return, Seek, Switchboard, no_line
from .node import Call, run_under_policies
from .subworkflow import inside
from .work import AgentWork, Turn, Work, going_on

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from ucop.agents.spec.agent import Agent

ROUTER = "router" + GATE
"""The node that says who is called next; like all of the compiler's own, it is no step."""

State = dict[str, Any]
Opening = Callable[[State], dict[str, Any]]
"""What the agent that is called first is given, from the state."""


def compile_mesh(
    mesh: Mesh,
    agents: Mapping[str, Agent],
    *,
    name: str,
    inputs: Iterable[str] = (),
    opening: Opening = lambda state: dict(state[GIVEN]),
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Build and compile a mesh; `inputs` are names of the state that `opening` reads."""
    members = {each: agents[each] for each in mesh.agents}
    board = Switchboard(mesh, members)
    graph: Any = StateGraph(_schema(name, inputs), context_schema=RunContext)
    graph.add_node(ROUTER, _router(board, opening), destinations=(*members, LANGGRAPH_END))
    graph.add_edge(LANGGRAPH_START, ROUTER)
    for each, agent in members.items():
        graph.add_node(each, _agent_node(board, agent))
        graph.add_edge(each, ROUTER)
    compiled: CompiledStateGraph[Any, Any, Any, Any] = graph.compile(name=name)
    return compiled


def _schema(name: str, inputs: Iterable[str]) -> Any:
    fields: dict[str, Any] = dict.fromkeys((*inputs, *MESH_NAMES), Any)
    return TypedDict("Mesh_" + re.sub(r"\W", "_", name), fields, total=False)  # type: ignore[operator]


def start_of(data: Mapping[str, Any]) -> State:
    """The state that a mesh begins with, also on a thread that held another."""
    empty: State = {SAID: None, STACK: [], PATH: [], RESULT: None, GIVEN: None}
    return {**empty, **data}


@dataclass(frozen=True)
class MeshWork(Work):
    """A node whose work a mesh does."""

    graph: CompiledStateGraph[Any, Any, Any, Any]

    async def run(self, data: Any, turn: Turn) -> Any:
        values = await self.graph.ainvoke(start_of({GIVEN: data}), context=inside(turn))
        return values[RESULT]


# ---- agents ----


@dataclass(frozen=True)
class _Consult(AgentWork):
    """Calls an agent, which may ask instead of answering."""

    board: Switchboard

    async def run(self, data: Any, turn: Turn) -> Any:
        answered = tuple(Answered(**answer) for answer in data["answers"])
        with going_on():
            said = await consult(
                self.agent,
                data["data"],
                context=self._context(turn),
                answered=answered,
                asks=self.board.asks(self.agent.name),
            )
        where = f"node {turn.node}"
        if ANSWER in said:
            return {ANSWER: normalise(said[ANSWER], self.agent.output_schema, where)}
        return normalise(said, None, where)


def _agent_node(board: Switchboard, agent: Agent) -> Callable[..., Awaitable[State]]:
    mesh = board.mesh
    node = Node(
        name=agent.name,
        agent=agent.name,
        retry=mesh.retry,
        timeout=mesh.timeout,
        idle=mesh.idle,
    )
    call = Call(Definition(name=agent.name), node, _Consult(agent, board))

    async def work(state: State, runtime: Runtime[RunContext]) -> State:
        return {SAID: await _call_agent(call, state[STACK][-1], runtime)}

    return work


async def _call_agent(call: Call, frame: Any, runtime: Runtime[RunContext]) -> dict[str, Any]:
    """What an agent says. Its errors are the router's to deal with."""
    run = runtime.context
    line = _Line(run.calls, _key(runtime, frame["hop"]), call.node.name)
    await line.begin()
    try:
        said: dict[str, Any] = await run_under_policies(call, frame, runtime)
    except Exception as error:
        if not may_be_caught(error):
            raise
        told = failure(call.node.name, error)
        refused = isinstance(error, AgentInputError)
        await line.end(None if refused else f"{told['type']}: {told['message']}", refused=refused)
        return {ERROR: dict(told), "attempt": run.attempt}
    await line.end(None)
    return said


def _key(runtime: Runtime[RunContext], hop: int) -> str:
    """The same for everything that is done for one hop of one run of a mesh."""
    return f"{runtime.context.job_id}/{_around(runtime)}/{hop}"


def _around(runtime: Runtime[RunContext]) -> str:
    """The tasks in which a mesh runs; none where it is the whole workflow."""
    info = runtime.execution_info
    return info.checkpoint_ns.rpartition("|")[0] if info else ""


class _Line:
    """A call under way, as it is kept for all workers."""

    def __init__(self, calls: Calls | None, key: str, agent: str) -> None:
        self._calls, self._key, self._agent = calls, key, agent
        self._began = 0.0

    async def begin(self) -> None:
        if self._calls is not None:
            await self._calls.began(self._key, self._agent)
        self._began = time.monotonic()

    async def end(self, error: str | None, *, refused: bool = False) -> None:
        seconds = time.monotonic() - self._began
        if self._calls is None:
            return
        if refused:  # by what it was given: that says nothing of the agent
            await self._calls.dropped(self._key)
        else:
            await self._calls.ended(self._key, self._agent, seconds, error)


# ---- the router ----


def _router(board: Switchboard, opening: Opening) -> Callable[..., Awaitable[Command[Any]]]:
    async def router(state: State, runtime: Runtime[RunContext]) -> Command[Any]:
        tell = partial(_tell, runtime)
        try:
            move = _move(board, opening, state, runtime.context.attempt)
            if isinstance(move, Seek):
                move = await _choose(board, move, runtime)
        except MeshStopped as stopped:
            _tell_ends(tell, state[PATH], stopped.path)
            told = {"type": type(stopped).__name__, "message": str(stopped)}
            tell("stopped", {"error": told, "hops": len(stopped.path)})
            raise
        _tell_ends(tell, state[PATH], move.path)
        if isinstance(move, Finish):
            result = {"answer": move.answer, "hops": len(move.path), "path": move.path}
            ended = {PATH: move.path, STACK: [], SAID: None, RESULT: result}
            return Command(update=ended, goto=LANGGRAPH_END)
        if len(move.path) > len(state[PATH]):
            asked = {**move.path[-1], "data": brief(move.stack[-1]["data"])}
            tell("asked", asked)
        update = {PATH: move.path, STACK: move.stack, SAID: None}
        return Command(update=update, goto=move.stack[-1]["agent"])

    return router


def _move(board: Switchboard, opening: Opening, state: State, attempt: int) -> Move:
    if not state[STACK]:
        return board.start(opening(state))
    return board.after(state[SAID], state[STACK], state[PATH], attempt)


async def _choose(board: Switchboard, seek: Seek, runtime: Runtime[RunContext]) -> Return:
    calls = runtime.context.calls
    if calls is None:
        return seek.given_to(seek.agents[0])
    agent = await calls.choose(_key(runtime, len(seek.path) + 1), seek.agents)
    if agent is None:
        raise no_line(seek)
    return seek.given_to(agent)


def _tell(runtime: Runtime[RunContext], what: str, data: Mapping[str, Any]) -> None:
    """Tell of a hop; `run` tells apart the meshes of one node, such as those of its items."""
    runtime.context.hopped("", what, {"run": _around(runtime).rpartition(":")[2], **data})


def _tell_ends(tell: Callable[[str, Any], None], before: Any, after: Any) -> None:
    """Tell of the hops that ended: those that are no longer as they were."""
    for old, new in zip(before, after, strict=False):
        if old["outcome"] != new["outcome"]:
            tell(new["outcome"], new)
