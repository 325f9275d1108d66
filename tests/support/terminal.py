"""The real `ucop` process on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select

from tests.support.command import ANSI, MODULE, Ucop
from tests.support.waiting import DEADLINE, Deadline


class Terminal:
    """A command on a pseudo-terminal of 100 columns."""

    def __init__(self, ucop: Ucop, *args: str, **env: str) -> None:
        self._own, theirs = pty.openpty()
        size = {"COLUMNS": "100", "LINES": "40", "TERM": "xterm-256color"}
        streams, environment = (theirs, theirs, theirs), {**ucop.env, **size, **env}
        self.process = ucop.begin(MODULE, args, ucop.folder, environment, streams, session=True)
        os.close(theirs)
        self.shown = ""

    def until(self, pattern: str) -> None:
        """Read until the screen's text so far matches."""
        deadline = Deadline()
        while not re.search(pattern, self.text):
            deadline.check(pattern, lambda: self.text)
            assert self._read(), f"ended without {pattern}: {self.text}"

    def type(self, keys: str) -> None:
        os.write(self._own, keys.encode())

    @property
    def text(self) -> str:
        return ANSI.sub("", self.shown)

    def end(self) -> int:
        while self._read():
            pass
        os.close(self._own)
        return self.process.wait(DEADLINE)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._own], [], [], DEADLINE)
        try:
            piece = os.read(self._own, 65536) if ready else b""
        except OSError:  # the other side was closed
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)
