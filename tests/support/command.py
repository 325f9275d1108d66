"""The real `ucop` process, as a test drives it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.process import Begin, plain_environment, start
from tests.support.waiting import DEADLINE, Deadline

MODULE = "ucop.console.cli"
UCOP = [sys.executable, "-m", MODULE]


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

    def __init__(
        self,
        args: tuple[str, ...],
        folder: Path,
        env: Mapping[str, str],
        *,
        input: str | None = None,
        begin: Begin = start,
        module: str = MODULE,
    ) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._changed = threading.Condition()
        asked, said, told = os.pipe(), os.pipe(), os.pipe()
        stdin = 0 if input is None else asked[0]  # 0: as the test has it
        self.process = begin(module, args, folder, env, (stdin, said[1], told[1]))
        for end in (asked[0], said[1], told[1]):
            os.close(end)
        self._threads = [
            threading.Thread(target=self._write, args=(asked[1], input or "")),
            threading.Thread(target=self._read, args=(said[0], self.out)),
            threading.Thread(target=self._read, args=(told[0], self.err)),
        ]
        for thread in self._threads:
            thread.start()

    def until(self, text: str) -> str:
        """Wait for a line with `text` on either stream."""
        deadline = Deadline()
        with self._changed:
            while True:
                for line in [*self.out, *self.err]:
                    if text in line:
                        return line
                ended = not any(thread.is_alive() for thread in self._threads)
                if ended or not self._changed.wait(deadline.left):
                    raise AssertionError(f"never said {text!r}: {self.out} {self.err}")

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def end(self) -> Done:
        """Wait for the process to end by itself."""
        code = self.process.wait(DEADLINE)
        for thread in self._threads:
            thread.join(DEADLINE)
        return Done(code, "".join(self.out), "".join(self.err))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()

    def _write(self, end: int, text: str) -> None:
        with suppress(BrokenPipeError), open(end, "w") as stream:
            stream.write(text)

    def _read(self, end: int, lines: list[str]) -> None:
        with open(end) as stream:
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
    extra: dict[str, str] = field(default_factory=dict)
    begin: Begin = start
    """How a command begins: see process.py."""
    _started: list[Running] = field(default_factory=list)

    def __call__(self, *args: str, input: str | None = None, **env: str) -> Done:
        """Run a command to its end."""
        return self.start(*args, input=input, **env).end()

    def start(self, *args: str, input: str | None = None, **env: str) -> Running:
        """Start a command, to be signalled and listened to."""
        running = Running(args, self.folder, {**self.env, **env}, input=input, begin=self.begin)
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
            timeout=DEADLINE,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def env(self) -> dict[str, str]:
        # Nobody answers there, and the embedded model stays out of tests that do not want it.
        off = {"OLLAMA_HOST": "127.0.0.1:9", "UCOP_EMBEDDED": "false"}
        return {**plain_environment(), **off, **self.extra}

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


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
"""What only a terminal wants to see."""
