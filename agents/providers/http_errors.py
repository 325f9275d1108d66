"""What HTTP libraries raise, told by its names: providers' clients bring copies of httpx."""

from __future__ import annotations

from collections.abc import Iterator

_LIBRARIES = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"})


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what is behind it, the nearest first."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def is_unconnected(error: BaseException) -> bool:
    """Whether a connection could not be made, so that no request was sent."""
    return _is_of_http(error, "ConnectError", "ConnectTimeout", "ClientConnectorError")


def is_timeout(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or _is_of_http(error, "TimeoutException")


def is_broken(error: BaseException) -> bool:
    """Whether a connection broke, or what came over it is no HTTP."""
    broken = ("HTTPError", "StreamError", "TransportError", "ClientError")
    return isinstance(error, ConnectionError) or _is_of_http(error, *broken)


def _is_of_http(error: BaseException, *names: str) -> bool:
    return any(
        kind.__name__ in names and kind.__module__.partition(".")[0] in _LIBRARIES
        for kind in type(error).__mro__
    )
