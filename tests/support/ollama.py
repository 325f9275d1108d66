"""A scripted Ollama: a double at the network border, for tests of what stands behind it.

    with ScriptedOllama([status(500), text("Hello.")]) as ollama:
        ...                         # OLLAMA_HOST or Models(ollama_host=ollama.url)
        assert ollama.calls == 2

`replies` is a list, used up one reply per /api/chat call (the last one then repeats), or
a function from the request's JSON to a reply. A call without a script gets `fitting()`:
plain words, or an instance of the schema in `format`. It counts what it saw and said.

    text("…")          an answer, streamed word by word      answer(value)    JSON answer
    fitting()          fits the request's `format`           status(429, retry_after=1)
    hang()             nothing, not even headers             hang(after=2)    stops mid-stream
    cut(after=2)       closes the connection mid-stream      unfinished()     ends without `done`
    garbage()          not NDJSON                            mid_error("…")   an error line
    text("…", delay=0.5, pause=0.1)    seconds before the headers, and between pieces
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Request = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer to /api/chat; make it with the functions below."""

    pieces: tuple[str, ...] = ()
    thinking: tuple[str, ...] = ()
    """Pieces that come before the answer, parted from it by the server."""
    done_reason: str = "stop"
    fit: bool = False
    tool_calls: tuple[dict[str, Any], ...] = ()
    status: int = 200
    error: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    pause: float = 0.0
    hang_after: int | None = None
    """Go silent after so many pieces; -1 is before the headers."""
    cut_after: int | None = None
    done: bool = True
    raw: bytes | None = None
    error_line: str = ""
    tokens: tuple[int, int] | None = None
    """Prompt and eval tokens to report; words are counted where none are given."""


def text(words: str, *, delay: float = 0.0, pause: float = 0.0, **more: Any) -> Reply:
    pieces = tuple(word + " " for word in words.split(" "))
    return Reply(pieces=(*pieces[:-1], pieces[-1][:-1]), delay=delay, pause=pause, **more)


def answer(value: Any, **more: Any) -> Reply:
    return text(json.dumps(value), **more)


def fitting(**more: Any) -> Reply:
    return Reply(fit=True, **more)


def tool_call(name: str, arguments: dict[str, Any], **more: Any) -> Reply:
    return Reply(tool_calls=({"function": {"name": name, "arguments": arguments}},), **more)


def status(code: int, error: str = "scripted", *, retry_after: object = None) -> Reply:
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Reply(status=code, error=error, headers=headers)


def hang(*, after: int = -1) -> Reply:
    return text("one two three four", hang_after=after)


def cut(*, after: int = 1) -> Reply:
    return text("one two three four", cut_after=after)


def unfinished() -> Reply:
    return text("half an answer", done=False)


def garbage(raw: bytes = b"<html>busy</html>\n") -> Reply:
    return Reply(raw=raw)


def mid_error(message: str) -> Reply:
    return text("one two", error_line=message)


