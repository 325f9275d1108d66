"""The Ollama-compatible endpoint over an embedded llama.cpp: loopback only, one model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .exchange import Exchange, ModelServer
from .line import Line
from .llama import Llama
from .weights import Weights, find_weights, verify

LOOPBACK = "127.0.0.1"
CLOSE_TIMEOUT = 5.0


class OllamaServer(ModelServer):
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

    Raises ModelUnavailable if the model is not installed or its file is damaged, and
    OSError where the port is taken.
    """
    with load(port) as server:
        ready(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
