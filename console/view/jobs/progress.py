"""What a job's events say about its nodes: events in, rows out. No clock, no drawing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ucop.engine.jobs.job import Event

_ITEMS = re.compile(r"(\d+)\s*(?:/|of)\s*(\d+)")


class NodeState(StrEnum):
    """How far a node is."""

    WAITING = "waiting"
    RUNNING = "running"
    ASKS = "asks"
    """A person's answer is due."""
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """It ran when its attempt ended."""
    SKIPPED = "skipped"
    """The job was completed without it."""
    NOT_RUN = "not run"
    """The job ended before its turn."""


_UNREACHED = {
    "completed": NodeState.SKIPPED,
    "failed": NodeState.NOT_RUN,
    "cancelled": NodeState.NOT_RUN,
}
"""What a job's end makes of nodes that never began."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A node as a progress display shows it."""

    node: str
    state: NodeState
    runs: int
    """How often it was started."""
    seconds: float | None
    """How long it worked, all runs together; None where it never began."""
    tokens_in: int
    tokens_out: int
    items: str
    """`3/5` in a node that works through items."""
    note: str
    """What it does just now, or why it failed."""


@dataclass
class _Node:
    state: NodeState = NodeState.WAITING
    runs: int = 0
    open: dict[str, datetime] = field(default_factory=dict)
    since: datetime | None = None
    seconds: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    items: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Tokens that a running node used so far."""

    tokens_in: int = 0
    tokens_out: int = 0


class Progress:
    """The nodes of one job, as its events so far tell of them."""

    def __init__(self, nodes: Iterable[str] = ()) -> None:
        """`nodes` are those that are known beforehand, in the order to show them."""
        self._nodes = {node: _Node() for node in nodes}
        self.models: list[str] = []
        """A sentence for each model that is used."""
        self.status = "starting"
        self.attempt = 1
        self.reason = ""

    def apply(self, event: Event) -> None:
        """Take one event, in the order of their numbers."""
        kind, _, what = event.type.partition(".")
        match kind:
            case "job":
                self._job(what, event)
            case "step":
                self._step(what, event)
            case "model":
                self._model(event.data)
            case "progress":
                self._says(event.data)

    def rows(self, now: datetime, spending: Mapping[str, Spending] | None = None) -> list[Row]:
        """The nodes at `now`. `spending` by node adds what running nodes used so far."""
        live = spending or {}
        return [self._row(name, node, now, live.get(name)) for name, node in self._nodes.items()]

    # ------------------------------------------------------------ events

    def _job(self, status: str, event: Event) -> None:
        if status == "submitted":
            self.status = "pending"
            return
        self.status = status
        self.reason = str(event.data.get("reason") or "")
        self.attempt = int(event.data.get("attempt") or self.attempt)
        if status == "running":
            self._go_on()
            return
        for node in self._nodes.values():
            self._leave(node, event.at)
            if node.state is NodeState.WAITING:
                node.state = _UNREACHED.get(status, NodeState.WAITING)

    def _go_on(self) -> None:
        """A further attempt: what was not reached may be now."""
        for node in self._nodes.values():
            if node.state is NodeState.NOT_RUN:
                node.state = NodeState.WAITING

    def _leave(self, node: _Node, at: datetime) -> None:
        """The attempt ended: whatever still ran was stopped."""
        if node.open:
            node.open.clear()
            self._rest(node, at)
            node.state = NodeState.STOPPED

    def _step(self, what: str, event: Event) -> None:
        data = event.data
        node = self._nodes.setdefault(str(data["node"]), _Node())
        if what in ("skipped", "retried"):
            self._end(node, what, data)
            return
        task = str(data["task_id"])
        if what == "started":
            self._begin(node, task, event.at)
            return
        node.open.pop(task, None)
        node.tokens_in += int(data.get("tokens_in", 0))
        node.tokens_out += int(data.get("tokens_out", 0))
        if not node.open:
            self._rest(node, event.at)
        self._end(node, what, data)

    def _begin(self, node: _Node, task: str, at: datetime) -> None:
        node.runs += 1
        node.since = node.since or at
        node.open[task] = at
        node.state = NodeState.RUNNING
        node.items = node.note = ""

    def _rest(self, node: _Node, at: datetime) -> None:
        if node.since is not None:
            node.seconds += max(0.0, (at - node.since).total_seconds())
            node.since = None

    def _end(self, node: _Node, what: str, data: Mapping[str, Any]) -> None:
        match what:
            case "failed":
                node.state = NodeState.FAILED
                node.note = str((data.get("error") or {}).get("message") or "")
            case "skipped":
                node.state = NodeState.SKIPPED
            case "retried":
                node.note = f"try {data.get('try')}: {(data.get('error') or {}).get('message')}"
            case "pending":
                node.state, node.note = NodeState.ASKS, ""
            case _ if not node.open and node.state is not NodeState.FAILED:
                node.state, node.note = NodeState.DONE, ""

    def _model(self, data: Mapping[str, Any]) -> None:
        sentence = str(data.get("note") or data.get("name") or "")
        if sentence and sentence not in self.models:
            self.models.append(sentence)

    def _says(self, data: Mapping[str, Any]) -> None:
        node = self._nodes.get(str(data.get("node")))
        if node is None:
            return
        text = str(data.get("text") or "")
        if items := _ITEMS.fullmatch(text):
            node.items = f"{items[1]}/{items[2]}"
        else:
            node.note = text

    # ------------------------------------------------------------ rows

    def _row(self, name: str, node: _Node, now: datetime, live: Spending | None) -> Row:
        working = max(0.0, (now - node.since).total_seconds()) if node.since else 0.0
        live = live if live is not None and node.open else Spending()
        return Row(
            node=name,
            state=node.state,
            runs=node.runs,
            seconds=node.seconds + working if node.runs else None,
            tokens_in=node.tokens_in + live.tokens_in,
            tokens_out=node.tokens_out + live.tokens_out,
            items=node.items,
            note=node.note,
        )
