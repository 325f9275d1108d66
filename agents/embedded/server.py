"""The Ollama-compatible endpoint over an embedded llama.cpp: loopback only, one model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from .exchange import POLL, Exchange
from .llama import Llama
from .weights import Weights, find_weights, verify

LOOPBACK = "127.0.0.1"
CLOSE_TIMEOUT = 5.0


class Line:
    """First come, first served: one answer is generated at a time."""

    def __init__(self) -> None:
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)

    @contextmanager
    def turn(self, meanwhile: Callable[[], None]) -> Iterator[None]:
        """Hold the model; `meanwhile` is called every POLL seconds of waiting."""
        ticket = threading.Event()
        with self._lock:
            self._waiting.append(ticket)
            self._waiting[0].set()
        try:
            while not ticket.wait(POLL):
                meanwhile()
            yield
        finally:
            with self._lock:
                self._waiting.remove(ticket)
                self._left.notify_all()
                if self._waiting:
                    self._waiting[0].set()

    def wait_until_empty(self, timeout: float) -> None:
        with self._left:
            self._left.wait_for(lambda: not self._waiting, timeout)


class OllamaServer(ThreadingHTTPServer):
    """One model behind Ollama's routes."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, llama: Llama, weights: Weights, port: int = 0) -> None:
        self.llama = llama
        self.weights = weights
        self.line = Line()
        self.closing = threading.Event()
        super().__init__((LOOPBACK, port), Exchange)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_port}"

    def server_close(self) -> None:
        """Break off what runs: llama.cpp crashes when it is torn down while it generates."""
        self.closing.set()
        self.line.wait_until_empty(CLOSE_TIMEOUT)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks its connection is no error here; its thread simply ends."""


def load(port: int = 0) -> OllamaServer:
    """Check the weights, load the model, bind the port."""
    weights = find_weights()
    verify(weights)
    return OllamaServer(Llama(weights.path), weights, port)


def serve(port: int = 0, *, ready: Callable[[str], None] = print) -> None:
    """Serve in the foreground until Ctrl-C; `ready` is given the address.

    Raises ModelUnavailable where the model is not installed or its file is damaged, and
    OSError where the port is taken.
    """
    with load(port) as server:
        ready(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
