"""Server-sent events: how they look on the wire, and how a stream of them lives and ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

BEAT = 5.0
"""Seconds of silence after which a comment tells that the server is there."""

SLOW = 30.0
"""Seconds that a reader may leave what was sent to it unread; then its connection is closed, and it
goes on by `Last-Event-ID`."""

RETRY = 500
"""Milliseconds after which a reader whose server stops is to come back."""


@dataclass(frozen=True)
class Told:
    """One event of a stream. Many readers may share it."""

    type: str
    text: str
    """Its data, as JSON."""
    id: str | None = None

    @cached_property
    def wire(self) -> bytes:
        """As it is sent to who reads server-sent events."""
        return format_sse_event(data_str=self.text, event=self.type, id=self.id)


def told(type: str, data: Any, id: object = None) -> Told:
    """An event with this data."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Told(type, text, None if id is None else str(id))


class EventStream(StreamingResponse):
    """The answer of a route that streams."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], on_end: Callable[[], None]) -> None:
        """`on_end` is called once nothing more is sent, however that comes."""
        super().__init__(events, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_end()

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Any) -> None:
            async with asyncio.timeout(SLOW):
                await send(message)

        # A reader that is too slow raises here: then the connection is closed without an end.
        await super().stream_response(send_in_time)


async def lively(
    events: AsyncGenerator[Told], stopping: asyncio.Event, *, beat: float = BEAT
) -> AsyncIterator[bytes]:
    """`events`, and a heartbeat where there are none. When the server stops, the stream ends with
    `reconnect`: nothing is lost for a reader that comes back with the last id."""
    stops = asyncio.ensure_future(stopping.wait())
    following: asyncio.Future[Told] | None = None
    try:
        while True:
            if following is None:
                following = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait(
                (following, stops), timeout=beat, return_when=asyncio.FIRST_COMPLETED
            )
            if following in done:
                try:
                    yield following.result().wire
                except StopAsyncIteration:
                    return
                following = None
            elif stops in done:
                yield format_sse_event(event="reconnect", data_str="null", retry=RETRY)
                return
            else:
                yield b": heartbeat\n\n"
    finally:
        stops.cancel()
        if following is not None:
            following.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await following
        await events.aclose()
