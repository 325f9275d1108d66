"""The workers of a test: started, killed, stopped and continued from outside."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.chaos import mazes
from tests.chaos.witness import Record, Witness
from tests.support.paths import ROOT

SETTINGS: dict[str, Any] = {
    "lease": 10.0,
    "sweep": 0.2,
    "poll": 0.05,
    "concurrency": 6,
    "embedded": False,
}


@dataclass(eq=False)
class Process:
    """A child of the forge."""

    pid: int
    log_file: Path
    _forge: Forge
    status: int | None = None

    def kill(self) -> bool:
        """kill -9; False where it had ended by itself."""
        sent = self.signal(signal.SIGKILL)
        self.wait(60)
        return sent

    def signal(self, number: int) -> bool:
        return bool(self._forge.order("signal", pid=self.pid, signal=int(number))["sent"])

    def freeze(self) -> None:
        """SIGSTOP, and wait until it has really stopped."""
        self.signal(signal.SIGSTOP)
        wait_for(lambda: self.state == "T", "the process to stop")

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def wait(self, timeout: float) -> int | None:
        """Its exit status, negative for a signal; None where it runs on."""
        if self.status is None:
            answer = self._forge.order("wait", pid=self.pid, timeout=timeout)
            self.status = answer["status"]
        return self.status

    @property
    def state(self) -> str:
        """The letter that /proc gives for it."""
        try:
            stat = Path(f"/proc/{self.pid}/stat").read_text()
        except FileNotFoundError:
            return "X"
        return stat.rpartition(")")[2].split()[0]

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""


class Forge:
    """The process that forks; see forge.py. One serves many fleets."""

    def __init__(self, roles: str = "tests.chaos.roles") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.chaos.forge", roles],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._answer()

    def order(self, verb: str, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, **order}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the forge has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Fleet:
    """A forge, a folder with the workflows, a witness, and the processes of one database."""

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        nap: float = 0.05,
        forge: Forge | None = None,
        **settings: Any,
    ) -> None:
        self.folder, self.url, self.nap = folder, url, nap
        self._forge = forge or Forge()
        self._owns_forge = forge is None
        self.settings = {**SETTINGS, **settings}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "quarry.yaml").write_text(mazes.QUARRY)
        (folder / "swarm.yaml").write_text(mazes.SWARM)
        self.witness = Witness(folder / "witness")
        self.processes: list[Process] = []
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.wait(0) is None:
                process.kill()
        if self._owns_forge:
            self._forge.close()
        self.witness.close()

    def start(self, role: str, *, url: str | None = None, **given: Any) -> Process:
        self._started += 1
        log = self.folder / f"{role}-{self._started}.log"
        answer = self._forge.order(
            "start",
            role=role,
            folder=str(self.folder),
            url=url or self.url,
            witness=str(self.witness.path),
            nap=self.nap,
            log=str(log),
            given=given,
        )
        process = Process(answer["pid"], log, self._forge)
        self.processes.append(process)
        return process

    def worker(
        self,
        *,
        fault: str = "",
        fence: bool = True,
        deaf: bool = False,
        ready: bool = True,
        environment: dict[str, str] | None = None,
        **settings: Any,
    ) -> Process:
        """A new worker; with `ready`, it is up when this returns (or has ended by its fault)."""
        mark = self.witness.size
        process = self.start(
            "work",
            settings={**self.settings, **settings},
            fault=fault,
            fence=fence,
            deaf=deaf,
            environment=environment,
        )
        if ready:
            self.wait_ready(process, mark)
        return process

    def wait_ready(self, process: Process, mark: int = 0) -> None:
        def up() -> bool:
            ready = any(r.what == "ready" and r.pid == process.pid for r in self.records(mark))
            return ready or process.wait(0) is not None

        wait_for(up, "a worker to be ready", self.logs)

    def records(self, after: int = 0) -> list[Record]:
        return list(self.witness.records(after))

    def logs(self) -> str:
        """The last lines of every process, for a failing test."""
        return "\n".join(
            f"--- {process.log_file.name} ({process.pid}, {process.status})\n{process.log[-2000:]}"
            for process in self.processes
        )


def wait_for(
    holds: Callable[[], bool],
    what: str,
    tell: Callable[[], str] = lambda: "",
    *,
    timeout: float = 60,
) -> None:
    """Wait until something holds. The deadline is far: it only ends a test that hangs."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}\n{tell()}")
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


def fresh_seed() -> int:
    return int.from_bytes(os.urandom(4), "big")


def chance(seed: int) -> random.Random:
    return random.Random(seed)
