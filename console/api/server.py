"""Serving the application on a socket until a signal."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from ucop.engine.errors import UcopError

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE = 5
"""Seconds that open requests have to end when the server stops; streams end at once."""


class AddressTaken(UcopError):
    """The server cannot listen at this address."""


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address; port 0 takes a free one. Raises AddressTaken."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise AddressTaken(
            f"cannot listen at {host} port {port}: {error.strerror or error}; "
            "another `ucop serve` may run there; --port N takes another port, --port 0 a free one"
        ) from error


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    def __init__(self, app: FastAPI, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="on",
                ws="websockets-sansio",
                ws_max_size=1 << 20,
                timeout_graceful_shutdown=GRACE,
            )
        )
        self._app, self._ready = app, ready
        self.signalled: int | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        """The first signal lets requests end, a second does not wait for them."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self.signalled = self.signalled or number

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.parts.stopping.set()  # streams tell their readers to come back
        await super().shutdown(sockets)


def serve(app: FastAPI, listener: socket.socket, *, ready: Callable[[], None]) -> int | None:
    """Serve until a signal, which is returned."""
    server = _Server(app, ready)
    with asyncio.Runner() as runner:
        runner.run(server.serve(sockets=[listener]))
    return server.signalled
