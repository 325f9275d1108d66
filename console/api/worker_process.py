"""The worker that `ucop serve` starts beside the server: a process of its own, so that nodes that
block or break it leave the server alone."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..view.place import Place

log = logging.getLogger("ucop.api")

AGAIN = 1.0
"""Seconds before a worker that ended by itself is started again; doubles up to LONGEST."""

LONGEST = 60.0

MARGIN = 10.0
"""Seconds beyond its grace that a worker has to end."""


class WorkerProcess:
    """Starts it, starts it again where it ends, and stops it.

    The worker reads from a pipe that this process holds. It stops, in good order, when the pipe is
    closed: so no worker is left behind, however this process ends.
    """

    def __init__(self, place: Place, *, grace: float) -> None:
        self._command = [sys.executable, "-m", "ucop.console.cli", "worker", "--while-stdin"]
        if place.project is not None:
            self._command += ["--project", str(place.project)]
        self._env = dict(os.environ)
        if place.database is not None:  # in the environment, as it may hold a password
            self._env["UCOP_DATABASE"] = place.database
        self._grace = grace
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._watch, name="ucop-worker", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Let it end its nodes, for as long as its grace is."""
        self._stopping.set()
        self._close_pipe()
        try:
            self._process.wait(self._grace + MARGIN)
        except subprocess.TimeoutExpired:
            log.error("worker %d does not end, and is killed", self.pid)
            self._process.kill()
        self._thread.join()

    def _start(self) -> subprocess.Popen[bytes]:
        # A session of its own: Ctrl-C in the terminal is for this process, which stops the worker.
        return subprocess.Popen(  # noqa: S603 - our own command
            self._command,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _watch(self) -> None:
        pause = AGAIN
        while True:
            code = self._process.wait()
            if self._stopping.is_set():
                return
            log.error("worker %d ended with %d; another starts in %g s", self.pid, code, pause)
            self._close_pipe()
            if self._stopping.wait(pause):
                return
            self._process = self._start()
            pause = min(2 * pause, LONGEST)
