"""What every request passes first: it gets an id, and must come from where it may.

A page of another origin can make a browser send requests to a server on loopback, and by DNS
rebinding even read the answers. So the name in `Host` must be the server's own, and `Origin`, where
it is sent, the server's own, a loopback one, or one that the settings allow; also for WebSockets.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Refusal, answer, log_defect, refusal_of

log = logging.getLogger("ucop.api.access")

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine that no other page can take."""

SWITCHED = 101
"""The status of a connection that became a WebSocket."""

LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


class Border:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], origins: Collection[str]) -> None:
        """`hosts` are the server's names beside loopback ones, `origins` those of other pages that
        may use it."""
        self._app = app
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        request = scope["ucop_request"] = secrets.token_hex(8)
        began, status = time.monotonic(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request.encode())]
            elif message["type"] == "websocket.accept":
                status = SWITCHED
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, send_with_id)
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            refusal = refusal_of(error)
            if refusal.code == "internal":
                log_defect(error, request)
            if not status:
                await answer(refusal, request)(scope, receive, send_with_id)
            elif status == SWITCHED:
                await send({"type": "websocket.close", "code": 1011, "reason": refusal.code})
        finally:
            _log(scope, request, status, time.monotonic() - began)
            state = scope.get("state", {})
            if state.get("changes") and 200 <= status < 300:
                caller = state.get("caller")
                told = (caller, scope["method"], scope["path"], status, request)
                scope["app"].state.parts.note_change(*told)

    def _check(self, scope: Scope) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise Refusal("bad-request", "an address holds no NUL")
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _name(host) not in self._hosts:
            raise Refusal("forbidden", "this server does not answer to the name in Host")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and not self._is_allowed(origin, host):
            raise Refusal("forbidden", "pages of this origin may not use this server")

    def _is_allowed(self, origin: str, host: str) -> bool:
        own = urlsplit(origin).netloc == host and origin.startswith(("http://", "https://"))
        return own or origin in self._origins or bool(re.fullmatch(LOOPBACK_ORIGIN, origin))


def _name(host: str) -> str:
    """The name in `Host`, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _log(scope: Scope, request: str, status: int, seconds: float) -> None:
    """Path alone: what stands behind a `?` may be a secret."""
    caller = scope.get("state", {}).get("caller")
    who = "-" if caller is None else caller
    told = (scope.get("method", "WS"), scope["path"], status or "-", 1000 * seconds, who, request)
    log.info("%s %s %s %.0f ms key=%s request=%s", *told)
