"""Where two plays of one twin differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tests.twins.play import Asked, Observation, Part, Rest, Saved
from tests.twins.shape import shape
from tests.twins.twin import Edit, Fork, Move, Twin
from tests.twins.witness import Visit

LONG = 1500


@dataclass(frozen=True)
class Difference:
    twin: str
    part: str
    """`status`, `result`, `error`, `questions`, `runs`, `history`, `nested`, `stream`."""
    bare: Any
    job: Any
    where: str = ""
    """What was done to the job meanwhile."""

    def at(self, where: str) -> Difference:
        return replace(self, where=where)

    def to_json(self) -> dict[str, Any]:
        """For people: what is long is cut."""
        told = {"twin": self.twin, "part": self.part, "where": self.where}
        return {**told, "bare": repr(self.bare)[:LONG], "job": repr(self.job)[:LONG]}


def differences(
    twin: Twin, bare: Observation, job: Observation, *, broken: bool = False
) -> list[Difference]:
    """What is not alike, but for what docs/langgraph.md explains.

    `broken`: the job was killed or paused in between, so that nodes may have run more often, and
    there were more rests.
    """
    found: list[Difference] = []

    def note(part: str, one: Any, other: Any) -> None:
        if one != other and part not in twin.differs:
            found.append(Difference(twin.name, part, one, other))

    one, other = _rests(bare.rests), _rests(job.rests)
    note("status", [rest.status for rest in one], [rest.status for rest in other])
    note("result", [shape(rest.result) for rest in one], [shape(rest.result) for rest in other])
    note("error", [_error(rest) for rest in one], [rest.error for rest in other])
    note(
        "questions",
        [_asked(rest.questions, twin) for rest in one],
        [_asked(rest.questions, twin) for rest in other],
    )
    if not broken:
        note("runs", _runs(bare.visits, twin), _runs(job.visits, twin))
    if not _has(twin, Fork):  # a fork has a thread of its own
        note("history", _history(bare.history, twin), _history(job.history, twin))
        if not broken:
            note("nested", bare.nested, job.nested)
    if job.parts:
        note("stream", _parts(bare.parts), _parts(job.parts))
    return found


def _rests(rests: Sequence[Rest]) -> list[Rest]:
    return [rest for rest in rests if rest.status != "paused"]


def _error(rest: Rest) -> tuple[str, str] | None:
    """An error without a text is told as Python writes it: `RuntimeError()`."""
    if rest.error is None or rest.error[1]:
        return rest.error
    return (rest.error[0], f"{rest.error[0]}()")


def _asked(questions: Sequence[Asked], twin: Twin) -> list[Any]:
    found = [[each.node.partition("/")[0], shape(each.value)] for each in questions]
    return sorted(found, key=repr) if twin.parallel else found


def _has(twin: Twin, *kinds: type[Move]) -> bool:
    return any(isinstance(move, kinds) for move in twin.then)


def _history(saved: Sequence[Saved], twin: Twin) -> list[Saved]:
    """LangGraph numbers an edit as a superstep of its own, ucop as the one that it edits."""
    return [replace(each, step=0) for each in saved] if _has(twin, Edit) else list(saved)


def _runs(visits: Sequence[Visit], twin: Twin) -> list[Any]:
    """Which node ran how often in which superstep; within one the order is left open."""
    by_step = not _has(twin, Edit, Fork)
    counted = Counter((v.phase, by_step and v.step, v.path, v.label) for v in visits)
    return [[*key, number] for key, number in sorted(counted.items())]


def _parts(parts: Sequence[Part]) -> list[Any]:
    return sorted(([part.path, part.kind, part.data] for part in parts), key=repr)