class ScriptedOllama:
    """The endpoint; a context manager that listens on a free loopback port in a thread."""

    def __init__(
        self,
        replies: Sequence[Reply] | Callable[[Request], Reply] = (),
        *,
        models: Sequence[str] = ("llama3.2:latest",),
        tags: Reply | None = None,
        port: int = 0,
        capabilities: Sequence[str] = ("completion", "tools"),
        window: int | None = None,
    ) -> None:
        self.models = models
        self.tags = tags
        self.capabilities = capabilities
        self.window = window
        """As /api/ps tells it of loaded models."""
        self.loading: set[str] = set()
        """Models that /api/ps does not list yet."""
        self.embed_delay = 0.0
        """Seconds before vectors come."""
        self.requests: list[Request] = []
        self.paths: list[str] = []
        self.embedded: list[str] = []
        """The texts that /api/embed made vectors of, by `vector`."""
        self.tokens_in = 0
        self.tokens_out = 0
        self.hang_ups = 0
        self.left: list[tuple[Request, float]] = []
        """Requests whose client hung up, and when (time.monotonic)."""
        self.at_once = 0
        self.most_at_once = 0
        self._replies = replies
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Exchange)
        self._server.scripted = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def calls(self) -> int:
        """How many /api/chat requests arrived."""
        return len(self.requests)

    def until(self, condition: Callable[[ScriptedOllama], bool], timeout: float = 10.0) -> bool:
        """Wait until the endpoint saw something: `until(lambda o: o.hang_ups == 1)`."""
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def _take(self, request: Request) -> Reply:
        with self._changed:
            self.requests.append(request)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._changed.notify_all()
            if callable(self._replies):
                return self._replies(request)
            if not self._replies:
                return fitting()
            return self._replies[min(len(self.requests), len(self._replies)) - 1]

    def _count(self, **more: int) -> None:
        with self._changed:
            for name, number in more.items():
                setattr(self, name, getattr(self, name) + number)
            self._changed.notify_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024
    scripted: ScriptedOllama

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Also kept-alive connections end with the test, as with a server that died."""
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


class _Left(Exception):
    """The client hung up, or the test is over."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        scripted = self.server.scripted
        scripted.paths.append(self.path)
        scripted._count()
        if self.path == "/api/tags" and scripted.tags is not None:
            self._play(scripted.tags, {})
        elif self.path == "/api/tags":
            self._json(200, {"models": [{"name": name, "model": name} for name in scripted.models]})
        elif self.path == "/api/ps":
            self._json(
                200,
                {
                    "models": [
                        self._loaded(name)
                        for name in scripted.models
                        if name not in scripted.loading
                    ]
                },
            )
        elif self.path == "/api/version":
            self._json(200, {"version": "0.12.0"})
        else:
            self._json(200, {})

    def _loaded(self, name: str) -> dict[str, Any]:
        window = self.server.scripted.window
        told = {} if window is None else {"context_length": window}
        return {"name": name, "model": name, "expires_at": "2026-01-01T00:05:00Z", **told}

    def do_POST(self) -> None:
        scripted = self.server.scripted
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        scripted.paths.append(self.path)
        if self.path == "/api/show":
            able = list(scripted.capabilities)
            self._json(200, {"capabilities": able, "model_info": {}})
            return
        if self.path == "/api/embed":
            self._wait(scripted.embed_delay)
            scripted.embedded += request["input"]
            self._json(200, {"embeddings": [vector(text) for text in request["input"]]})
            return
        if self.path != "/api/chat":
            self._json(404, {"error": f"no {self.path} here"})
            return
        try:
            self._play(scripted._take(request), request)
        finally:
            scripted._count(at_once=-1)

    def _play(self, reply: Reply, request: Request) -> None:
        try:
            self._respond(reply, request)
        except (_Left, ConnectionError):
            self.server.scripted.left.append((request, time.monotonic()))
            self.server.scripted._count(hang_ups=1)
            self.close_connection = True

    def _respond(self, reply: Reply, request: Request) -> None:
        self._wait(reply.delay)
        if reply.hang_after == -1:
            self._wait(None)
        if reply.status != 200:
            self._json(reply.status, {"error": reply.error}, reply.headers)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if reply.raw is None:
            self._answer(reply, request)
        elif reply.raw:
            self._chunk(reply.raw)
        self._chunk(b"")

    def _answer(self, reply: Reply, request: Request) -> None:
        if reply.fit:
            reply = replace(reply, pieces=_fitting_pieces(request.get("format")))
        for piece in reply.thinking:
            thought = {"role": "assistant", "content": "", "thinking": piece}
            self._line({"message": thought, "done": False}, request)
        for number, piece in enumerate(reply.pieces):
            if number == reply.hang_after:
                self._wait(None)
            if number == reply.cut_after:
                self.connection.shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError
            self._wait(reply.pause)
            self._line({"message": {"role": "assistant", "content": piece}, "done": False}, request)
        if reply.error_line:
            self._chunk(json.dumps({"error": reply.error_line}).encode() + b"\n")
        elif reply.done:
            self._line(self._ending(reply, request), request)

    def _ending(self, reply: Reply, request: Request) -> dict[str, Any]:
        words = sum(len(str(m.get("content")).split()) for m in request.get("messages", ()))
        tokens_in, tokens_out = reply.tokens or (words, len(reply.pieces))
        self.server.scripted._count(tokens_in=tokens_in, tokens_out=tokens_out)
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        if reply.tool_calls:
            message["tool_calls"] = list(reply.tool_calls)
        return {
            "message": message,
            "done": True,
            "done_reason": reply.done_reason,
            "total_duration": 1_000_000,
            "load_duration": 0,
            "prompt_eval_count": tokens_in,
            "prompt_eval_duration": 500_000,
            "eval_count": tokens_out,
            "eval_duration": 500_000,
        }

    def _line(self, body: dict[str, Any], request: Request) -> None:
        head = {"model": request.get("model", ""), "created_at": "2026-01-01T00:00:00Z"}
        self._chunk(json.dumps({**head, **body}).encode() + b"\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _json(
        self, code: int, body: dict[str, Any], headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _wait(self, seconds: float | None) -> None:
        """Wait, for ever where None, but leave when the client does or the test is over."""
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or (left := until - time.monotonic()) > 0:
            step = 0.02 if until is None else min(0.02, left)
            readable, _, _ = select.select([self.connection], [], [], step)
            if readable and self.connection.recv(1, socket.MSG_PEEK) == b"":
                raise _Left
            if self.server.scripted._closing.is_set():
                raise _Left


def vector(text: str, size: int = 32) -> list[float]:
    """Texts with the same words are near each other: one number counts a share of the words."""
    counts = [0.01] * size
    for word in text.lower().split():
        counts[zlib.crc32(word.strip(".,#").encode()) % size] += 1.0
    return counts


def _fitting_pieces(schema: object) -> tuple[str, ...]:
    if isinstance(schema, dict):
        return (json.dumps(instance(schema, schema)),)
    return ("{}",) if schema == "json" else ("A ", "scripted ", "answer.")


def instance(schema: Any, root: Any) -> Any:
    """A small valid instance of the kinds of schema that agents declare."""
    if "$ref" in schema:
        node = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part]
        return instance(node, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return instance(schema[union][0], root)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _OF_KIND[kind if isinstance(kind, str) else kind[0]](schema, root)


def _object(schema: Any, root: Any) -> Any:
    return {name: instance(part, root) for name, part in schema.get("properties", {}).items()}


def _array(schema: Any, root: Any) -> Any:
    first = [instance(part, root) for part in schema.get("prefixItems", ())]
    missing = max(schema.get("minItems", 1) - len(first), 0)
    return first + [instance(schema.get("items", {}), root) for _ in range(missing)]


def _string(schema: Any, root: Any) -> Any:
    said = "words ".ljust(schema.get("minLength", 0), "x").strip()
    return said[: schema.get("maxLength", len(said))]


def _number(schema: Any, root: Any) -> Any:
    return schema.get("minimum", min(1, schema.get("maximum", 1)))


_OF_KIND: dict[str, Callable[[Any, Any], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _number,
    "number": _number,
    "boolean": lambda schema, root: True,
    "null": lambda schema, root: None,
}
