"""The rules of a mesh: who is asked next, from its state alone. No LangGraph, clock or database.

An agent answers, or asks for a capability with data. Who asks waits on a stack; the answer comes
back to it, and it is called again with all answers so far. Each time an agent is asked is a hop;
an answer that goes back is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from ucop.agents.run.answered import ANSWER, ASK
from ucop.agents.text.schema import with_defaults
from ucop.agents.text.validation import Schema, validate

from ..errors import MeshAgentDead, MeshCycle, MeshInputRefused, MissingCapability, TooManyHops
from ..language.definition import Mesh
from .breaker import BreakerState

if TYPE_CHECKING:
    from ucop.agents.spec.agent import Agent

ERROR = "error"
WAITING, ANSWERED, FAILED = "waiting", "answered", "failed"
"""How a hop stands."""


class Answer(TypedDict):
    """What came back to a question."""

    capability: str
    data: dict[str, Any]
    answer: Any


class Hop(TypedDict):
    """One step of the path: who asked whom for what, and what became of it."""

    hop: int
    """From 1."""
    asker: str | None
    """None if the job itself asks: the first hop."""
    capability: str | None
    """None if the first agent is named."""
    agent: str
    outcome: str
    """`waiting`, `answered` or `failed`."""
    error: dict[str, str] | None
    """`type` and `message` of what an agent that failed raised."""


class Frame(TypedDict):
    """An agent that was asked and has not answered yet."""

    hop: int
    asker: str | None
    capability: str | None
    agent: str
    data: dict[str, Any]
    answers: list[Answer]
    """What it asked for and was given."""
    failed: list[str]
    """Who was asked this before, and failed."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something that somebody has to answer."""

    asker: str | None
    capability: str | None
    data: dict[str, Any]
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Finish:
    """There is an answer, and nobody waits for another."""

    path: list[Hop]
    answer: Any


@dataclass(frozen=True, kw_only=True)
class Return:
    """The answer goes to who asked, who is called again."""

    path: list[Hop]
    stack: list[Frame]


@dataclass(frozen=True, kw_only=True)
class Seek:
    """A question is to be given to one of several agents."""

    path: list[Hop]
    stack: list[Frame]
    question: Question
    agents: tuple[str, ...]
    """Those who may be asked, by name."""

    def given_to(self, agent: str) -> Return:
        """The state once `agent` is asked."""
        question = self.question
        hop: Hop = {
            "hop": len(self.path) + 1,
            "asker": question.asker,
            "capability": question.capability,
            "agent": agent,
            "outcome": WAITING,
            "error": None,
        }
        frame: Frame = {
            "hop": hop["hop"],
            "asker": question.asker,
            "capability": question.capability,
            "agent": agent,
            "data": question.data,
            "answers": [],
            "failed": list(question.failed),
        }
        return Return(path=[*self.path, hop], stack=[*self.stack, frame])


