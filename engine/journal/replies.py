"""The answers that an attempt was given, and which of them its tasks take.

LangGraph keeps the answers that a task took among the writes of its checkpoint (`__resume__`), and
gives the task what the resume map holds for its next question. It also gives it the answer to
its first question once more, so a map may name no answer that was taken. Whatever a task saves
passes here: what it has gone past is consumed in the same transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.types import Interrupt

from ..ledger.questions import slot
from ..ledger.records import Given, Question

ERROR = "__error__"
ERROR_SOURCE = "__error_source_node__"
INTERRUPT = "__interrupt__"
RESUME = "__resume__"

Writes = Sequence[tuple[str, Any]]

_DIGEST = re.compile(r"[0-9a-f]{32}")
"""How LangGraph writes the hash of a task and how many answers it has."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a task saves, and what that means for answers."""

    writes: Writes
    consumed: tuple[str, ...] = ()
    """Questions whose answers the task has gone past."""
    rejected: tuple[str, ...] = ()
    """Questions whose answers did not fit what the task takes."""


class Replies:
    """The answers of one attempt."""

    def __init__(self, given: Iterable[Given]) -> None:
        self._given = {each.question: each for each in given}
        self._sent = {slot(id): id for id in self._given}
        self._settled: set[str] = set()
        self._tasks: dict[str, tuple[int, set[str]]] = {}
        """The tasks that asked, by LangGraph's id of the question: those of the innermost graph,
        for LangGraph notes each question for the tasks around it too."""

    @property
    def resume(self) -> dict[str, Any]:
        """LangGraph's resume map."""
        return {place: self._given[id].answer for place, id in self._sent.items()}

    def known(self, namespace: str, pending: Iterable[tuple[str, str, Any]]) -> None:
        """Writes that a checkpoint held when it was read: who asked what in earlier attempts."""
        for task, channel, value in pending:
            if channel == INTERRUPT:
                self._note(namespace, task, value)

    def reply(self, namespace: str, task: str, writes: Writes) -> Reply:
        """What `task` is to save of `writes`, and what becomes of the answers it was given."""
        found = dict(writes)
        if INTERRUPT in found:
            self._note(namespace, task, found[INTERRUPT])
        mine = [
            id for place, id in self._sent.items() if task in self._tasks.get(place, (0, ()))[1]
        ]
        if not mine:
            return Reply(writes)
        if ERROR in found and ERROR_SOURCE not in found:
            # It may have raised because of the answer. Until it goes past it, a person can give
            # another one, so the checkpoint must not hold it.
            kept = [write for write in writes if write[0] != RESUME]
            rejected = tuple(mine) if _rejects(found[ERROR]) else ()
            self._settled.update(rejected)
            return Reply(kept, rejected=rejected)
        if INTERRUPT in found and RESUME not in found:
            return Reply(writes)
        self._settled.update(mine)
        return Reply(writes, consumed=tuple(mine))

    def ignored(self, asked: Iterable[Question]) -> Given | None:
        """An answer that reached nobody, and whose question was asked again under another id: the
        graph that asks keeps no checkpoints, so that LangGraph takes each of its runs for a new
        one."""
        again = {(question.node, question.question) for question in asked}
        lost = (each for id, each in self._given.items() if id not in self._settled)
        return next((each for each in lost if (each.node, each.asked) in again), None)

    def _note(self, namespace: str, task: str, interrupts: Any) -> None:
        depth = namespace.count("|") + 1 if namespace else 0
        for interrupt in interrupts if isinstance(interrupts, Sequence) else [interrupts]:
            if not isinstance(interrupt, Interrupt):  # no question that LangGraph asked
                continue
            known, tasks = self._tasks.get(interrupt.id, (-1, set()))
            if depth > known:
                self._tasks[interrupt.id] = (depth, {task})
            elif depth == known:
                tasks.add(task)


def takes_answer(interrupt: str) -> bool:
    """Whether LangGraph can give an answer to an interrupt of this id: what is raised by hand, as
    `NodeInterrupt`, has an id that names no task, and only stops the graph."""
    return bool(_DIGEST.fullmatch(interrupt))


def _rejects(error: object) -> bool:
    """Whether LangGraph refused the answer before the node saw it."""
    from langgraph.errors import is_invalid_resume

    return isinstance(error, BaseException) and is_invalid_resume(error)
