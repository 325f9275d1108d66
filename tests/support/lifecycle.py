"""What must become of a job: DESIGN's rules in plain Python, that know nothing of the engine.

The job's graph is `mill`: four supersteps, of which two run two nodes at once; two nodes ask a
person, one of them twice. A `Life` is told what happens to a job, and says what the database must hold then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SUPERSTEPS: tuple[tuple[str, ...], ...] = (("a",), ("b", "c"), ("ask", "quiz"), ("z",))
ASKS = {"ask": 1, "quiz": 2}
"""How many questions a node asks, one after the other."""

FOLLOWS = frozenset(
    {
        ("pending", "running"),
        ("pending", "paused"),
        ("pending", "cancelled"),
        ("running", "paused"),
        ("running", "cancelled"),
        ("running", "waiting"),
        ("running", "completed"),
        ("running", "failed"),
        ("running", "pending"),
        ("paused", "cancelled"),
        ("paused", "pending"),
        ("waiting", "cancelled"),
        ("waiting", "pending"),
        ("failed", "pending"),
    }
)
"""Which status may follow which."""

FINAL = frozenset({"completed", "cancelled"})
POISON = 3
"""Attempts in a row that lost their worker and saved nothing."""


class Refused(Exception):
    """What a person asks does not fit the job's status."""


@dataclass
class Asked:
    """A question to a person."""

    node: str
    standing: int
    """Counts how often the job was set back before it was asked: the graph asks anew then."""
    answered: bool = False
    consumed: bool = False
    """Whether the node has gone past the answer."""
    withdrawn: bool = False
    """Whether the job stopped asking before that."""

    @property
    def is_open(self) -> bool:
        return not (self.answered or self.withdrawn)

    @property
    def is_settled(self) -> bool:
        return self.consumed or self.withdrawn


