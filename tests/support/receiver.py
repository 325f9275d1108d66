"""A scripted receiver of webhooks: a real HTTP server on loopback."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self) -> Any:
        """Its message, as the library of Standard Webhooks accepts it. Raises where it is forged."""
        return Webhook(SECRET).verify(self.body, self.headers)


@dataclass
class Receiver:
    """Answers with the numbers of its script, one a request, then 204. "hang" answers only at
    the end."""

    script: list[int | str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """Headers of every answer but the good ones."""
    received: list[Received] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Self:
        self._over, self._lock = threading.Event(), threading.Lock()
        receiver = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Answers)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/told"

    def ids(self) -> list[str]:
        return [each.id for each in self.received]

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["content-length"]))
        got = Received(request.path, {k.lower(): v for k, v in request.headers.items()}, body)
        with self._lock:
            self.received.append(got)
            answer = self.script.pop(0) if self.script else 204
        if answer == "hang":
            self._over.wait()
            answer = 204
        try:
            request.send_response(int(answer))
            for name, value in self.headers.items() if int(answer) >= 300 else ():
                request.send_header(name, value)
            request.send_header("content-length", "0")
            request.end_headers()
        except OSError:
            pass  # nobody waits for it any more
