"""Bodies of requests: bounded, strict JSON, refused with the place that is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pydantic_core
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import ProblemPlace, Refusal, answer, request_id

JSON = "application/json"
JOB_FILE = "application/jsonl"
"""A job as a file, which its route reads itself, piece by piece."""

DRAIN = 16 << 20
"""Bytes of a body that is too large that are read and forgotten."""

DEPTH = 100
"""Levels of nesting that a body may have."""


class StrictBodies:
    """Reads the JSON body of a request whole, and lets the request pass if it is sound.

    A page of another origin can post a form or a text without asking, and neither passes here.
    """

    def __init__(self, app: ASGIApp, *, most: int, files: str) -> None:
        """`most` bytes may a body have. `files` is the path that takes a JOB_FILE."""
        self._app, self._most, self._files = app, most, files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return await self._app(scope, receive, send)
        headers = dict(scope["headers"])
        media = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()
        if media.lower() == JOB_FILE and scope["path"] == self._files:
            return await self._app(scope, receive, send)
        try:
            body = await self._read(headers, receive)
            if body:
                if media.lower() != JSON:
                    raise Refusal("unsupported-media-type", f"a body must be {JSON}")
                check_json(body)
        except Refusal as refusal:
            if refusal.code == "too-large":
                await _drain(receive)
            return await answer(refusal, request_id(scope))(scope, receive, send)
        if body is None:  # the client has gone
            return None
        return await self._app(scope, _again(body, receive), send)

    async def _read(self, headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._most:
            raise self._too_large()
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._most:
                raise self._too_large()
            if not message.get("more_body"):
                return bytes(body)

    def _too_large(self) -> Refusal:
        # Closed, because the rest of the body is not read.
        told = f"a body may have {self._most:,} bytes"
        return Refusal("too-large", told, headers={"connection": "close"})


async def _drain(receive: Receive) -> None:
    """Read on for a while: a client that still sends does not see why it is refused."""
    left = DRAIN
    while left > 0 and (message := await receive())["type"] == "http.request":
        left -= len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read once more."""
    parts: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def read() -> Message:
        return next(parts, None) or await receive()

    return read


def check_json(body: bytes) -> Any:
    """The value of a JSON text. Raises Refusal for what is no JSON, for NaN and numbers that
    overflow to infinity, names given twice, deep nesting, and text that is not UTF-8."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"not UTF-8 at byte {error.start}: {error.reason}") from None
    _check_depth(body)
    try:
        pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _bad(f"not JSON: {error}") from None
    doubled: list[tuple[dict[str, Any], str]] = []
    infinite: list[str] = []

    def with_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            names = [name for name, _ in pairs]
            doubled.append((value, next(name for name in names if names.count(name) > 1)))
        return value

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            infinite.append(text)
        return value

    value = json.loads(body, object_pairs_hook=with_names, parse_float=number)
    if infinite:
        raise _bad(f"{infinite[0][:40]} is larger than any number", _pointer(value, math.inf))
    if doubled:
        holder, name = doubled[0]
        at = _pointer(value, holder) or ""
        raise _bad(f"the name {name[:100]!r} is given twice", f"{at}/{name}")
    return value


# A text that does not end reaches to the end of the body: else each quote in it would begin anew.
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]|\n', re.DOTALL)


def _check_depth(body: bytes) -> None:
    depth, line, begin = 0, 1, 0
    for found in _NESTING.finditer(body):
        sign = found.group()
        if sign in (b"[", b"{"):
            depth += 1
            if depth > DEPTH:
                column = found.start() - begin + 1
                told = f"nested deeper than {DEPTH} levels at line {line} column {column}"
                raise _bad(told)
        elif sign in (b"]", b"}"):
            depth -= 1
        elif sign == b"\n":
            line, begin = line + 1, found.end()


def _pointer(value: Any, wanted: Any, at: str = "") -> str | None:
    """Where `wanted` is inside `value`, as a JSON pointer."""
    same = abs(value) == wanted if isinstance(value, float) and wanted == math.inf else False
    if value is wanted or same:
        return at
    inner: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, dict):
        inner = iter(value.items())
    elif isinstance(value, list):
        inner = iter(enumerate(value))
    found = (_pointer(each, wanted, f"{at}/{key}") for key, each in inner)
    return next((place for place in found if place is not None), None)


def _bad(detail: str, pointer: str | None = None) -> Refusal:
    return Refusal("bad-request", detail, [ProblemPlace(detail=detail, pointer=pointer)])
