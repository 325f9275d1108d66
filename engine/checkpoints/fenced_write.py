"""One transaction of an attempt, written behind the fence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..faults import fault
from ..journal.journal import Journal
from ..journal.notes import Call, Notes
from ..ledger.operation import Operation, Statement, run

HELD_UP = 10.0
"""Seconds that a graph which a node runs waits for a commit that is under way."""


HELD_UP_BY_A_NODE = (
    "a node runs a graph by invoke() or stream() on the engine's event loop, and holds up a commit "
    "of its own job that is under way there: use `await graph.ainvoke(…)` or `graph.astream(…)`, "
    "or make the node a plain function (def)"
)


class FencedWrite:
    """One transaction of an attempt: the fence, what its journal holds, and what is new. Where it does
    not commit inside `with write:`, all stays in the journal."""

    def __init__(
        self,
        journal: Journal,
        *calls: Call,
        notes: Notes | None = None,
        saved: int = 0,
        checkpoint: str | None = None,
    ) -> None:
        self.journal, self.calls, self.notes = journal, calls, notes or Notes()
        self.load: Notes | None = None
        """What is taken out of the journal while this is under way."""
        self._saved, self._checkpoint = saved, checkpoint

    def tell(self) -> Operation[None]:
        """The fence and the notes."""
        self._untake()
        self.load = self.journal.take()
        return self.journal.tell(
            self.load, self.notes, saved=self._saved, checkpoint=self._checkpoint
        )

    def into(
        self,
        execute: Callable[[Statement], Sequence[Any]],
        save: Callable[[Call], Any],
    ) -> None:
        """Write all of it into a transaction that is open, by what executes and saves there."""
        run(self.tell(), execute)
        assert self.load is not None
        for call in (*self.load.held, *self.calls):
            save(call)
        fault("inside saver write")

    def told(self) -> None:
        """It has committed."""
        load, self.load = self.load, None
        if load is not None:
            self.journal.told(load, self.notes)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._untake()

    def _untake(self) -> None:
        if self.load is not None:
            self.journal.give_back(self.load)
            self.load = None
