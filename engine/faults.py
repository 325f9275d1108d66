"""Named points between any two writes, where a crash test can end the process.

`UCOP_FAULT="after put"` kills the process with SIGKILL at the first such point;
`UCOP_FAULT="after put:3"` at the third; `UCOP_FAULT="inside put=STOP"` stops it there, as
SIGSTOP does. Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

_armed: list[str | int] = ["", 0, signal.SIGKILL]


def arm(spec: str) -> None:
    """Arm one point, as `UCOP_FAULT` does; an empty text disarms."""
    spec, _, name = spec.partition("=")
    point, _, count = spec.partition(":")
    _armed[:] = [point, int(count or 1), signal.Signals[f"SIG{name or 'KILL'}"]]


def fault(point: str) -> None:
    """End the process here, where a crash test asked for it."""
    if point != _armed[0]:
        return
    _armed[1] = int(_armed[1]) - 1
    if _armed[1] == 0:
        # To this very thread: sent to the process, it may run on for a moment.
        signal.pthread_kill(threading.get_ident(), int(_armed[2]))


arm(os.environ.get("UCOP_FAULT", ""))
