"""`ucop serve` as a real process, and a client of it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.command import Running, Ucop
from tests.support.waiting import DEADLINE

V1 = "/api/v1"


@dataclass
class Server:
    """A server that runs, with its worker."""

    running: Running
    url: str
    worker: int | None
    """Its process id."""

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}{V1}", headers=headers, timeout=DEADLINE)

    def kill(self) -> None:
        """`kill -9` of the server alone; its worker hears that and stops."""
        self.running.signal(signal.SIGKILL)
        self.running.process.wait(DEADLINE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it in good order; returns its exit code."""
        self.running.signal(number)
        return self.running.end().code


def serve(ucop: Ucop, *args: str, **env: str) -> Server:
    """Start a server at a free port, unless `args` name one."""
    port = () if "--port" in args else ("--port", "0")
    running = ucop.start("serve", "--json", *port, *args, **env)
    running.until("serves until")
    running.until("}")
    told = json.loads("".join(running.out))
    return Server(running, told["url"], told["worker"])


@dataclass(frozen=True)
class Heard:
    """One server-sent event."""

    type: str
    data: Any
    id: str | None = None


@dataclass
class Ears:
    """Reads a stream of server-sent events."""

    response: httpx.Response
    last: str | None = None
    heartbeats: int = field(default=0)

    def __iter__(self) -> Iterator[Heard]:
        lines: dict[str, str] = {}
        for line in self.response.iter_lines():
            if line.startswith(":"):
                self.heartbeats += 1
            elif line:
                name, _, value = line.partition(": ")
                lines[name] = value
            elif lines:
                self.last = lines.get("id", self.last)
                yield Heard(lines["event"], json.loads(lines["data"]), lines.get("id"))
                lines = {}


@contextmanager
def listening(
    client: httpx.Client, path: str, last: str | None = None, **query: Any
) -> Iterator[Ears]:
    """A stream, from behind the id `last` where one is given."""
    headers = {} if last is None else {"last-event-id": last}
    with client.stream("GET", path, params=query, headers=headers) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Ears(response)


def kill(pid: int | None) -> None:
    """`kill -9` of a process that this test's server started."""
    assert pid is not None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
