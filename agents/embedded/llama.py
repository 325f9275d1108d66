"""llama.cpp's own server, in this process, and one answer of it as a stream of events."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from . import openmp

CONTEXT = 4096
# Small batches let llama.cpp notice between two of them that its client hung up.
BATCH = 128
# Two threads are slower than one where cores are shared, and the model is small.
THREADS = 1


class EndpointError(Exception):
    """llama.cpp, or the translation to it, cannot answer a request."""

    def __init__(self, *, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Llama:
    """A loaded model that answers on a loopback port which only this process knows of."""

    def __init__(self, weights: Path) -> None:
        openmp.provide()
        # Untyped, and not there without the extra `local`.
        xllamacpp = import_module("xllamacpp")
        self._server = xllamacpp.Server(_parameters(xllamacpp, weights))
        host, _, port = self._server.listening_address.removeprefix("http://").rpartition(":")
        self._address = (host, int(port))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """A short request and its JSON answer; raises EndpointError."""
        connection = http.client.HTTPConnection(*self._address, timeout=600)
        try:
            connection.request("POST", path, json.dumps(body), _JSON)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise _refusal(response.status, answer)
        return json.loads(answer)

    def count_tokens(self, body: Mapping[str, Any]) -> int:
        """How long the prompt of a chat request is."""
        kept = {key: body[key] for key in ("messages", "tools") if key in body}
        prompt = self.post("/apply-template", kept)["prompt"]
        return len(self.tokens(prompt))

    def tokens(self, text: str) -> list[int]:
        return list(self.post("/tokenize", {"content": text})["tokens"])

    def generate(self, body: Mapping[str, Any]) -> Generation:
        """Start an answer; closing it, also early, stops llama.cpp."""
        return Generation(self._address, body)


class Generation:
    """The events of one answer, read by a thread, so that the taker can look up between."""

    def __init__(self, address: tuple[str, int], body: Mapping[str, Any]) -> None:
        self._connection = http.client.HTTPConnection(*address)
        self._connection.connect()
        # http.client lets go of the socket when the headers are there; hanging up needs it.
        self._socket: socket.socket = self._connection.sock
        self._events: queue.SimpleQueue[dict[str, Any] | EndpointError | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(json.dumps(body),), daemon=True)
        self._reader.start()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """The next event; None at the end. Raises queue.Empty when none came in time."""
        event = self._events.get(timeout=timeout)
        if isinstance(event, EndpointError):
            raise event
        return event

    def __enter__(self) -> Generation:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._connection.close()
        self._socket.close()

    def _read(self, body: str) -> None:
        try:
            self._connection.request("POST", "/v1/chat/completions", body, _JSON)
            response = self._connection.getresponse()
            if response.status != 200:
                raise _refusal(response.status, response.read())
            for event in _events(response):
                self._events.put(event)
        except EndpointError as refusal:
            self._events.put(refusal)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._events.put(EndpointError(status=500, message=f"the model broke off: {error}"))
        finally:
            self._events.put(None)


_JSON = {"Content-Type": "application/json"}


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Server-sent events; llama.cpp reports an error inside a stream in either form."""
    for line in response:
        kind, _, text = line.decode().partition(":")
        text = text.strip()
        if kind not in {"data", "error"} or text == "[DONE]":
            continue
        event = json.loads(text)
        if kind == "error" or "error" in event:
            raise _refusal(500, text.encode())
        yield event


def _refusal(status: int, answer: bytes) -> EndpointError:
    try:
        error = json.loads(answer)
        message = str(error.get("error", error)["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        message = answer.decode(errors="replace")[:200]
    return EndpointError(status=status if status < 500 else 500, message=message)


def _parameters(xllamacpp: Any, weights: Path) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights)
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.n_ctx = CONTEXT
    parameters.n_parallel = 1
    parameters.n_batch = parameters.n_ubatch = BATCH
    for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
        cpu.n_threads = THREADS
        cpu.poll = 0
    parameters.n_threads_http = 4
    parameters.cache_ram_mib = 0  # the default prompt cache grows to gigabytes
    parameters.warmup = False
    parameters.ui = False
    parameters.verbosity = -1
    parameters.embedding = True
    parameters.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    parameters.chat_template = (resources.files(__package__) / "chat.jinja").read_text()
    return parameters
