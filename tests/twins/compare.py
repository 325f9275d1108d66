"""Where two plays of one twin differ. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.twins.play import Asked, Observation, Part, Rest
from tests.twins.shape import shape
from tests.twins.twin import Fork, Twin
from tests.twins.witness import Visit


@dataclass(frozen=True)
class Difference:
    twin: str
    part: str
    """`status`, `result`, `error`, `questions`, `runs`, `history`, `nested`, `stream`."""
    bare: Any
    job: Any

    def to_json(self) -> dict[str, Any]:
        return {"twin": self.twin, "part": self.part, "bare": self.bare, "job": self.job}


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
    note("error", [rest.error for rest in one], [rest.error for rest in other])
    note(
        "questions",
        [_asked(rest.questions, twin) for rest in one],
        [_asked(rest.questions, twin) for rest in other],
    )
    if not broken:
        note("runs", _runs(bare.visits), _runs(job.visits))
    if not any(isinstance(move, Fork) for move in twin.then):  # a fork has a thread of its own
        note("history", bare.history, job.history)
        if not broken:
            note("nested", bare.nested, job.nested)
    if job.parts:
        note("stream", _parts(bare.parts), _parts(job.parts))
    return found


def _rests(rests: Sequence[Rest]) -> list[Rest]:
    return [rest for rest in rests if rest.status != "paused"]


def _asked(questions: Sequence[Asked], twin: Twin) -> list[Any]:
    found = [[each.node.partition("/")[0], shape(each.value)] for each in questions]
    return sorted(found, key=repr) if twin.parallel else found


def _runs(visits: Sequence[Visit]) -> list[Any]:
    """Which node ran how often in which superstep; within one the order is left open."""
    counted = Counter((v.phase, v.step, v.path, v.label) for v in visits)
    return [[*key, number] for key, number in sorted(counted.items())]


def _parts(parts: Sequence[Part]) -> list[Any]:
    return sorted(([part.path, part.kind, part.data] for part in parts), key=repr)
