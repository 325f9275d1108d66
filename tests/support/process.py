"""Processes of `python -m …`, as quick as they can be had: forked from one that has imported ucop."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from tests.support.paths import ROOT
from tests.support.zygote import PACKET

KEPT = ("LANG", "LC_", "PYTHON", "TZ")
"""How variables begin that the interpreter itself reads when it starts."""


class Process(Protocol):
    """What `subprocess.Popen` also is."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


class Begin(Protocol):
    """How a command begins: `start` or `execute`."""

    def __call__(
        self,
        module: str,
        args: tuple[str, ...],
        folder: Path,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        *,
        session: bool = False,
    ) -> Process: ...


def start(
    module: str,
    args: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
    *,
    session: bool = False,
) -> Process:
    """`python -m module args` with these standard streams, in `folder`; forked, unless its
    environment differs in what a zygote read while it imported."""
    zygote = _next_zygote()
    if zygote.fits(environment):
        return zygote.fork(module, args, folder, environment, streams, session=session)
    return execute(module, args, folder, environment, streams, session=session)


def execute(
    module: str,
    args: tuple[str, ...],
    folder: Path,
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
    *,
    session: bool = False,
) -> Process:
    """The same by a start of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *args],
        cwd=folder,
        env=environment,
        stdin=streams[0],
        stdout=streams[1],
        stderr=streams[2],
        start_new_session=session,
    )


class Zygote:
    """The process that forks; see zygote.py."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())],
                cwd=ROOT,
                env=plain_environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._lock = threading.Lock()
        imported = self._answer()
        self._read: dict[str, str | None] = imported["read"]
        self._set: dict[str, str] = imported["set"]

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment would have imported the same."""
        given = plain_environment()
        kept = {name for name in (*given, *environment) if name.startswith(KEPT)}
        return all(environment.get(name) == given.get(name) for name in kept) and all(
            environment.get(name) in (value, self._set.get(name, value))
            for name, value in self._read.items()
        )

    def fork(
        self,
        module: str,
        args: tuple[str, ...],
        folder: Path,
        environment: Mapping[str, str],
        streams: tuple[int, int, int],
        *,
        session: bool = False,
    ) -> Forked:
        answer = self.order(
            *streams,
            verb="start",
            module=module,
            args=args,
            folder=str(folder),
            environment=dict(environment),
            session=session,
        )
        return Forked(answer["pid"], self)

    def order(self, *streams: int, **order: Any) -> dict[str, Any]:
        with self._lock:
            socket.send_fds(self._orders, [json.dumps(order).encode()], streams)
            return self._answer()

    def close(self) -> None:
        self._orders.close()
        self._process.wait(60)

    def _answer(self) -> dict[str, Any]:
        packet = self._orders.recv(PACKET)
        if not packet:
            raise RuntimeError("the zygote has ended")
        answer: dict[str, Any] = json.loads(packet)
        return answer


class Forked:
    """A child of a zygote. Its number is its own until its end was heard of: as with Popen."""

    def __init__(self, pid: int, zygote: Zygote) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._zygote = zygote
        self._end = os.pidfd_open(pid)
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        return self._code(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._code(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _code(self, timeout: float | None) -> int | None:
        if self.returncode is None and self._has_ended(timeout):
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._zygote.order(verb="wait", pid=self.pid)["code"]
                    os.close(self._end)
        return self.returncode

    def _has_ended(self, timeout: float | None) -> bool:
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))


def plain_environment() -> dict[str, str]:
    """The environment without what would change how ucop works; and a command shall leave no
    compiled files in a project."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UCOP_")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


_turns = count()


def _next_zygote() -> Zygote:
    return _zygote(next(_turns) % 2)


@cache
def _zygote(number: int) -> Zygote:
    """Two in turn, as what one forks hashes texts alike: so what one command writes is read by
    another in whose sets things have another order."""
    zygote = Zygote()
    atexit.register(zygote.close)
    return zygote
