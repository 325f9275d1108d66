"""Named points between any two writes, where a crash test can end the process.

`UCOP_FAULT="after put"` kills the process with SIGKILL at the first such point;
`UCOP_FAULT="after put:3"` at the third; `UCOP_FAULT="inside put=STOP"` stops it there, as
SIGSTOP does; `=ERROR` raises DatabaseError there. Without the variable a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from .errors import DatabaseError

_armed: list[Any] = ["", 0, signal.SIGKILL]


def arm(spec: str) -> None:
    """Arm one point, as `UCOP_FAULT` does; an empty text disarms."""
    spec, _, name = spec.partition("=")
    point, _, count = spec.partition(":")
    action = None if name == "ERROR" else signal.Signals[f"SIG{name or 'KILL'}"]
    _armed[:] = [point, int(count or 1), action]


def fault(point: str) -> None:
    """End the process here, where a crash test asked for it."""
    if point != _armed[0]:
        return
    _armed[1] -= 1
    if _armed[1]:
        return
    if _armed[2] is None:
        raise DatabaseError(f"a fault at {point!r}")
    # To this very thread: sent to the process, it may run on for a moment.
    signal.pthread_kill(threading.get_ident(), _armed[2])


arm(os.environ.get("UCOP_FAULT", ""))
