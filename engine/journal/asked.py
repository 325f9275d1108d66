"""What the nodes of an attempt ask people, and where they stopped the graph."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from typing import Any

from ucop.agents.text.plain import brief, plain
from ucop.graphs.nodes.question import WITHIN, deadline_of

from ..ledger.records import Question
from ..values.json_text import to_json
from ..values.stored import stored_json
from .replies import INTERRUPT, takes_answer


class Asked:
    """The questions that the graph waits for, in the order of the tasks that ask."""

    def __init__(self) -> None:
        self.stops: dict[str, str] = {}
        """Nodes that stopped the graph without asking anything that can be answered, and why."""
        self._known: dict[str, Question] = {}
        """What was asked, by the innermost node that asked it."""
        self._ways: dict[str, tuple[int, ...]] = {}
        """The places of the tasks inside others that ask, from the outermost, by question."""
        self._waiting: list[tuple[int, int, Question]] = []
        """What the graph waits for, with the place of the task."""

    @property
    def questions(self) -> list[Question]:
        return [question for *_, question in self._waiting]

    def add(
        self, place: int, node: str, interrupts: Iterable[Mapping[str, Any]], *, inside: bool
    ) -> None:
        """A node at this place of its superstep interrupts. What nodes `inside` another one ask, the
        graph waits for only if that node passes it on. Raises Unstorable."""
        # What several nodes inside this one ask comes in any order.
        for interrupt in sorted(interrupts, key=lambda each: self._ways.get(each["id"], ())):
            id = interrupt["id"]
            if not takes_answer(id):
                self.stops.setdefault(node, str(brief(interrupt["value"])))
                continue
            if id not in self._known:
                self._known[id] = _question(interrupt, node)
            if inside:
                self._ways[id] = (place, *self._ways.get(id, ()))
            elif self._known[id] not in self.questions:
                entry = (place, len(self._waiting), self._known[id])
                insort(self._waiting, entry, key=lambda each: each[:2])


def _question(interrupt: Mapping[str, Any], node: str) -> Question:
    """What an interrupted node asks. Raises WorkflowError for a deadline that is none."""
    schema: Mapping[str, Any] = interrupt.get("response_schema") or {}
    deadline = deadline_of(schema, node)
    shown = {key: value for key, value in schema.items() if key != WITHIN}
    return Question(
        id=interrupt["id"],
        node=node,
        question=stored_json(interrupt["value"], node=node, channel=INTERRUPT),
        answer_schema=to_json(shown) if shown else None,
        within=deadline.within if deadline else None,
        default=to_json(plain(deadline.default)) if deadline and not deadline.fails else None,
    )
