"""What the engine logs, on stderr, in words."""

from __future__ import annotations

import logging
import sys

from ..view.output import shortened


class _Stderr(logging.Handler):
    """Writes to the stderr of the moment: above a live table where one is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(shortened(self.format(record)), file=sys.stderr, flush=True)
        except OSError:
            self.handleError(record)


def show_warnings() -> None:
    """Warnings and errors only: beside a progress display."""
    _show(logging.WARNING, "%(levelname)s: %(message)s")


def show_activity() -> None:
    """Everything a worker tells of, with the time."""
    _show(logging.INFO, "%(asctime)s %(message)s")


def _show(level: int, form: str) -> None:
    handler = _Stderr()
    handler.setFormatter(logging.Formatter(form, "%H:%M:%S"))
    log = logging.getLogger("ucop")
    log.handlers = [handler]
    log.setLevel(level)
    log.propagate = False
