"""The real `ucop` process, as a test drives it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UCOP = [sys.executable, "-m", "ucop.console.cli"]
PATIENCE = 120.0
"""Seconds after which a test gives up waiting."""


@dataclass(frozen=True)
class Done:
    """A process that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """Lines of stdout, split at tabs."""
        return [line.split("\t") for line in self.out.splitlines()]


class Running:
    """A process whose output is read while it runs."""

    def __init__(self, args: list[str], folder: Path, env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            args, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._changed = threading.Condition()
        streams = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._readers = [threading.Thread(target=self._read, args=pair) for pair in streams]
        for reader in self._readers:
            reader.start()

    def until(self, text: str) -> str:
        """Wait for a line with `text` on either stream."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                for line in [*self.out, *self.err]:
                    if text in line:
                        return line
                ended = not any(reader.is_alive() for reader in self._readers)
                if ended or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"never said {text!r}: {self.out} {self.err}")

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def end(self) -> Done:
        """Wait for the process to end by itself."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return Done(code, "".join(self.out), "".join(self.err))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _read(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            with self._changed:
                lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


@dataclass
class Ucop:
    """Runs commands in one folder; ends what it started."""

    folder: Path
    cache: Path
    """Where Python keeps compiled files, so that only the first process compiles."""
    extra: dict[str, str] = field(default_factory=dict)
    _started: list[Running] = field(default_factory=list)

    def __call__(self, *args: str, input: str | None = None, **env: str) -> Done:
        """Run a command to its end."""
        done = subprocess.run(
            [*UCOP, *args],
            cwd=self.folder,
            env={**self.env, **env},
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str, **env: str) -> Running:
        """Start a command, to be signalled and listened to."""
        running = Running([*UCOP, *args], self.folder, {**self.env, **env})
        self._started.append(running)
        return running

    def shell(self, line: str) -> Done:
        """Run a line of bash in which `ucop` is the command."""
        script = f'ucop() {{ {" ".join(UCOP)} "$@"; }}; {line}'
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def env(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("UCOP_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        # Nobody answers there, and the embedded model stays out of tests that do not want it.
        off = {"OLLAMA_HOST": "127.0.0.1:9", "UCOP_EMBEDDED": "false"}
        return {**kept, "PYTHONPYCACHEPREFIX": str(self.cache), **off, **self.extra}

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def lines(self, path: str) -> list[str]:
        file = self.folder / path
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def close(self) -> None:
        for running in self._started:
            running.close()


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something that another process brings about."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What only a terminal wants to see."""
