"""What a saver may store: each value is looked at before it is saved, and an error of a commit says whether
the database failed or a value is to blame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP

from ..errors import DatabaseError, Superseded, Unstorable
from ..journal.journal import Journal
from ..journal.notes import Call
from ..journal.replies import ERROR
from ..values.stored import MOST_BYTES, ROOM, stored, stored_error, too_large

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig


class Naming:
    """See `Storing.naming`. It stands around each commit: a class costs a third of a generator."""

    __slots__ = ("_journal", "_more", "_saver")

    def __init__(self, saver: Storing, journal: Journal, more: Sequence[Call]) -> None:
        self._saver, self._journal, self._more = saver, journal, more

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            self._saver.name(error, self._journal, self._more)


class Storing:
    """A saver's checks."""

    serde: Any
    most_bytes = MOST_BYTES
    """Bytes of one value that the database takes."""

    def storing(
        self,
        journal: Journal,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> Sequence[Call]:
        """The calls that save what a node gave. Raises Unstorable.

        LangGraph's savers let a task's error, question or answer take the place of an earlier one only
        if nothing else is saved with it; along with the name of the node that failed, an earlier
        error would stay, and its handler be given that one after a crash.
        """
        try:
            kept = [self._kept(*write, journal.node_of(task_id)) for write in writes]
        except Unstorable as error:
            journal.refused(task_id, error)
            raise
        call: Call = ("put_writes", (config, kept, task_id, task_path))
        special = [write for write in kept if write[0] in WRITES_IDX_MAP]
        if not special or len(special) == len(kept):
            return (call,)
        return ("put_writes", (config, special, task_id, task_path)), call

    def check(self, calls: Sequence[Call]) -> None:
        """Raise Unstorable for a value of these calls that would not come back as it is."""
        for method, arguments in calls:
            writes = arguments[1]["channel_values"].items() if method == "put" else arguments[1]
            for channel, value in writes:
                stored(self.serde, value, node=None, channel=channel)

    def _kept(self, channel: str, value: Any, node: str | None) -> tuple[str, Any]:
        """A write as it is stored. Raises Unstorable."""
        if channel == ERROR:
            return channel, stored_error(self.serde, value)
        return channel, stored(self.serde, value, node=node, channel=channel, most=self.most_bytes)

    def naming(self, journal: Journal, *more: Call) -> Naming:
        """A commit, whose errors tell whether the database failed or a value is to blame: inside,
        Superseded, DatabaseError or Unstorable is raised."""
        return Naming(self, journal, more)

    def name(self, error: Exception, journal: Journal, more: Sequence[Call]) -> None:
        """Raise what an error of a commit means, if it is another."""
        if isinstance(error, (Superseded, DatabaseError)):
            journal.broke_off(error)
            return
        if (refused := self._refusal(journal, more)) is not None:
            raise refused from error
        if (refused := self._refusal(journal, journal.notes.held)) is not None:
            journal.drop_held()  # the input, without which nothing else is worth keeping
            raise refused from error

    def _refusal(self, journal: Journal, calls: Sequence[Call]) -> Unstorable | None:
        """What is wrong with a value of the checkpoints among `calls`: a reducer may make what no
        node gave."""
        for method, arguments in calls:
            if method == "put":
                values: Mapping[str, Any] = arguments[1]["channel_values"]
                try:
                    self._check(values, journal)
                except Unstorable as error:
                    return error
        return None

    def _check(self, values: Mapping[str, Any], journal: Journal) -> None:
        """Raise Unstorable for the first value that is no good, or the largest of too many."""
        largest, total, most = "", 0, -1
        for channel, value in values.items():
            node = journal.writer_of(channel)
            size = len(stored(self.serde, value, node=node, channel=channel).typed[1])
            total += size
            if size > most:
                largest, most = channel, size
        if total > self.most_bytes - ROOM:
            raise too_large(
                values[largest], total, self.most_bytes, journal.writer_of(largest), largest
            )
