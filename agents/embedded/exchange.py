"""One HTTP connection to the embedded endpoint: Ollama's routes, streams and hang-ups."""

from __future__ import annotations

import json
import queue
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .line import POLL, Line
from .llama import BATCH, CONTEXT, EndpointError, Generation, Llama
from .translation import (
    StreamedAnswer,
    Translated,
    mean_vector,
    now,
    translate_chat,
    translate_generate,
    windows,
)
from .weights import EMBEDDED_MODEL, Weights

API_VERSION = "0.12.0"
"""Of the Ollama API that this endpoint speaks; clients may ask."""
BIGGEST_BODY = 16 * 1024 * 1024
BEAT = 5.0
"""A stream that waits for its turn, or reads a long prompt, sends an empty piece this
often, so that a client's idle timeout measures the endpoint and not the queue."""
_LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
_CAPABILITIES = ["completion", "tools", "embedding"]

Piece = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Puts a chat message into the form of the route that was asked."""


class HungUp(ConnectionError):
    """The client is gone; nobody wants this answer any more."""


class ModelServer(ThreadingHTTPServer):
    """What an exchange needs of its server."""

    llama: Llama
    weights: Weights
    line: Line
    closing: threading.Event


class Exchange(BaseHTTPRequestHandler):
    """The requests of one connection, one after another."""

    protocol_version = "HTTP/1.1"
    server: ModelServer

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the jobs that ask keep the record."""

    def do_HEAD(self) -> None:
        self._route({"/": lambda: self._json(200, {})})

    def do_GET(self) -> None:
        self._route(
            {
                "/": lambda: self._plain("Ollama is running"),
                "/api/version": lambda: self._json(200, {"version": API_VERSION}),
                "/api/tags": lambda: self._json(200, {"models": [self._listing()]}),
                "/api/ps": lambda: self._json(200, {"models": [self._listing()]}),
            }
        )

    def do_POST(self) -> None:
        self._route(
            {
                "/api/show": lambda: self._show(self._request()),
                "/api/chat": lambda: self._chat(self._request()),
                "/api/generate": lambda: self._generate(self._request()),
                "/api/embed": lambda: self._embed(self._request()),
            }
        )

    def _route(self, routes: Mapping[str, Callable[[], None]]) -> None:
        self._streaming = False
        self._wrote_at = time.monotonic()
        try:
            self._check_host()
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                raise EndpointError(
                    status=404, message=f"{self.command} {self.path} is not served here"
                )
            route()
        except EndpointError as refusal:
            self._refuse(refusal)
        except ConnectionError:
            self.close_connection = True

    # Requests

    def _check_host(self) -> None:
        """A web page whose name is pointed at this address must not reach the model."""
        host = self.headers.get("Host", "")
        name = host if host.endswith("]") else host.partition(":")[0]
        if host.startswith("["):
            name = host.partition("]")[0] + "]"
        if name not in _LOCAL_NAMES:
            raise EndpointError(status=403, message=f"host {host!r} is not this machine")

    def _request(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            self.close_connection = True
            raise EndpointError(status=411, message="a Content-Length is needed")
        if int(length) > BIGGEST_BODY:
            self.close_connection = True
            raise EndpointError(status=413, message=f"a request has at most {BIGGEST_BODY} bytes")
        try:
            request = json.loads(self.rfile.read(int(length)) or b"{}")
        except ValueError as error:
            raise EndpointError(status=400, message=f"the request is not JSON: {error}") from error
        if not isinstance(request, dict):
            raise EndpointError(status=400, message="the request is not a JSON object")
        name = request.get("model") or request.get("name")
        if name != EMBEDDED_MODEL:
            message = f"model {name!r} not found: the embedded endpoint has {EMBEDDED_MODEL}"
            raise EndpointError(status=404, message=message)
        return request

    def _chat(self, request: Mapping[str, Any]) -> None:
        self._respond(request, translate_chat(request), lambda message: {"message": dict(message)})

    def _generate(self, request: Mapping[str, Any]) -> None:
        translated = translate_generate(request)
        self._respond(request, translated, lambda message: {"response": message["content"]})

    def _respond(self, request: Mapping[str, Any], translated: Translated, piece: Piece) -> None:
        self._check_length(translated.body)
        streamed = request.get("stream", True) is not False

        def send(message: Mapping[str, Any]) -> None:
            self._send({**_head(), **piece(message), "done": False})

        def meanwhile() -> None:
            self._check_hung_up()
            if streamed and time.monotonic() > self._wrote_at + BEAT:
                send({"role": "assistant", "content": ""})

        answer = StreamedAnswer(forced=translated.forced)
        with (
            self.server.line.turn(meanwhile),
            self.server.llama.generate(translated.body) as generation,
        ):
            while (event := _next(generation, meanwhile)) is not None:
                self._check_hung_up()
                said = answer.take(event)
                if said and streamed:
                    send({"role": "assistant", "content": said})
        last = {**_head(), **piece(answer.message(streamed=streamed)), **answer.ending()}
        if streamed:
            self._send(last)
            self._end()
        else:
            self._json(200, last)

    def _check_length(self, body: Mapping[str, Any]) -> None:
        """Refuse early: llama.cpp would only notice when the request has its turn."""
        length = self.server.llama.count_tokens(body)
        if length >= CONTEXT:
            raise EndpointError(
                status=400,
                message=f"the prompt has {length} tokens and {EMBEDDED_MODEL} reads at most "
                f"{CONTEXT}: give it less text, or use a bigger model",
            )

    def _embed(self, request: Mapping[str, Any]) -> None:
        given = request.get("input", "")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise EndpointError(status=400, message="`input` must be a text or a list of texts")
        with self.server.line.turn(self._check_hung_up):
            tokens = [self.server.llama.tokens(text) for text in texts]
            vectors = [self._vector(piece) for piece in tokens]
        count = sum(len(piece) for piece in tokens)
        answer = {"model": EMBEDDED_MODEL, "embeddings": vectors, "prompt_eval_count": count}
        self._json(200, answer)

    def _vector(self, tokens: Sequence[int]) -> list[float]:
        """One vector of a text of any length: llama.cpp pools over one batch only."""
        pieces = [piece or [0] for piece in windows(tokens, BATCH)]
        self._check_hung_up()
        answer = self.server.llama.post("/v1/embeddings", {"input": pieces})
        vectors = [entry["embedding"] for entry in answer["data"]]
        return mean_vector(vectors, [len(piece) for piece in pieces])

    def _show(self, _: Mapping[str, Any]) -> None:
        listing = self._listing()
        answer = {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": listing["details"],
            "model_info": {"general.architecture": "llama", "llama.context_length": CONTEXT},
            "capabilities": _CAPABILITIES,
        }
        self._json(200, answer)

    def _listing(self) -> dict[str, Any]:
        weights = self.server.weights
        stat = weights.path.stat()
        return {
            "name": EMBEDDED_MODEL,
            "model": EMBEDDED_MODEL,
            "modified_at": datetime.fromtimestamp(stat.st_mtime, UTC).isoformat(),
            "size": stat.st_size,
            "digest": weights.sha256,
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "llama",
                "families": ["llama"],
                "parameter_size": "135M",
                "quantization_level": "Q4_1",
            },
        }

    # Responses

    def _plain(self, text: str) -> None:
        self._whole(200, "text/plain", text.encode())

    def _json(self, status: int, body: Mapping[str, Any]) -> None:
        self._whole(status, "application/json", json.dumps(body).encode())

    def _whole(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send(self, line: Mapping[str, Any]) -> None:
        """One line of the stream; the first one also sends the headers."""
        if not self._streaming:
            self._streaming = True
            self.send_response(200)
            self.send_header("Content-Type", "application/x-ndjson")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
        text = json.dumps(line).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self._wrote_at = time.monotonic()

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, refusal: EndpointError) -> None:
        """An error of its own, or, inside a stream, Ollama's error line."""
        try:
            if self._streaming:
                self._send({"error": refusal.message})
                self._end()
            else:
                self._json(refusal.status, {"error": refusal.message})
        except ConnectionError:
            self.close_connection = True

    def _check_hung_up(self) -> None:
        if self.server.closing.is_set():
            raise HungUp
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and self.connection.recv(1, socket.MSG_PEEK) == b"":
            raise HungUp


def _next(generation: Generation, meanwhile: Callable[[], None]) -> dict[str, Any] | None:
    while True:
        try:
            return generation.next(POLL)
        except queue.Empty:
            meanwhile()


def _head() -> dict[str, Any]:
    return {"model": EMBEDDED_MODEL, "created_at": now()}
