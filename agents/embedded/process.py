"""The embedded model's process, as its owner sees it."""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
import threading
from weakref import WeakSet

from ..errors import ModelUnavailable
from .weights import is_installed

START_TIMEOUT = 120.0
STOP_TIMEOUT = 5.0


class EmbeddedModel:
    """A small model in a child process, started when first asked for.

    The child lives as long as the pipe to its standard input: it leaves when this process
    ends, also by kill -9, and is started again when it is found dead. A forked child of
    this process starts a model of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        _all.add(self)

    def available(self) -> bool:
        """True if the extra `local` is installed; starts and imports nothing."""
        return is_installed()

    async def endpoint(self) -> str:
        """The address of the running model; starts it if it does not run.

        Raises ModelUnavailable if it cannot be started.
        """
        if self._alive():
            return self._url
        return await asyncio.to_thread(self.start)

    def start(self) -> str:
        """`endpoint` for callers without an event loop."""
        with self._lock:
            if not self._alive():
                self._stop()
                self._process, self._url = _spawn()
            return self._url

    def close(self) -> None:
        """End the child; a later `endpoint` starts another."""
        with self._lock:
            self._stop()

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _stop(self) -> None:
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _forget_after_fork(self) -> None:
        """In a forked child: let go of the lifeline, so that it stays the owner's alone."""
        self._lock = threading.Lock()
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.returncode = 0  # not ours to wait for


_all: WeakSet[EmbeddedModel] = WeakSet()


def _forget_all() -> None:
    for model in list(_all):
        model._forget_after_fork()


os.register_at_fork(after_in_child=_forget_all)


def _spawn() -> tuple[subprocess.Popen[bytes], str]:
    # -P: a file of the project's folder must not shadow a module of the child. A session
    # of its own: Ctrl-C reaches the owner, which then ends its calls in order.
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-m", __package__ or ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process, _read_url(process)
    except BaseException:
        _end(process)
        raise


def _read_url(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    with process.stdout as output:
        ready, _, _ = select.select([output], [], [], START_TIMEOUT)
        line = output.readline() if ready else b""
    if not line:
        raise _did_not_start(
            f"it ended with status {process.wait(STOP_TIMEOUT)}"
            if ready
            else f"it said nothing for {START_TIMEOUT:g} s"
        )
    said = json.loads(line)
    if "url" not in said:
        raise _did_not_start(said["error"])
    return str(said["url"])


def _did_not_start(why: str) -> ModelUnavailable:
    return ModelUnavailable(
        f"the embedded model did not start: {why}. `ucop models serve` shows more; "
        "or start Ollama and set OLLAMA_HOST.",
        reached=False,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
