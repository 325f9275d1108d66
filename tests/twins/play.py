"""How a twin is played on either side: begun, answered, retried and edited until it rests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.twins import witness
from tests.twins.twin import Again, Edit, Fork, Move, Twin


@dataclass(frozen=True)
class Asked:
    """An open question."""

    id: str
    """Not compared: it is made of ids of checkpoints."""
    node: str
    value: Any


@dataclass(frozen=True)
class Rest:
    """The graph does nothing more by itself."""

    status: str
    """`completed`, `waiting` (questions, or a breakpoint), `failed`, `paused`, `stuck`."""
    result: Any = None
    error: tuple[str, str] | None = None
    """Type and message."""
    questions: tuple[Asked, ...] = ()


@dataclass(frozen=True)
class Task:
    """A task of a checkpoint, as LangGraph's history tells."""

    name: str
    error: str | None
    questions: tuple[Any, ...]
    result: Any


@dataclass(frozen=True)
class Saved:
    """One checkpoint of the graph itself."""

    source: str
    step: int
    values: Any
    next: tuple[str, ...]
    tasks: tuple[Task, ...]


@dataclass(frozen=True)
class Part:
    """One part of a stream."""

    kind: str
    path: str
    data: Any


@dataclass(frozen=True)
class Observation:
    """All that can be seen of one play."""

    rests: tuple[Rest, ...] = ()
    visits: tuple[witness.Visit, ...] = ()
    history: tuple[Saved, ...] = ()
    """The newest first."""
    nested: tuple[tuple[str, int, str], ...] = ()
    """(path, step, source) of the checkpoints of graphs inside."""
    parts: tuple[Part, ...] = ()


class Side(Protocol):
    """What runs a graph: bare LangGraph, or a job."""

    def start(self) -> Rest: ...

    def answer(self, question: Asked, value: Any) -> Rest: ...

    def resume(self) -> Rest: ...

    def retry(self) -> Rest: ...

    def move(self, move: Move) -> Rest: ...

    def history(self) -> tuple[tuple[Saved, ...], tuple[tuple[str, int, str], ...]]: ...

    def parts(self) -> tuple[Part, ...]: ...


Choose = Callable[[Sequence[Asked]], Asked]


def first(questions: Sequence[Asked]) -> Asked:
    """By what they ask: a question that comes later may be listed elsewhere."""
    return min(questions, key=lambda each: repr(each.value))


def last(questions: Sequence[Asked]) -> Asked:
    return max(questions, key=lambda each: repr(each.value))


def play(twin: Twin, side: Side, *, choose: Choose = first) -> tuple[Rest, ...]:
    """Every rest until the last, which nothing follows."""
    answered: Counter[str] = Counter()
    retries, moves = twin.retries, list(twin.then)
    rests = [side.start()]
    while len(rests) < twin.rests:
        witness.rested()
        rest = rests[-1]
        if rest.status == "stuck":
            break
        if moves and _is_due(moves[0], rest):
            rests.append(side.move(moves.pop(0)))
        elif rest.status == "waiting" and rest.questions:
            question = choose(rest.questions)
            key = repr(question.value)
            value = twin.answer_to(question.value, answered[key])
            answered[key] += 1
            rests.append(side.answer(question, value))
        elif rest.status in ("waiting", "paused"):
            rests.append(side.resume())
        elif rest.status == "failed" and retries:
            retries -= 1
            rests.append(side.retry())
        else:
            break
    return tuple(rests)


def _is_due(move: Move, rest: Rest) -> bool:
    match move:
        case Again() | Fork():
            return rest.status == "completed"
        case Edit():
            return rest.status in ("waiting", "failed")
