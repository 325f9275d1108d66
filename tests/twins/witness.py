"""What really ran, outside the state: one line in a file for each visit of a node.

Appended with one `write` to a file opened O_APPEND, so that the lines of killed processes are
whole and there. A visit can also be a gate, at which a test holds the node for a moment.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from langgraph.config import get_config

WITNESS = "TWINS_WITNESS"
"""Environment variable with the file's path; a forked worker inherits it."""

PHASE = "phase"
CUT = "cut"


@dataclass(frozen=True)
class Visit:
    """One beginning of a node, a tool, or whatever calls `saw`."""

    phase: int
    """How often the graph had come to rest before."""
    path: str
    """The nodes around it, from the outermost, without ids."""
    step: int
    """LangGraph's superstep, of the innermost graph."""
    label: str
    task: tuple[str, str] = ("", "")
    """Thread and id of the task; not compared. A fork has its parent's tasks on another thread."""


class Gate:
    """Holds the visit of a given number until it is opened."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._lock = threading.Lock()
        self.reached = threading.Event()
        self.open = threading.Event()
        self.cuts = False
        """Whether the visit that is held here does not count: its node was stopped amid it."""

    def is_here(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0


_gate: list[Gate | None] = [None]


def set_gate(gate: Gate | None) -> None:
    _gate[0] = gate


def saw(label: str) -> int:
    """Note a visit; returns how many there were under this label, this one included, and those that
    were cut not. In an `async def`, await `asaw` instead."""
    count = _note(label)
    gate = _gate[0]
    if gate is not None and gate.is_here():
        gate.reached.set()
        if not _on_a_loop():  # some of LangChain's hooks run there: it must not be held
            gate.open.wait(60)
            if gate.cuts:
                _write([CUT, label])
    return count


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def asaw(label: str) -> int:
    """`saw`, which does not hold the loop at a gate."""
    count = _note(label)
    gate = _gate[0]
    if gate is not None and gate.is_here():
        gate.reached.set()
        try:
            await asyncio.to_thread(gate.open.wait, 60)
        except asyncio.CancelledError:
            _write([CUT, label])
            raise
        if gate.cuts:
            _write([CUT, label])
    return count


def _note(label: str) -> int:
    try:
        config = get_config()
    except RuntimeError:  # a merge function: LangGraph calls it outside any node
        config = {}
    metadata, given = config.get("metadata", {}), config.get("configurable", {})
    space = str(given.get("checkpoint_ns", ""))
    path = "/".join(part.partition(":")[0] for part in space.split("|"))
    task = [given.get("thread_id", ""), given.get("__pregel_task_id", "")]
    line = [path, metadata.get("langgraph_step", 0), label, task]
    _write(line)
    file = Path(os.environ[WITNESS])
    seen = sum(1 for visit in visits(file, label) if visit.label == label)
    return seen - file.read_text().splitlines().count(json.dumps([CUT, label]))


def _write(line: list[object]) -> None:
    file = os.open(os.environ[WITNESS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def begin(path: Path) -> None:
    """Let all visits from now on go to `path`, in this process and those that it forks."""
    path.write_text("")
    os.environ[WITNESS] = str(path)


def rested() -> None:
    """The graph has come to rest; what follows is another phase."""
    _write([PHASE])


def visits(path: Path, of: str = "") -> list[Visit]:
    """All visits; with `of` at least those of that label, and no phases."""
    phase, found, needle = 0, [], json.dumps(of)
    for line in path.read_text().splitlines():
        if of and needle not in line:
            continue
        match json.loads(line):
            case [word] if word == PHASE:
                phase += 1
            case [where, step, label, task]:
                found.append(Visit(phase, where, step, label, tuple(task)))
    return found
