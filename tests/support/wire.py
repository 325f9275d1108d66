"""An endpoint that answers byte by byte as it is told: a double at the network border, for what
no honest server does.

    with Wire([reply(200, lines(word("yes"), done())), [RESET]]) as wire: ...

With `keeps`, connections stay open after a whole reply. Each reply is a list of steps: bytes to send, seconds to wait, HANG, RESET, CLOSE. One is used up
per POST; the last one then repeats. A GET lists the models of an Ollama.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

HANG: Literal["hang"] = "hang"
RESET: Literal["reset"] = "reset"
CLOSE: Literal["close"] = "close"

CLOSING = b"\r\nConnection: close\r\n"

Step = bytes | float | Literal["hang", "reset", "close"]
Reply = Sequence[Step]


def head(status: int, *headers: tuple[str, object]) -> bytes:
    """A status line and headers."""
    listed = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} Scripted\r\n{listed}\r\n".encode()


def whole(status: int, body: bytes | str, *headers: tuple[str, object]) -> list[Step]:
    """A reply with its true length."""
    data = body.encode() if isinstance(body, str) else body
    return [head(status, ("Content-Length", len(data)), *headers), data]


def refusal(status: int, *headers: tuple[str, object], body: str | None = None) -> list[Step]:
    """An error as Ollama and OpenAI write them; both read it."""
    return whole(status, body or json.dumps({"error": {"message": "scripted"}}), *headers)


def stream(*steps: Step, ends: bool = True) -> list[Step]:
    """A reply in chunks: each of the bytes is one; without its end it is cut off."""
    chunks = [
        b"%x\r\n%s\r\n" % (len(step), step) if isinstance(step, bytes) else step for step in steps
    ]
    return [head(200, ("Transfer-Encoding", "chunked")), *chunks, *([b"0\r\n\r\n"] if ends else [])]


class Wire:
    """A context manager that listens on a free loopback port."""

    def __init__(
        self,
        replies: Sequence[Reply],
        *,
        models: Sequence[str] = ("m:latest",),
        keeps: bool = False,
    ) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.models = models
        self._replies, self._keeps = replies, keeps
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        wire = self

        class Exchange(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return

            def setup(self) -> None:
                wire._open.append(self.request)
                super().setup()

            def do_GET(self) -> None:
                models = [{"name": name, "model": name} for name in wire.models]
                self.wfile.write(b"".join(wire._bytes(whole(200, json.dumps({"models": models})))))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with suppress(ConnectionError):
                    wire._play(self, wire._next(self.path, body))

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                return

        self._server = Server(("127.0.0.1", 0), Exchange)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def calls(self) -> int:
        """How many POSTs arrived."""
        return len(self.bodies)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()

    def _next(self, path: str, body: dict[str, Any]) -> Reply:
        with self._lock:
            self.paths.append(path)
            self.bodies.append(body)
            return self._replies[min(len(self.bodies), len(self._replies)) - 1]

    def _play(self, exchange: BaseHTTPRequestHandler, reply: Reply) -> None:
        connection = exchange.connection
        for step in reply:
            if isinstance(step, bytes):
                # Said beforehand: a client that asks again at once must not take a connection
                # that is about to close.
                closing = step.startswith(b"HTTP/1.1 ") and not self._keeps
                exchange.wfile.write(step.replace(b"\r\n", CLOSING, 1) if closing else step)
            elif step == RESET:
                linger = struct.pack("ii", 1, 0)  # close at once, with a reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                exchange.close_connection = True
                exchange.wfile.close()
                exchange.rfile.close()
                connection.close()
                return
            elif step == CLOSE:
                exchange.close_connection = True
                connection.shutdown(socket.SHUT_RDWR)
                return
            else:
                self._wait(connection, None if step == HANG else float(step))
        exchange.close_connection = not self._keeps

    def _wait(self, connection: socket.socket, seconds: float | None) -> None:
        """Wait, for ever where None, but leave when the client does or the test is over."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            readable, _, _ = select.select([connection], [], [], 0.01)
            if self._closing.is_set() or (readable and not connection.recv(1, socket.MSG_PEEK)):
                raise ConnectionAbortedError

    @staticmethod
    def _bytes(reply: Reply) -> Iterator[bytes]:
        return (step for step in reply if isinstance(step, bytes))