@dataclass
class Life:
    """A job as it must stand."""

    id: str
    status: str = "pending"
    attempt: int = 1
    want: str | None = None
    worker: str | None = None
    at: int = 0
    """Supersteps that are behind it."""
    done: set[str] = field(default_factory=set)
    """Nodes of the next one that are done and saved."""
    begun: bool = False
    """Whether it has saved a checkpoint."""
    entered: bool = False
    """Whether its newest one holds more than the input. Else the next claim saves one that does."""
    open: set[str] = field(default_factory=set)
    """Nodes that run, in its current attempt."""
    draining: bool = False
    asked: set[str] = field(default_factory=set)
    """Nodes that ask, in its current attempt."""
    standing: int = 0
    taken: Counter[str] = field(default_factory=Counter)
    """How many answers each node has gone past, where the job stands."""
    questions: list[Asked] = field(default_factory=list)
    saved: bool = False
    """Whether its current attempt saved something."""
    stalls: int = 0
    story: list[str] = field(default_factory=lambda: ["submitted"])
    """Its `job.…` events."""
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Its `step.…` events, by kind and node."""
    runs: Counter[str] = field(default_factory=Counter)
    """Completed steps by node."""

    # ------------------------------------------------------------ what a worker does

    def claim(self, worker: str) -> None:
        assert self.status == "pending"
        self._become("running")
        self.worker, self.draining, self.asked = worker, False, set()
        # The input and the first checkpoint are saved before a node runs.
        self.saved, self.begun, self.entered = not self.entered, True, True
        self._go_on()

    def end(self, node: str) -> None:
        """A node of the current attempt ends."""
        self.open.remove(node)
        for question in (given := self._given(node)):
            question.consumed = True
            self.taken[node] += 1
        if self.taken[node] < ASKS.get(node, 0):
            self.saved = self.saved or bool(given)  # that it asks is no progress
            self.asked.add(node)
            self.steps["pending", node] += 1
        else:
            self.saved = True
            self.done.add(node)
            self.runs[node] += 1
            self.steps["completed", node] += 1
        if self.open:
            return
        if self.asked:
            self._note_questions()
            self._become("waiting")
            return
        self.at, self.done = self.at + 1, set()
        if self.draining and self.at < len(SUPERSTEPS):
            self._give_back()
        else:
            self._go_on()

    def fail(self, node: str) -> None:
        """A node of the current attempt raises; its siblings are stopped."""
        self._stop_open()
        self._become("failed")

    def hear_pause(self) -> None:
        """Its worker hears what was asked for."""
        if self.want == "pause now":
            self._stop_open()
            self._give_back()
        elif self.want == "pause":
            self.draining = True

    def stop(self) -> None:
        """Its worker is stopped in good order."""
        self._stop_open()
        self._give_back()

    def lose(self) -> None:
        """Its worker is gone, and another found out."""
        self.stalls = 0 if self.saved else self.stalls + 1
        if self.stalls >= POISON:
            self._become("failed")
        else:
            self._give_back(stalls=self.stalls)

    # ------------------------------------------------------------ what people do

    def pause(self, at_once: bool) -> None:
        if self.status == "pending":
            self._become("paused")
        elif self.status == "running":
            self.want = "pause now" if at_once else "pause"
            self.story.append("pausing")
        else:
            raise Refused

    def cancel(self) -> None:
        if self.status in FINAL or self.status == "failed":
            raise Refused
        self._become("cancelled")

    def resume(self) -> None:
        if self.status not in ("paused", "failed"):  # who waits goes on by an answer
            raise Refused
        self._queue(stalls=0)

    def retry(self) -> None:
        if self.status != "failed":
            raise Refused
        self._queue(stalls=0)

    def answer(self, question: Asked) -> None:
        takes = question.is_open if self.status == "waiting" else not question.is_settled
        if self.status not in ("waiting", "failed") or not takes:
            raise Refused
        question.answered = True
        self._queue(stalls=0)

    def restore(self, at: int, *, entered: bool, retry: bool = False) -> None:
        if self.status not in (("failed",) if retry else ("paused", "failed")):
            raise Refused
        self.at, self.done, self.standing, self.stalls = at, set(), self.standing + 1, 0
        self.entered = entered
        self.taken.clear()
        for question in self.questions:
            question.withdrawn = not question.consumed
        self.story.append("restored")
        if retry:
            self._queue(stalls=0)

    def fork(self, id: str, at: int, *, entered: bool, as_it_stands: bool) -> Life:
        """A new job; this one stays as it is."""
        done = set(self.done) if as_it_stands else set()
        taken = Counter(self.taken) if as_it_stands else Counter()
        return Life(id, at=at, done=done, begun=True, entered=entered, taken=taken)

    # ------------------------------------------------------------ what must be there

    @property
    def kept(self) -> set[str]:
        """Nodes whose work the checkpointer holds."""
        before = {node for nodes in SUPERSTEPS[: self.at] for node in nodes}
        return before | self.done

    # ------------------------------------------------------------ parts

    def _go_on(self) -> None:
        if self.at == len(SUPERSTEPS):
            self._become("completed")
            return
        self.open = set(SUPERSTEPS[self.at]) - self.done
        for node in self.open:
            self.steps["started", node] += 1

    def _stop_open(self) -> None:
        for node in self.open:
            self.steps["failed", node] += 1

    def _given(self, node: str) -> list[Asked]:
        return [q for q in self.questions if q.node == node and q.answered and not q.is_settled]

    def _note_questions(self) -> None:
        for node in sorted(self.asked):
            if not any(q.node == node and q.is_open for q in self.questions):
                self.questions.append(Asked(node, self.standing))

    def _give_back(self, stalls: int = 0) -> None:
        if self.want is not None:
            self._become("paused")
        else:
            self._queue(stalls=stalls)

    def _queue(self, stalls: int) -> None:
        self._become("pending")
        self.attempt += 1
        self.stalls = stalls

    def _become(self, status: str) -> None:
        assert (self.status, status) in FOLLOWS
        self.status = status
        self.story.append(status)
        self.want = self.worker = None
        self.open, self.draining = set(), False
