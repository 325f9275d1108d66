"""What an attempt has still to write, and what becomes of it: its notes, until a transaction commits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..errors import DatabaseError, Superseded
from ..jobs.job import JobId
from ..ledger import progress
from ..ledger.operation import Operation
from ..ledger.records import NewEvent, StepRow
from ..values.json_text import shown_json
from .notes import Call, Notes
from .observer import Observer

MOST_UNSAVED = 10
"""Results of nodes that wait for a transaction which others wait for already; and how many may
wait before nothing more begins. A kill loses them."""


class Turn:
    """The journal's lock, which knows how many want it: `async with journal.turn:`."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self.waiting = 0

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self._lock.acquire()
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class Outbox:
    """The notes of one attempt, and the fence that they pass through: see journal.py."""

    def __init__(self, job_id: JobId, attempt: int, observer: Observer) -> None:
        self.job_id, self.attempt = job_id, attempt
        self.lock = asyncio.Lock()
        """Held for each write of this attempt: LangGraph's savers may be called at once."""
        self.turn = Turn(self.lock)
        """Takes the lock, and tells the one who has it whether others wait to write."""
        self.guard = threading.RLock()
        """Held while notes are changed; never while anything is waited for."""
        self.committing = threading.Lock()
        """Held by a commit that others, in other threads, must not overtake."""
        self.notes = Notes()
        """What waits for a transaction. Held for one are the input and the writes of a superstep's last
        task with the checkpoint, other writes with those that wait behind them."""
        self.is_closed = False
        """Whether the attempt has ended, and what it has still to tell is told with its end."""
        self._unsaved: Exception | None = None
        self._uncertain: Exception | None = None
        self._broke: list[BaseException] = []
        """What kept this attempt's own commits from being made."""
        self._observer = observer
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
        self._attempt = asyncio.current_task()

    # ------------------------------------------------------------ notes

    def event(self, type: str, data: Mapping[str, Any]) -> None:
        self.tell_of(type, shown_json(data))

    def tell_of(self, type: str, data: str) -> None:
        """`event`, of what is JSON already."""
        event = NewEvent(type=type, at=time.monotonic(), data=data)
        with self.guard:
            self.notes.events.append(event)
        self._hear(self._observer.noted)

    def _hear(self, tell: Callable[[], None]) -> None:
        """Call what belongs to the loop, on the loop."""
        if threading.get_ident() == self._thread:
            tell()
        else:
            self._loop.call_soon_threadsafe(tell)

    @property
    def noted_at(self) -> float | None:
        """When the oldest note that waits was made, on the monotonic clock."""
        with self.guard:
            return self.notes.events[0].at if self.notes.events else None

    # ------------------------------------------------------------ transactions

    def may_advance(self) -> None:
        """Whether a checkpoint may be saved, or the job end well. Raises what kept earlier writes
        from being saved."""
        if self._unsaved is not None:
            raise self._unsaved

    def may_write(self) -> None:
        """Whether anything may be written. Raises what broke an earlier commit off."""
        if self._uncertain is not None:
            raise self._uncertain

    @contextmanager
    def certain(self) -> Iterator[None]:
        """A commit. Where the database is lost inside, nobody knows whether it happened: then
        this attempt writes no more, or it could tell the same twice."""
        self.may_write()
        try:
            yield
        except DatabaseError as error:
            self._uncertain = error
            raise

    def broke_off(self, error: Superseded | DatabaseError) -> None:
        """A commit of this attempt was not made, for no fault of what it was to hold."""
        self._broke.append(error)

    def broke(self, error: BaseException) -> bool:
        """Whether an error is the one that kept a commit of this attempt from being made."""
        return any(known is error for known in self._broke)

    async def room(self) -> None:
        """Wait while much of what ended is not saved: a fan-out must not run ahead of it, however
        little of the processor its worker gets."""
        if self.turn.waiting + len(self.notes.held) >= MOST_UNSAVED:
            # Those who wait to write are served in their order, and then this one.
            async with self.lock:
                pass

    def hold(self, call: Call, notes: Notes | None = None) -> None:
        """Save this, and tell those notes, together with what is saved next."""
        with self.guard:
            self.notes.held.append(call)
            if notes is not None:
                self.notes.add(notes)
        if notes is not None and notes.events:
            self._hear(self._observer.noted)

    def is_stopped(self) -> bool:
        """Whether the attempt was cancelled, and what still ends in it was cancelled for that."""
        return self._attempt is not None and self._attempt.cancelling() > 0

    def drop_held(self) -> None:
        """What is held cannot be saved."""
        with self.guard:
            self.notes.held.clear()

    def take(self) -> Notes:
        """What waits, for a transaction that writes it. What becomes of it is told by `told`, or by
        `give_back`. Raises Superseded if the attempt has ended."""
        with self.guard:
            if self.is_closed:
                raise progress.superseded(self.job_id, self.attempt)
            load, self.notes = self.notes, Notes()
            return load

    def give_back(self, load: Notes) -> None:
        """The transaction that had taken this has written nothing."""
        with self.guard:
            load.add(self.notes)
            self.notes = load

    def tell(
        self, load: Notes, notes: Notes, *, saved: int = 0, checkpoint: str | None = None
    ) -> Operation[None]:
        """The fence together with the notes of `load`, and `notes`."""
        with self.guard:
            running = self.running()
        return progress.tell(
            self.job_id,
            self.attempt,
            steps=[*load.steps, *notes.steps, *running],
            events=[*load.events, *notes.events],
            saved=saved,
            checkpoint=checkpoint,
            consumed=[*load.consumed, *notes.consumed],
            rejected=[*load.rejected, *notes.rejected],
        )

    def told(self, load: Notes, notes: Notes) -> None:
        """The transaction that wrote this has committed."""
        if load.events or notes.events:
            self._hear(self._observer.committed)

    def close(self) -> Notes:
        """All notes that wait, for the transaction that ends the attempt: no other writes any more.
        Called with the lock held."""
        with self.guard:
            self.is_closed = True
            return replace(self.notes, steps=[*self.notes.steps, *self.running()])

    def running(self) -> list[StepRow]:
        """The steps that run, with what they have spent so far, if that is to be written."""
        return []
