"""The streams of the process: all three are there, and stdout is for data alone.

Agents, tools and nodes are other people's code, which prints; what they start inherits our
streams. So before any of it can run, the process's own stdout becomes its stderr, and data goes
through a descriptor that nothing else knows.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, cast

STDOUT, STDERR = 1, 2

_own: TextIO | None = None
"""Stdout, once others have lost it."""


_ours = False
"""Whether the process is the command's, and not that of a program that calls it."""


def stdout() -> TextIO:
    """Where data goes."""
    return _own or sys.stdout


def complete() -> None:
    """Open what was closed (`>&-`): else the next file that is opened takes its place, and what
    is printed lands in the database, say. What is written to a closed stdout is an error."""
    global _ours
    _ours = True
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        if getattr(sys, name) is None:
            _occupy(number)
            setattr(sys, name, _Closed() if number == STDOUT else _open_text(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What cannot show a character still shows the rest.
            stream.reconfigure(errors="backslashreplace")


def part() -> None:
    """Keep stdout for data: from here on the project's code may run."""
    global _own
    if _own is not None or not _ours:
        return
    sys.stdout.flush()
    if isinstance(sys.stdout, _Closed):
        _own = sys.stdout
    else:
        _own = _open_text(os.dup(STDOUT), "w", sys.stdout.encoding)
    os.dup2(STDERR, STDOUT)
    printed = os.fdopen(STDOUT, "wb", buffering=0, closefd=False)
    sys.stdout = sys.__stdout__ = _Printed(  # type: ignore[misc]
        printed, sys.stderr.encoding, "backslashreplace", write_through=True
    )


@contextmanager
def lent() -> Iterator[None]:
    """Give the terminal's stdout to a program that a person works with, such as an editor."""
    if _own is None or isinstance(_own, _Closed):
        yield
        return
    _own.flush()
    os.dup2(_own.fileno(), STDOUT)
    try:
        yield
    finally:
        os.dup2(STDERR, STDOUT)


def drop_stdout() -> None:
    """Let what is still written to stdout vanish, instead of failing at the end."""
    own = stdout()
    if not isinstance(own, _Closed):
        os.dup2(os.open(os.devnull, os.O_WRONLY), own.fileno())


def drop_stderr() -> None:
    """The same for stderr, which nobody can be told of."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    if _own is not None:
        os.dup2(nowhere, STDOUT)


def settle() -> None:
    """Flush what others printed. Python would do it too, and end with 120 where it cannot."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            drop_stderr()
            if _own is None:
                drop_stdout()


class _Closed(io.TextIOWrapper):
    """A stdout that the caller has closed."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "stdout is closed")

    def fileno(self) -> int:
        return STDOUT


class _Printed(io.TextIOWrapper):
    """What others print. Where stderr is full their work goes on: they did not ask for it."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            drop_stderr()
            return len(text)


def _open_text(file: str | int, mode: str, encoding: str | None = None) -> TextIO:
    """A stream for good: line by line, as on a terminal."""
    keeps = not isinstance(file, int) or file > STDERR
    return cast(
        TextIO,
        open(file, mode, buffering=1, encoding=encoding, errors="backslashreplace", closefd=keeps),
    )


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