Move = Finish | Return | Seek


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How an agent fares just now, over all jobs and workers."""

    agent: str
    breaker: BreakerState = BreakerState.CLOSED
    calls: int = 0
    """Under way."""


class Calls(Protocol):
    """Keeps how agents fare, for all workers."""

    async def choose(self, key: str, agents: Sequence[str]) -> str | None:
        """The best of `agents`, which is called under `key` from now on; None if no breaker
        lets any of them be called."""

    async def began(self, key: str, agent: str) -> None:
        """A call of an agent begins, even if it is made again after a crash."""

    async def ended(self, key: str, agent: str, seconds: float, error: str | None) -> None:
        """It answered or asked, or failed with `error`."""

    async def dropped(self, key: str) -> None:
        """It ended without saying anything of the agent: it was stopped, or refused its input."""


_RANK = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1}


def best(standings: Iterable[Standing]) -> Standing | None:
    """Healthy before on trial, then with the fewest calls under way, then by name."""
    able = [one for one in standings if one.breaker in _RANK]
    return min(able, key=lambda one: (_RANK[one.breaker], one.calls, one.agent), default=None)


@dataclass(frozen=True)
class Switchboard:
    """The mesh of one node, with its agents."""

    mesh: Mesh
    agents: Mapping[str, Agent]
    _asks: dict[str, dict[str, Schema]] = field(default_factory=dict, repr=False)

    def opening(self, data: dict[str, Any]) -> Question:
        """What the job itself asks."""
        return Question(asker=None, capability=self.mesh.entry_capability, data=data)

    def start(self, data: dict[str, Any]) -> Seek:
        """The first move. Raises MeshStopped."""
        return self.seek(self.opening(data), [], [])

    def after(
        self, said: Mapping[str, Any], stack: Sequence[Frame], path: Sequence[Hop], attempt: int
    ) -> Move:
        """The move after the agent on top of the stack has `said` something.

        `attempt` numbers the runs of the job: a person who lets it go on after its agents failed
        has them asked once more. Raises MeshStopped.
        """
        *below, top = stack
        if ASK in said:
            asked = said[ASK]
            question = Question(
                asker=top["agent"], capability=asked["capability"], data=asked["data"]
            )
            return self.seek(question, stack, path)
        if ERROR in said:
            question = Question(
                asker=top["asker"],
                capability=top["capability"],
                data=top["data"],
                failed=(*top["failed"], top["agent"]) if said["attempt"] == attempt else (),
            )
            return self.seek(question, below, _close(path, top, said[ERROR]))
        closed = _close(path, top, None)
        if not below:
            return Finish(path=closed, answer=said[ANSWER])
        answer: Answer = {
            "capability": top["capability"] or "",
            "data": top["data"],
            "answer": said[ANSWER],
        }
        asker: Frame = {**below[-1], "answers": [*below[-1]["answers"], answer]}
        return Return(path=closed, stack=[*below[:-1], asker])

    def seek(self, question: Question, stack: Sequence[Frame], path: Sequence[Hop]) -> Seek:
        """Who may answer a question. Raises MeshStopped if nobody may."""
        what = _what(question)
        able = self.able(question.capability)
        if not able:
            declared = sorted(
                {name for agent in self.agents.values() for name in agent.capabilities}
            )
            raise MissingCapability(
                f"{what}, and nobody in the mesh declares it; they declare {', '.join(declared)}",
                path,
            )
        waiting = {frame["agent"] for frame in stack}
        free = [name for name in able if name not in waiting]
        if not free:
            raise MeshCycle(
                f"{what}, and {_names_text(able)} that could answer waits for an answer itself",
                path,
            )
        fit = [name for name in free if not self._problems(name, question.data)]
        if not fit:
            wrong = self._problems(free[0], question.data)[0]
            raise MeshInputRefused(f"{what}, and {free[0]} does not take the data: {wrong}", path)
        left = [name for name in fit if name not in question.failed]
        if not left:
            raise MeshAgentDead(f"{what}, and {_names_text(fit)} failed{_last(path)}", path)
        if len(path) >= self.mesh.max_hops:
            raise TooManyHops(f"{what}, and max_hops is {self.mesh.max_hops}", path)
        return Seek(path=list(path), stack=list(stack), question=question, agents=tuple(left))

    def able(self, capability: str | None) -> list[str]:
        """Who declares a capability; without one, who is called first."""
        if capability is None:
            return [self.mesh.entry]
        return sorted(n for n, agent in self.agents.items() if capability in agent.capabilities)

    def asks(self, name: str) -> dict[str, Schema]:
        """The input schema of each capability that an agent may ask for: that of the first agent
        that declares it."""
        if name not in self._asks:
            others = {
                capability: [other for other in self.able(capability) if other != name]
                for capability in self.agents[name].asks
            }
            self._asks[name] = {
                capability: self.agents[able[0]].input_schema
                for capability, able in others.items()
                if able
            }
        return self._asks[name]

    def _problems(self, name: str, data: Mapping[str, Any]) -> list[Any]:
        schema = self.agents[name].input_schema
        return list(validate(schema, with_defaults(schema, data)))


def no_line(seek: Seek) -> MeshAgentDead:
    """The error where breakers let nobody be asked."""
    return MeshAgentDead(
        f"{_what(seek.question)}, and {_names_text(seek.agents)} failed too often of late and is not "
        "asked for now; `ucop mesh agents` tells until when",
        seek.path,
    )


def error_of(writes: Iterable[tuple[str, Any]], channel: str) -> Mapping[str, Any] | None:
    """The error that an agent's node wrote in place of what it said."""
    said = next((value for name, value in writes if name == channel), None)
    found = said.get(ERROR) if isinstance(said, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _close(path: Sequence[Hop], top: Frame, error: Any) -> list[Hop]:
    ended: Hop = {
        **path[top["hop"] - 1],
        "outcome": FAILED if error else ANSWERED,
        "error": error and {"type": error["type"], "message": error["message"]},
    }
    return [ended if hop["hop"] == top["hop"] else hop for hop in path]


def _what(question: Question) -> str:
    asker = question.asker or "the job"
    return f"{asker} asks for {question.capability!r}" if question.capability else f"{asker} asks"


def _names_text(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"each of {', '.join(names)}"


def _last(path: Sequence[Hop]) -> str:
    errors = [hop["error"] for hop in path if hop["error"]]
    return f": {errors[-1]['type']}: {errors[-1]['message']}" if errors else ""
